# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole way of a push on the tiny sample, by the command line, to a promoted tree and back."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.work import TINY, Work, kill_after, wait_until_gone

pytestmark = [pytest.mark.vm, pytest.mark.slow]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    """A work directory of tiny in which one run has passed."""
    found = Work(TINY, tmp_path_factory.mktemp("chain"))
    found.ostci("run")
    yield found


def test_the_first_run_promotes_every_tree_by_the_checksum_that_was_booted(work: Work) -> None:
    record = work.json("log", "-n", "1")[0]
    assert record["ending"] == "passed"
    tested = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    assert {one["tree"]: one["commit"] for one in tested} == record["promoted"]
    assert {one["verdict"] for one in tested} == {"passed"}
    assert sorted(work.heads().values()) == sorted(record["promoted"].values())
    work.check_whole()


def test_a_run_in_which_nothing_is_new_ends_as_that_and_boots_nothing(work: Work) -> None:
    before = work.heads()
    said = work.ostci("run")
    record = work.json("log", "-n", "1")[0]
    assert record["ending"] == "unchanged"
    assert "build" not in record["stages"]
    assert "nothing has changed since run" in said.err
    assert work.heads() == before


def test_a_push_builds_its_component_alone_and_is_promoted(work: Work) -> None:
    component = work.story.change.component
    revision = work.push(work.story.change)
    work.ostci("run")
    record = work.json("log", "-n", "1")[0]
    built = json.loads((work.root / "last-run" / "build.json").read_text())["built"]
    assert built == [component]
    assert record["ending"] == "passed" and record["promoted"]
    rows = work.json("where", f"{component}@{revision[:10]}")
    assert {row["tree"] for row in rows} == set(record["promoted"])
    assert all(row["promoted"] for row in rows)


def test_the_difference_of_two_runs_names_the_push_and_its_files(work: Work) -> None:
    versions = [one["version"] for one in work.json("log") if one["promoted"]]
    newer, older = versions[:2]
    text = work.ostci("diff", older, newer).out
    assert work.story.change.component in text
    assert work.story.change.subject in text
    found = work.json("diff", older, newer)
    assert [one["name"] for one in found["components"]] == [work.story.change.component]
    assert found["files"]


def test_a_try_of_a_directory_passes_the_gate_and_moves_nothing(work: Work, tmp_path: Path) -> None:
    change = work.story.change
    place = tmp_path / change.component
    shutil.copytree(work.sample.repository(change.component), place)
    subprocess.run(["git", "-C", place, "checkout", "--quiet", "HEAD", "--", "."], check=True)
    file = place / change.file
    file.write_text(file.read_text().replace(change.new, f"{change.new} "))
    before, lines = work.heads(), work.ostci("show", "refs").out.splitlines()
    told = work.json("try", f"{change.component}={place}")
    assert (told["ending"], list(told["rebuilt"])) == ("passed", [change.component])
    assert {one["verdict"] for one in told["suites"]} == {"passed"} and told["held"] == {}
    for tree in told["trees"]:
        assert work.json("show", tree["ref"])["bound"] == [tree["ref"]]
    # It has passed all that its gate asks for, and nothing moves to it all the same.
    said = work.ostci("promote", "--run", told["run"], code=1).err
    assert "it was only tried: a try is never promoted" in said
    assert work.heads() == before
    after = work.ostci("show", "refs").out.splitlines()
    assert [line for line in after if "/try/" not in line] == lines
    work.check_whole()


def test_a_push_that_breaks_the_boot_is_held_back_with_the_reason_and_the_evidence(
    work: Work,
) -> None:
    before = work.heads()
    work.push(work.story.breakage)
    said = work.ostci("run", code=1)
    record = work.json("log", "-n", "1")[0]
    assert record["ending"] == "failed" and not record["promoted"]
    assert "ostci: failed:" in said.err and "smoke" in said.err
    evidence = work.root / "last-run" / "test"
    names = {path.name for path in evidence.glob("*/*/*")}
    assert {"console.txt", "journal.txt", "report.json", "junit.xml"} <= names
    # It failed twice, and what was promoted before it does not: the push is to blame.
    assert {path.parent.name for path in evidence.glob("*/*/*/report.json")} == {
        "attempt-1",
        "promoted",
    }
    tested = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    assert {(one["verdict"], one["attempts"]) for one in tested} == {("failed", 2)}
    assert "elsewhere" not in {one["cause"] for one in tested}
    assert work.heads() == before
    work.check_whole()


def test_a_failure_of_a_run_is_reproduced_also_when_its_disk_is_gone(work: Work) -> None:
    version = work.json("log", "-n", "1")[0]["version"]
    tested = json.loads((work.root / "last-run" / "tests.json").read_text())["suites"]
    suite = next(one for one in tested if one["tree"].endswith("-runtime"))
    name = next(one["name"] for one in suite["tests"] if one["verdict"] == "failed")
    words = f"reproduce {version} {suite['tree']} smoke/{name}"
    log = (work.root / "last-run" / "log.txt").read_text()
    assert f"to repeat just this test: ostci -C {work.root} {words}" in log
    Path(suite["ran"]["disk"]).unlink()
    before = work.json("show", suite["tree"])
    said = work.ostci(*words.split(), code=1)
    assert f"smoke/{name} on {suite['tree']} failed 1 of 1 times: " in said.err
    assert f"seed {suite['ran']['seed']}" in said.err
    assert work.json("show", suite["tree"]) == before, "nothing is recorded of it"


def test_a_run_repeated_on_the_broken_snapshot_says_that_nothing_changed(work: Work) -> None:
    said = work.ostci("run", code=1)
    assert "nothing has changed since run" in said.err
    assert "--again" in said.err


def test_what_is_shown_of_a_promoted_tree_names_its_components_and_verdicts(work: Work) -> None:
    name = next(iter(work.json("log", "-n", "20")[-1]["promoted"]))
    ref = next(ref for ref in work.heads() if ref.endswith(name))
    text = work.ostci("show", ref).out
    assert "promoted: yes" in text and "smoke passed" in text
    assert work.story.change.component in text


def test_who_wants_the_work_directory_for_itself_is_told_who_is_in_it(work: Work) -> None:
    before = (work.root / "last-run").resolve()
    first = work.start("run", "--again")
    try:
        until = time.monotonic() + 300
        while (run := (work.root / "last-run").resolve()) == before or not (
            (run / ".lock").is_file() and f'"pid": {first.pid}' in (run / ".lock").read_text()
        ):
            assert time.monotonic() < until and first.poll() is None
            time.sleep(0.02)
        said = work.ostci("clean", code=3)
        assert "is in use by " in said.err and f"{first.pid} (ostci run" in said.err, said.err
        assert "→ wait for that: ostci clean --wait SECONDS" in said.err
    finally:
        kill_after(first, 0)
        wait_until_gone(work)
    work.ostci("clean", "--dry-run")
    assert work.json("log", "-n", "1")[0]["ending"] == "interrupted"


def test_nobody_cleans_up_under_a_console_and_a_killed_one_leaves_nothing(work: Work) -> None:
    tree = next(iter(work.heads())).rpartition("/")[2]
    console = work.start("boot", tree)
    try:
        until = time.monotonic() + 300
        while not list((work.root / "tmp").glob("*/boot/layer.qcow2")):
            assert time.monotonic() < until and console.poll() is None
            time.sleep(0.02)
        said = work.ostci("clean", code=3)
        assert f"{console.pid} (ostci boot {tree}" in said.err, said.err
    finally:
        kill_after(console, 0)
        wait_until_gone(work)
    work.ostci("clean", "--dry-run")
    assert list((work.root / "tmp").iterdir()) == []


def test_ctrl_c_leaves_nothing_running_and_ends_with_130(work: Work) -> None:
    before = (work.root / "last-run").resolve()
    child = work.start("run", "--again")
    until = time.monotonic() + 300
    while (run := (work.root / "last-run").resolve()) == before or not list(
        run.glob("test/*/*/console.txt")
    ):
        assert time.monotonic() < until and child.poll() is None, "no machine was started"
        time.sleep(0.05)
    child.terminate()
    assert child.wait(60) == 130
    wait_until_gone(work)
    assert work.json("log", "-n", "1")[0]["ending"] == "interrupted"
    work.check_whole()
