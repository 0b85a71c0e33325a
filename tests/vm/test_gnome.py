# SPDX-License-Identifier: LGPL-2.1-or-later
"""GNOME, begun by GDM: what gnome-continuous called smoketest, -wayland, -timed and -classic."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.picture import Shows, difference, shows
from pipeline.words.png import read_png
from pipeline.words.verdict import Verdict
from tests.work import TOP, Work

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.full]
MANIFEST = TOP / "manifests" / "debian-gnome.yaml"
WITHIN_S = 3 * 3600.0
"""Nine suites, each with GNOME's start; without KVM, beside other tests."""
TARGETS = ("runtime", "timed", "xorg", "classic")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory in which a run with all four sessions has passed."""
    found = Work(MANIFEST, tmp_path_factory.mktemp("gnome"))
    found.ostci("run", within_s=WITHIN_S)
    yield found


def suite_of(work: Work, target: str, suite: str) -> Any:
    found = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    return next(one for one in found if (one["tree"], one["suite"]) == (f"x86_64-{target}", suite))


def evidence(work: Work, target: str, suite: str, name: str) -> Path:
    return work.root / "last-run" / "test" / f"x86_64-{target}" / suite / name


@pytest.mark.parametrize("target", TARGETS)
def test_gnome_says_that_it_is_up_and_somebody_sees_it(work: Work, target: str) -> None:
    for suite in ("smoke", "session"):
        tests = suite_of(work, target, suite)["tests"]
        assert {one["verdict"] for one in tests} == {"passed"}
    journal = evidence(work, target, "smoke", "journal.json").read_text()
    for message in ("0ce153587afa4095832d233c17a88001", "f3ea493c22934e26811cd62abe8e203a"):
        assert message in journal
    picture = evidence(work, target, "session", "screenshot-session.png")
    assert shows(read_png(picture.read_bytes())) is Shows.GRAPHICS
    kind = "x11" if target == "xorg" else "wayland"
    assert f"Type={kind}" in evidence(work, target, "session", "log.txt").read_text()


@pytest.mark.parametrize("target", TARGETS)
def test_only_a_timed_login_comes_after_the_login_screen(work: Work, target: str) -> None:
    log = evidence(work, target, "session", "log.txt").read_text()
    assert ("the greeter waited for" in log) is (target == "timed")


def test_an_application_has_a_result_and_a_picture(work: Work) -> None:
    found = {one["name"]: one for one in suite_of(work, "runtime", "apps")["tests"]}
    for name in ("org.gnome.TextEditor", "org.ostci.Notes"):
        assert (found[name]["verdict"], found[name]["message"]) == ("passed", "")
    before = evidence(work, "runtime", "session", "screenshot-session.png")
    shown = evidence(work, "runtime", "apps", "screenshot-app-org.ostci.Notes.png")
    pictures = [read_png(one.read_bytes()) for one in (before, shown)]
    assert difference(*pictures).share > 0.02


def test_a_shell_that_dies_is_told_with_what_it_said(work: Work, tmp_path: Path, log: Log) -> None:
    request = work.request("runtime", "session", tmp_path / "evidence")
    request = replace(request, suites=TOP / "tests" / "vm" / "suites" / "gnome")
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [(one.name, one.message) for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert len(result.tests) == 1


def test_a_push_that_breaks_the_session_is_told_with_what_it_said(work: Work) -> None:
    work.push(work.story.breakage)
    for stage in ("resolve", "build", "compose", "disk x86_64-runtime"):
        work.ostci(*stage.split())
    work.ostci("test", "x86_64-runtime", "--suite", "session", code=1)
    result = suite_of(work, "runtime", "session")
    assert (result["verdict"], result["cause"]) == ("failed", "core-dump")
    assert "gnome-session" in result["message"]
