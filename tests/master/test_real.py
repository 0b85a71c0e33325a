# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole thing: real pushes with git, a real master and worker, and the real ``ostci``."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.words.push import Push, PushState
from tests.cheap import Cheap, CheapByCommit
from tests.masters import Up
from tests.work import TINY, Work

pytestmark = pytest.mark.slow
_LONG_S = 600.0


def small_tiny(root: Path) -> Work:
    """Lay out the sample tiny with one tree instead of two."""
    work = Work(TINY, root)
    path = work.sample.manifest
    head, _, _ = path.read_text().partition("\n  devel:\n    extend: runtime")
    path.write_text(head + "\n")
    return work


@pytest.mark.vm
def test_a_git_push_becomes_a_promoted_tree(tmp_path: Path) -> None:
    work = small_tiny(tmp_path)
    with Up(tmp_path, work=work, poll=2, reconcile=2, slots=2, runs=1) as up:
        up.wait(lambda: watched(up, "greeting"), "all repositories were seen")
        after = work.push(work.story.change)
        up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push was seen")
        (push,) = up.ledger.pushes.newest(9)
        assert (push.component, push.after) == ("greeting", after)
        (done,) = up.wait_ended(push, within_s=_LONG_S)
        assert (done.state, done.attempts, done.message) == (PushState.DONE, 1, "")
        up.wait(lambda: bool(up.builds()[-1]["complete"]), "the build is over")
        (build,) = up.builds()
        assert build["word"] == "success", (build["state_string"], up.steps(build))
        properties = build["props"]
        record = json.loads(work.house().workdir.run(str(done.run)).file("run").read_text())
        assert (properties["run"], properties["ending"]) == (done.run, "passed")
        assert properties["snapshot"] == record["snapshot"]
        promoted = work.heads()
        assert promoted == {
            "tiny/buildmaster/x86_64-runtime": properties["commits"]["x86_64-runtime"]
        }
        assert record["promoted"] == properties["commits"]
        (suite,) = up.builds("suite/x86_64-runtime/smoke")
        assert suite["props"]["run"] == done.run
        check_broken_manifest(up)
    work.check_whole()


def check_broken_manifest(up: Up) -> None:
    """A manifest with an error is told on its push and on the page, and takes nothing down."""
    path = up.work.sample.manifest
    good = path.read_text()
    path.write_text(good.replace("osname:", "osnaem:"))
    up.wait(lambda: up.ledger.pushes.newest(1)[0].state is PushState.REFUSED, "it is refused")
    (refused,) = up.ledger.pushes.newest(1)
    assert "unknown key 'osnaem', did you mean 'osname'?" in refused.message
    up.wait(lambda: "osnaem" in newest_change(up)["comments"], "the page says it")
    assert newest_change(up)["comments"].startswith("the manifest is broken, the last good one")
    path.write_text(good)
    (up.work.sample.repository("greeting") / "NEWS").write_text("still here\n")
    after = up.work.sample.push("greeting", "still watched")
    up.wait(lambda: up.ledger.pushes.newest(1)[0].after == after, "others are watched on")


def newest_change(up: Up) -> dict[str, Any]:
    return dict(up.get("changes?limit=1&order=-changeid")["changes"][0])


def watched(up: Up, component: str) -> bool:
    return any(url.endswith(f"/{component}") for url, _ in up.ledger.pushes.heads())


def composed(up: Up) -> list[str]:
    """List the runs that have composed."""
    runs = [push.run for push in up.ledger.pushes.newest(9)]
    workdir = up.work.house().workdir
    return [run for run in runs if run and workdir.run(run).file("trees").is_file()]


def check_line(up: Up, work: Cheap, pushes: list[Push]) -> None:
    """Check that each push has a run of its own, in push order, and one commit on ``compose``."""
    work.check_line(pushes)
    mine: list[dict[str, Any]] = up.builds()
    for push in pushes:
        builds = [build for build in mine if build["props"].get("push") == push.id]
        told = [(build["word"], build["state_string"]) for build in builds]
        # It is no bootable system: each run fails at its disk, once.
        assert [word for word, _ in told if word != "retry"] == ["failure"], told


def test_a_burst_is_a_run_and_a_commit_each_though_all_is_killed(tmp_path: Path) -> None:
    work = CheapByCommit(tmp_path, one=0.0, two=0.0)
    with Up(tmp_path, work=work, poll=2, reconcile=2, slots=2, runs=3, attempts=5) as up:
        up.wait(lambda: watched(up, "two"), "all repositories were seen")
        for number in range(5):
            work.change("one" if number % 2 else "two", after_s=0.5)
        up.wait(lambda: len(up.ledger.pushes.newest(9)) == 5, "five pushes were seen")
        up.wait(lambda: bool(up.builds("component/two")), "something is built")
        up.kill("worker")
        up.wait(lambda: len(composed(up)) >= 1, "one is composed", within_s=_LONG_S)
        up.kill("master")
        pushes = up.wait_ended(*up.ledger.pushes.newest(9), within_s=_LONG_S)
        assert {push.state for push in pushes} == {PushState.DONE}
        up.wait(up.is_up, "the master is up again")
        up.wait(lambda: up.get("builds?complete=false")["builds"] == [], "all builds are over")
        check_line(up, work, pushes)
    assert work.processes() == []
