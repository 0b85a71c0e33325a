# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sample's session on an X server of its own: both logins, applications, whatever ends it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.picture import Shows, difference, shows
from pipeline.words.png import read_png
from pipeline.words.verdict import Verdict
from tests.work import TOP, Work

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.full]
MANIFEST = TOP / "manifests" / "debian-session.yaml"
TREE = "x86_64-x11"
AGAIN = ("resolve", "build", "compose --target x11", f"disk {TREE}")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory in which the tree's whole gate has passed."""
    found = Work(MANIFEST, tmp_path_factory.mktemp("x"))
    for stage in ("base", "resolve", "plan", "build", "compose --target x11", "disk", "test"):
        found.ostci(*stage.split())
    yield found


def suite_of(work: Work, suite: str) -> dict[str, Any]:
    found = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    result: dict[str, Any]
    [result] = [one for one in found if (one["tree"], one["suite"]) == (TREE, suite)]
    return result


def evidence(work: Work, suite: str, name: str) -> Path:
    return work.root / "last-run" / "test" / TREE / suite / name


def test_somebody_is_logged_in_and_sees_it(work: Work) -> None:
    result = suite_of(work, "session")
    assert {one["verdict"] for one in result["tests"]} == {"passed"}
    assert len(result["tests"]) == 5
    picture = evidence(work, "session", "screenshot-session.png")
    assert shows(read_png(picture.read_bytes())) is Shows.GRAPHICS
    assert "Type=x11" in evidence(work, "session", "log.txt").read_text()
    journal = evidence(work, "session", "journal.txt").read_text()
    assert "X.Org X Server" in journal
    assert "is logged in after" not in journal


def test_each_application_has_a_result_and_a_picture(work: Work) -> None:
    found = {one["name"]: one for one in suite_of(work, "apps")["tests"]}
    before = read_png(evidence(work, "session", "screenshot-session.png").read_bytes())
    for name in ("debian-xterm", "org.ostci.Fonts", "org.ostci.Processes"):
        assert (found[name]["verdict"], found[name]["message"]) == ("passed", "")
        picture = evidence(work, "apps", f"screenshot-app-{name}.png")
        shown = read_png(picture.read_bytes())
        # A window of its own, over what was there before.
        assert difference(before, shown).share > 0.02
        before = shown
    missing = "TryExec=weston-flower, which the tree has not"
    flower = found["org.ostci.Flower"]
    assert (flower["verdict"], flower["message"]) == ("skipped", missing)


@pytest.mark.parametrize(("suites", "tests"), [("suites", 4), ("suites/xorg", 1)])
def test_what_is_done_in_it_and_its_end_are_told(
    suites: str, tests: int, work: Work, tmp_path: Path, log: Log
) -> None:
    request = work.request("x11", "session", tmp_path / "evidence")
    request = replace(request, suites=TOP / "tests" / "vm" / suites)
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [(one.name, one.message) for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert len(result.tests) == tests


def test_a_timed_login_has_a_greeter_that_waits(work: Work) -> None:
    text = work.sample.manifest.read_text()
    timed = text.replace("type: x11,", "type: x11, login: timed, delay: 10s,")
    assert timed != text
    write_text(work.sample.manifest, timed)
    for stage in AGAIN:
        work.ostci(*stage.split())
    work.ostci("test", TREE, "--suite", "session")
    write_text(work.sample.manifest, text)
    assert {one["verdict"] for one in suite_of(work, "session")["tests"]} == {"passed"}
    journal = evidence(work, "session", "journal.txt").read_text()
    assert "testuser is logged in after 10 s" in journal


def test_a_server_that_cannot_start_is_told_with_its_error(work: Work) -> None:
    work.sample.edit("desk", "xorg.conf", '"modesetting"', '"none"')
    work.sample.push("desk", "Another driver")
    for stage in AGAIN:
        work.ostci(*stage.split())
    work.ostci("test", TREE, "--suite", "session", code=1)
    result = suite_of(work, "session")
    assert (result["verdict"], result["cause"]) == ("failed", "session-ended")
    assert "Xorg ended with exit code 1; it said last: no screens found" in result["message"]
