# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same installed tests in forks and after a boot: each has to come to the same both times.

A test that changes its verdict between the two is a bug of ours.
"""

import random
import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipeline.ports.checkpoint import Shelf
from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.stages.test import checkpoints, run_suite
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests.guests import guest_repo, guest_request
from tests.soak.state import State

PAIRS = 100
KEPT = Path(__file__).resolve().parents[2] / "build" / "pairs-that-differ"
AT_ONCE = 10
"""Tests of one step: they share two boots."""
_PLACE = "/usr/share/installed-tests"
_PROGRAMS = "/usr/libexec/installed-tests"
_KINDS = (
    "exit 0",
    "exit {n}",
    "exit 77",
    "echo 1..2; echo ok 1; echo ok 2 - n{n}",
    "echo 1..2; echo ok 1; echo not ok 2 - n{n}",
    "echo 1..0 # SKIP nothing for {n}",
    "echo Bail out! of {n}; exit 1",
    "kill -SEGV $$",
    "test ! -e /var/tmp/pair && echo {n} >/var/tmp/pair && sync && test -s /var/tmp/pair; code=$?;"
    " rm -f /var/tmp/pair; exit $code",
    "dd if=/dev/zero of=big bs=64k count={n} 2>/dev/null && test $(wc -c <big) = $((65536 * {n}))",
    "test $(date +%s) -gt 1790000000",
    "mount -t tmpfs none /mnt 2>/dev/null || mkdir -p /run/m && mount -t tmpfs none /run/m && "
    "umount /run/m",
    "sleep 0.{n} && sh -c 'exit {n}'",
    "i=0; while [ $i -lt {n}00 ]; do i=$((i + 1)); done; test $i = {n}00",
    "head -c 32 /dev/urandom | wc -c | grep -q 32",
    "cat /proc/uptime /proc/sys/kernel/random/boot_id >/dev/null && ls / >/dev/null",
)


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a test came to in a fork and after a boot, in words."""

    test: str
    fork: str
    cold: str


def layer(seed: int = 0) -> dict[str, str | None]:
    """Make the files of all tests, always the same of a seed."""
    chance = random.Random(seed)
    files: dict[str, str | None] = {}
    for number in range(PAIRS):
        script = _KINDS[number % len(_KINDS)].format(n=chance.randrange(1, 9))
        name = f"pairs/t{number:03}"
        tap = "Output=TAP\n" if "1.." in script or "Bail" in script else ""
        files[f"{_PLACE}/{name}.test"] = f"[Test]\nType=session\nExec={_PROGRAMS}/{name}\n{tap}"
        files[f"{_PROGRAMS}/{name}"] = f"#!/bin/sh\n{script}\n"
    return files


def pairs(state: State, count: int) -> Generator[str, None, None]:
    """Run tests in forks and after boots; raises AssertionError at the end if some differ."""
    count = min(count, PAIRS)
    root = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    try:
        while (number := state.count("pairs")) < count:
            started = time.monotonic()
            found = pairs_from(number, root, log=Log())
            for one in found:
                state.add("pairs", asdict(one))
            differ = [one.test for one in found if one.fork != one.cold]
            if differ:
                kept = KEPT / str(number)
                shutil.copytree(root / "evidence", kept, dirs_exist_ok=True)
            told = f"DIFFER: {', '.join(differ)}" if differ else "the same in forks and after boots"
            took = time.monotonic() - started
            yield f"pair {number + len(found)} of {count}: {told} ({took:.1f} s)"
    finally:
        forget(root)
        remove_tree(root)
    lines = [
        f"{one['test']}: fork: {one['fork']}; boot: {one['cold']}"
        for one in state.done.get("pairs", [])
        if one["fork"] != one["cold"]
    ]
    if lines:
        raise AssertionError("\n".join([f"pairs that differ, see {KEPT}:", *lines]))


def pairs_from(first: int, root: Path, *, log: Log) -> list[Pair]:
    """Run the next tests both ways."""
    numbers = range(first, min(first + AT_ONCE, PAIRS))
    request = replace(
        guest_request(layer(), root / "evidence", log=log),
        suite="installed",
        repo=guest_repo(log),
        only=tuple(f"pairs/t{number:03}.test" for number in numbers),
    )

    def words(*, forks: bool) -> dict[str, str]:
        place = "in forks" if forks else "after a boot"
        asked = replace(request, forks=forks, into=root / "evidence" / place.replace(" ", "-"))
        result: SuiteResult = run_suite(asked, cache=root / "cache", tmp=root / "tmp", log=log)
        # What has no result differs from what has one, and from what had none in the other place.
        none = dict.fromkeys(request.only, f"no result {place}: {result.message}")
        return none | {one.name: _words(one, place) for one in result.tests}

    in_forks, cold = words(forks=True), words(forks=False)
    return [Pair(test=name, fork=in_forks[name], cold=cold[name]) for name in request.only]


def _words(one: TestResult, place: str) -> str:
    """Say what a test came to; our own fault is never the same twice."""
    where = f" ({place})" if one.verdict is Verdict.TROUBLE else ""
    return f"{one.verdict} {one.cause} {one.message}{where}"


def forget(root: Path) -> None:
    """Remove the checkpoint that all steps shared, with its memory."""
    shelf = Shelf(checkpoints(root / "cache"), log=Log())
    for name in shelf.names():
        shelf.remove(name)
