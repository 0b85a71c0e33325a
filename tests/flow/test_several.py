# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several ``ostci`` at once in one work directory: real processes, real builds, no machine."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.record import MENDED, read_cancel
from tests.cheap import NO_KERNEL, Cheap
from tests.repos import wait_until
from tests.work import is_alive, started, wait_until_gone

pytestmark = pytest.mark.slow

_END_S = 120.0
LONG = 600
"""Seconds that a component would take to build, which is ended when the time has come."""


SOON_S = 2.0
"""So soon a run that is cancelled is gone, on a quiet machine."""


def business() -> float:
    """Tell how many times as long as on a quiet machine a process takes here, at this moment.

    1 where it gets all it can use. What several do one after the other waits as often as each of
    them, so that it is the square of what one has to wait.
    """
    began, used = time.monotonic(), time.process_time()
    while time.process_time() - used < 0.2:
        pass
    return max(1.0, ((time.monotonic() - began) / 0.2)) ** 2


@pytest.fixture
def cheap(tmp_path: Path) -> Iterator[Cheap]:
    """A work directory in which all was built and composed once."""
    found = Cheap(tmp_path, common=0, slow=0, quick=0)
    found.ostci("run", code=NO_KERNEL)
    yield found
    found.kill_children()
    wait_until_gone(found)


def begin(cheap: Cheap, *, apart: bool = False) -> "tuple[subprocess.Popen[bytes], str]":
    """Start a run beside those that are there; tells its version once it is resolved."""
    known = tuple(cheap.house().workdir.versions())
    child = cheap.start("run", apart=apart)
    version = cheap.wait_for_run(but=known)
    cheap.wait_for(version, "resolve done")
    return child, version


def built(cheap: Cheap, version: str) -> list[str]:
    """List what a run has built itself."""
    path = cheap.house().workdir.run(version).file("build")
    return list(json.loads(path.read_text())["built"])


def test_composes_are_in_the_order_of_runs_though_the_later_one_is_ready_first(
    cheap: Cheap,
) -> None:
    cheap.change("slow", LONG)
    first, older = begin(cheap)
    cheap.change("slow", 0)
    second, newer = begin(cheap)
    cheap.wait_for(newer, f"waits for its turn to compose: run {older} is before it")
    assert "build done" not in cheap.log_of(older), "the later one was not ready first"
    cheap.wake(first)
    assert (cheap.end_of(first), cheap.end_of(second)) == (NO_KERNEL, NO_KERNEL)
    assert cheap.line()[-2:] == [older, newer]
    cheap.check_whole()


def test_what_two_runs_need_at_once_is_built_once(cheap: Cheap) -> None:
    cheap.change("common", LONG)
    first, older = begin(cheap)
    second, newer = begin(cheap)
    held = "common: waits: held by process"
    wait_until(lambda: held in cheap.log_of(older) + cheap.log_of(newer), within_s=_END_S)
    cheap.wake(first, second)
    assert (cheap.end_of(first), cheap.end_of(second)) == (NO_KERNEL, NO_KERNEL)
    assert sorted([built(cheap, older), built(cheap, newer)]) == [[], ["common"]]
    logs = cheap.log_of(older) + cheap.log_of(newer)
    assert logs.count("common: compile done") == 1


def test_a_kill_disturbs_nobody_and_the_next_start_mends_the_killed_run_alone(
    cheap: Cheap,
) -> None:
    cheap.change("slow", LONG)
    first, killed = begin(cheap)
    cheap.wait_for(killed, "slow: compile")
    cheap.change("slow", LONG)
    second, other = begin(cheap)
    cheap.wait_for(other, "slow: compile")
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    cheap.ostci("resolve")
    record = cheap.record(killed)
    assert (record["ending"], record["message"]) == ("interrupted", MENDED)
    assert cheap.record(other)["ending"] == "running"
    cheap.wake(second)
    assert cheap.end_of(second) == NO_KERNEL
    assert cheap.line()[-1] == other
    wait_until_gone(cheap)
    assert list((cheap.root / "tmp").iterdir()) == []
    cheap.check_whole()


def test_clean_names_who_is_in_there_or_waits_for_them(cheap: Cheap) -> None:
    cheap.change("slow", LONG)
    child, version = begin(cheap)
    said = cheap.ostci("clean", code=3)
    assert f"{cheap.root} is in use by process {child.pid} (ostci run, since" in said.err
    clean = cheap.start("clean", "--wait", str(_END_S))
    wait_until(lambda: has_open(clean.pid, cheap.house().workdir.lock("work")))
    cheap.wake(child)
    assert cheap.end_of(clean) == 0
    assert cheap.record(version)["ending"] == "failed", "clean did not wait"
    assert cheap.end_of(child) == NO_KERNEL
    assert cheap.line()[-1] == version


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    with contextlib.suppress(FileNotFoundError):
        return path.resolve() in [one.resolve() for one in Path(f"/proc/{pid}/fd").iterdir()]
    return False


def test_a_cancelled_run_is_gone_within_two_seconds_and_the_next_one_composes(
    cheap: Cheap,
) -> None:
    cheap.change("slow", LONG)
    first, cancelled = begin(cheap)
    cheap.wait_for(cancelled, "slow: compile")
    cheap.change("slow", 0)
    second, newer = begin(cheap)
    cheap.wait_for(newer, "waits for its turn")
    first_processes = cheap.processes_below(first.pid)
    assert len(first_processes) > 3, "there was no sandbox to end"
    busy = business()
    cheap.ostci("cancel", cancelled, "--by", "alice")
    record = cheap.record(cancelled)
    assert (record["ending"], record["message"]) == ("interrupted", "cancelled by alice")
    note, ended = read_cancel(cheap.house().workdir.run(cancelled)), record["ended"]
    assert note is not None and isinstance(ended, float)
    assert ended - note.when < max(busy, business()) * SOON_S
    cheap.end_cancelled(first)
    assert not [one for one in first_processes if is_alive(one)]
    assert cheap.end_of(second) == NO_KERNEL
    assert cheap.line()[-1] == newer and cancelled not in cheap.line()
    said = cheap.ostci("cancel", cancelled, code=2)
    assert f"run {cancelled} has ended: interrupted" in said.err
    said = cheap.ostci("build", "quick", "--run", cancelled, code=130)
    assert f"run {cancelled} was cancelled by alice" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a process namespace like that")
def test_process_namespaces_know_nothing_of_each_other_and_get_on_all_the_same(
    cheap: Cheap,
) -> None:
    cheap.change("slow", LONG)
    first, cancelled = begin(cheap, apart=True)
    cheap.wait_for(cancelled, "slow: compile")
    cheap.change("slow", LONG)
    second, newer = begin(cheap, apart=True)
    cheap.wait_for(newer, "slow: compile")
    below, busy = cheap.processes_below(first.pid), business()
    assert cheap.end_of(cheap.start("cancel", cancelled, "--by", "bob", apart=True)) == 0
    record, note = cheap.record(cancelled), read_cancel(cheap.house().workdir.run(cancelled))
    assert (record["ending"], record["message"]) == ("interrupted", "cancelled by bob")
    assert note is not None and isinstance(record["ended"], float)
    assert record["ended"] - note.when < max(busy, business()) * SOON_S
    cheap.end_cancelled(first)
    assert not [one for one in below if is_alive(one)]
    cheap.wake(second)
    assert cheap.end_of(second) == NO_KERNEL
    assert cheap.line()[-1] == newer


def test_components_are_built_by_processes_of_their_own_and_collected(cheap: Cheap) -> None:
    for name in ("common", "slow", "quick"):
        cheap.change(name, 2)
    cheap.change("quick", fails=True)
    version = cheap.json("resolve") and cheap.house().workdir.versions()[-1]
    children = {
        name: cheap.start("build", name, "--run", version) for name in ("common", "slow", "quick")
    }
    assert {name: cheap.end_of(child) for name, child in children.items()} == {
        "common": 0,
        "slow": 0,
        "quick": 1,
    }
    one = json.loads((cheap.house().workdir.run(version).built / "slow.json").read_text())
    assert one["outcome"] == "built" and one["commits"]
    assert cheap.record(version)["ending"] == "open", "a component ends no run"
    cheap.ostci("build", "--run", version, code=1)
    assert sorted(built(cheap, version)) == ["common", "slow"]
    for name in ("common", "slow", "quick"):
        assert cheap.log_of(version).count(f"{name}: compile …") == 1, "done again"
    cheap.ostci("build", "--run", version, "--retry", code=1)
    assert cheap.log_of(version).count("quick: compile …") == 2
    cheap.ostci("end", version)
    assert cheap.record(version)["ending"] == "failed"


def test_a_component_that_two_processes_of_a_run_are_told_to_build_is_built_once(
    cheap: Cheap,
) -> None:
    cheap.change("common", LONG)
    cheap.ostci("resolve")
    version = cheap.house().workdir.versions()[-1]
    children = [cheap.start("build", "common", "--run", version) for _ in range(3)]
    held = "common: waits: held by process"
    wait_until(lambda: cheap.log_of(version).count(held) == 2, within_s=_END_S)
    cheap.wake(*children)
    assert [cheap.end_of(child) for child in children] == [0, 0, 0]
    assert cheap.log_of(version).count("common: compile …") == 1
    cheap.ostci("build", "--run", version)
    assert built(cheap, version) == ["common"]


def test_a_later_run_that_has_composed_stops_an_earlier_one(cheap: Cheap) -> None:
    cheap.change("quick")
    cheap.ostci("resolve")
    older = cheap.house().workdir.versions()[-1]
    cheap.ostci("build", "--run", older)
    cheap.change("quick")
    said = cheap.ostci("run", code=NO_KERNEL)
    newer = cheap.house().workdir.versions()[-1]
    assert f"run {older} (open), which nobody works on, is passed over" in said.out + said.err
    said = cheap.ostci("compose", "--run", older, code=130)
    assert f"run {newer}, which is later, has composed already" in said.err


def test_the_run_of_a_push_is_waited_for_though_nobody_works_on_it_until_it_is_cancelled(
    cheap: Cheap,
) -> None:
    versions = []
    for name in ("slow", "quick", "common"):
        cheap.change(name)
        push = cheap.json("push", name)
        versions.append(cheap.json("resolve", "--push", str(push["id"]))["run"])
    first, second, third = versions
    for version in reversed(versions):
        cheap.ostci("build", "--run", version)
    said = cheap.ostci("compose", "--run", third, "--wait", "1", code=3)
    assert f"run {third} has waited for 1 s to compose: run {first} is before it" in said.err
    cheap.ostci("cancel", second)
    waiting = cheap.start("compose", "--run", third)
    cheap.wait_for(third, "waits for its turn to compose")
    cheap.ostci("compose", "--run", first)
    assert cheap.end_of(waiting) == 0
    assert cheap.line()[-2:] == [first, third]


_MERGER = """
import sys
import time
from pathlib import Path
from pipeline.cli import testing
from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.results import Tests
from pipeline.ports.log import Log
from pipeline.words.verdict import SuiteResult, Verdict
root, version, name = sys.argv[1:]
house = House(Path(root), log=Log())
passage = Passage(house, house.workdir.run(version))
sys.stdin.readline()
for number in range(20):
    suite = SuiteResult(
        suite=f"{name}-{number}", tree="t", commit="0" * 64, verdict=Verdict.PASSED, evidence=""
    )
    passage.merge("tests", Tests, lambda old: testing._with_earlier(old, [suite]))
    with passage.stage("test", f"{name}-{number}"):
        pass
    house.note_duration(f"{name}-{number}", 1.0)
"""


def test_eight_processes_that_write_results_of_one_run_lose_none(cheap: Cheap) -> None:
    version = cheap.house().workdir.versions()[-1]
    argv = [sys.executable, "-c", _MERGER, str(cheap.root), version]
    argvs = [[*argv, str(name)] for name in range(8)]
    with started(argvs, stdin=subprocess.PIPE) as children:
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        assert [child.wait(_END_S) for child in children] == [0] * 8
    run = cheap.house().workdir.run(version)
    wanted = {f"{name}-{number}" for name in range(8) for number in range(20)}
    found = json.loads(run.file("tests").read_text())["suites"]
    assert {one["suite"] for one in found} == wanted
    stages = cheap.record(version)["stages"]
    assert isinstance(stages, dict) and {f"test {one}" for one in wanted} <= set(stages)
    assert all(cheap.house().expected_s(one) == 1.0 for one in wanted)
