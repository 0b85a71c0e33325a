# SPDX-License-Identifier: LGPL-2.1-or-later
"""The sample's graphical sessions, the whole way: their logins, applications, screens.

What only one on X has is in ``test_x_session.py``, which boots no other.
"""

import json
from collections.abc import Iterator
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
MANIFEST = TOP / "manifests" / "debian-session.yaml"


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory in which a run with both kinds of login has passed."""
    found = Work(MANIFEST, tmp_path_factory.mktemp("session"))
    found.ostci("run")
    yield found


def suites_of(work: Work) -> dict[tuple[str, str], Any]:
    found = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    return {(one["tree"], one["suite"]): one for one in found}


def screen(work: Work, tree: str, suite: str, name: str) -> Path:
    return work.root / "last-run" / "test" / tree / suite / f"screenshot-{name}.png"


@pytest.mark.parametrize("tree", ["x86_64-session", "x86_64-timed", "x86_64-x11"])
def test_somebody_is_logged_in_and_sees_it(work: Work, tree: str) -> None:
    result = suites_of(work)[tree, "session"]
    assert {one["verdict"] for one in result["tests"]} == {"passed"}
    assert len(result["tests"]) == 5
    assert result["numbers"]["frame_s"] > result["numbers"]["session_s"] > 0
    assert shows(read_png(screen(work, tree, "session", "session").read_bytes())) is Shows.GRAPHICS


def test_only_a_timed_login_has_a_greeter_that_waits(work: Work) -> None:
    for tree, is_there in (("x86_64-session", False), ("x86_64-timed", True)):
        journal = work.root / "last-run" / "test" / tree / "session" / "journal.txt"
        assert ("testuser is logged in after 10 s" in journal.read_text()) is is_there, tree


def test_each_application_has_a_result_and_a_picture(work: Work) -> None:
    result = suites_of(work)["x86_64-session", "apps"]
    found = {one["name"]: (one["verdict"], one["message"]) for one in result["tests"]}
    before = read_png(screen(work, "x86_64-session", "session", "session").read_bytes())
    for name in ("foot", "org.ostci.Editor", "org.ostci.Flower", "org.ostci.Processes"):
        assert found[name] == ("passed", "")
        picture = screen(work, "x86_64-session", "apps", f"app-{name}")
        shown = read_png(picture.read_bytes())
        assert shows(shown) is Shows.GRAPHICS
        # A window of its own, over what was there before.
        assert difference(before, shown).share > 0.02
        before = shown
    rows = json.loads((picture.parent / "apps.json").read_text())
    icons = {row["name"]: row["icon"] for row in rows}
    assert icons["org.ostci.Flower"].endswith("hicolor/scalable/apps/org.ostci.Flower.svg")


def test_what_is_done_in_it_and_its_end_are_told(work: Work, tmp_path: Path, log: Log) -> None:
    request = work.request("session", "session", tmp_path / "evidence")
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [(one.name, one.message) for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert len(result.tests) == 4


def test_another_background_is_a_warning_with_both_side_by_side(work: Work) -> None:
    work.sample.edit("desk", "weston.ini", "background.png", "pattern.png")
    work.sample.push("desk", "Another background")
    for stage in ("resolve", "build", "compose", "disk x86_64-session"):
        work.ostci(*stage.split())
    said = work.ostci("test", "x86_64-session", "--suite", "session")
    assert "screenshot-session.png: " in said.err
    assert "of it differs; side by side in" in said.err
    place = screen(work, "x86_64-session", "session", "session").parent
    assert 'src="before-screenshot-session.png"' in (place / "screens.html").read_text()
    assert (place / "differs-screenshot-session.png").is_file()


def test_a_compositor_that_ends_is_told_with_what_it_said(work: Work) -> None:
    work.push(work.story.breakage)
    for stage in ("resolve", "build", "compose", "disk x86_64-session"):
        work.ostci(*stage.split())
    work.ostci("test", "x86_64-session", "--suite", "session", code=1)
    result = suites_of(work)["x86_64-session", "session"]
    assert (result["verdict"], result["cause"]) == ("failed", "session-ended")
    assert "weston ended with exit code" in result["message"]
