# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installed tests of Debian's ostree and GLib, a few at a time: each to its end.

It is what ``tests/vm/test_debian_tests.py`` asks for, in parts. The evidence of those that fail is
kept in ``build/installed-that-fail``.
"""

import shutil
import tempfile
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.installed import PLACE
from pipeline.words.verdict import Verdict
from tests.soak.pairs import forget
from tests.soak.state import State
from tests.work import TOP, Work

COUNT = 1000
"""No base has as many."""
AT_ONCE = 12
"""Tests of one step."""
KEPT = TOP / "build" / "installed-that-fail"
MANIFEST = TOP / "manifests" / "debian-tests.yaml"
_TARGET = "tests"
_WELL = (Verdict.PASSED, Verdict.SKIPPED)


def installed(state: State, count: int) -> Generator[str, None, None]:
    """Run those that did not go well yet; raises AssertionError at the end if some still do not."""
    root = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    try:
        work = Work(MANIFEST, root)
        for verb in ("base", "resolve", "plan", "build", "compose", "disk"):
            work.ostci(verb)
        request = replace(work.request(_TARGET, "installed", root / "evidence"), suites=None)
        names = _names(request)[:count]
        well = {name for name, one in _last(state).items() if one["verdict"] in _WELL}
        left = [name for name in names if name not in well]
        for at in range(0, len(left), AT_ONCE):
            yield _step(state, request, tuple(left[at : at + AT_ONCE]), root, len(names))
    finally:
        forget(root)
        remove_tree(root)
    bad = [one for one in _last(state).values() if one["verdict"] not in _WELL]
    if bad:
        lines = [f"{one['name']}: {one['verdict']}: {one['message']}" for one in bad]
        raise AssertionError("\n".join([f"not passed, see {KEPT}:", *lines]))


def _names(request: TestRequest) -> list[str]:
    assert request.repo is not None
    below = Repo(request.repo, log=Log()).below(request.tree.commit, PLACE)
    return sorted(name for name, _ in below if name.endswith(".test"))


def _last(state: State) -> dict[str, dict[str, Any]]:
    """Find the newest entry of each test."""
    return {one["name"]: one for one in state.done.get("installed", [])}


def _step(state: State, request: TestRequest, names: tuple[str, ...], root: Path, of: int) -> str:
    started = time.monotonic()
    asked = replace(request, only=names)
    result = run_suite(asked, cache=root / "cache", tmp=root / "tmp", log=Log())
    found = {one.name: one for one in result.tests}
    entries: list[dict[str, Any]] = []
    for name in names:
        one = found.get(name)
        verdict = one.verdict if one else Verdict.TROUBLE
        message = one.message if one else f"no result: {result.message}"
        seconds = one.seconds if one else 0.0
        entries.append({"name": name, "verdict": verdict, "message": message, "seconds": seconds})
    bad = [entry["name"] for entry in entries if entry["verdict"] not in _WELL]
    if bad:
        kept = KEPT / names[0].replace("/", "_")
        shutil.copytree(request.into, kept, dirs_exist_ok=True, ignore_dangling_symlinks=True)
    remove_tree(request.into)
    for entry in entries:
        state.add("installed", entry)
    told = f"not passed: {', '.join(bad)}" if bad else "passed or skipped"
    return f"{len(_last(state))} of {of}: {told} ({time.monotonic() - started:.1f} s)"
