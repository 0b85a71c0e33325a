# SPDX-License-Identifier: LGPL-2.1-or-later
"""What becomes of a push for every way in which a command can end; master and worker are real."""

from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.words.push import PushState
from tests.masters import FakeUp

pytestmark = pytest.mark.slow
SILENT_S = 10


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    with FakeUp(tmp_path_factory.mktemp("steps"), attempts=2) as made:
        yield made


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    """One that stops what says nothing for a little while."""
    with FakeUp(tmp_path_factory.mktemp("hasty"), attempts=2, silent=SILENT_S) as made:
        yield made


def last(up: FakeUp, builder: str = "run") -> dict[str, Any]:
    """Find the newest build of a builder, when it is over."""
    up.wait(lambda: bool(up.builds(builder)[-1]["complete"]), "the last build is over")
    return up.builds(builder)[-1]


def test_a_push_goes_the_whole_way(up: FakeUp) -> None:
    before = len(up.calls())
    push = up.push()
    (done,) = up.wait_ended(push)
    assert (done.state, done.attempts, done.message) == (PushState.DONE, 1, "as it was told")
    build = last(up)
    assert build["word"] == "success", build["state_string"]
    run = done.run
    assert [call.partition(" --wait")[0] for call in up.calls()[before:]] == [
        f"resolve --push {push.id}",
        f"plan --run {run} --json",
        f"build hello-lib --run {run}",
        f"build hello --run {run}",
        f"build --run {run}",
        f"compose --run {run}",
        f"disk x86_64-runtime --run {run}",
        f"test x86_64-runtime --suite smoke --run {run}",
        f"promote --end --run {run}",
        f"end {run}",
    ]
    properties = build["props"]
    assert (properties["push"], properties["run"]) == (push.id, run)
    assert properties["snapshot"] == "5" * 64
    assert properties["commits"] == {"x86_64-runtime": "c" * 64}
    assert properties["revision"] == push.after
    for name in ("component/hello-lib", "disk/x86_64-runtime", "suite/x86_64-runtime/smoke"):
        (child,) = up.builds(name)
        assert child["props"]["run"] == run
    # Five builders, whatever the manifest holds: the others are only names.
    real = [one for one in up.get("builders")["builders"] if "_virtual_" not in one["tags"]]
    assert sorted(one["name"] for one in real) == ["component", "disk", "promote", "run", "suite"]


@pytest.mark.parametrize(
    ("code", "word", "state", "message"),
    [
        (1, "failure", PushState.DONE, "as it was told"),
        pytest.param(2, "failure", PushState.DONE, "as it was told", marks=pytest.mark.full),
        (70, "exception", PushState.TROUBLE, "as it was told"),
        (130, "cancelled", PushState.DONE, "by Buildbot: somebody"),
    ],
)
def test_a_code_is_an_ending(
    up: FakeUp, code: int, word: str, state: PushState, message: str
) -> None:
    up.tell("compose", code)
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts, done.message) == (state, 1, message)
    build = last(up)
    assert build["word"] == word
    steps = up.steps(build)
    assert steps["compose"] == word
    assert "promote" not in steps and "machines" not in steps
    assert build["state_string"].endswith(f": {message}")
    assert f"compose was told to end with {code}" in up.logs(build) or code == 130
    assert up.calls()[-1].startswith("cancel" if code == 130 else "end")


def test_a_run_that_its_last_stage_has_ended_is_not_ended_once_more(up: FakeUp) -> None:
    before = len(up.calls())
    (up.fake / "last-ends").touch()
    (done,) = up.wait_ended(up.push())
    (up.fake / "last-ends").unlink()
    assert (done.state, done.message) == (PushState.DONE, "as it was told")
    assert up.calls()[before:][-1].startswith(f"promote --end --run {done.run}")
    build = last(up)
    assert (build["word"], build["props"]["ending"]) == ("success", "passed")
    assert up.steps(build)["end"] == "success"


@pytest.mark.parametrize(("verb", "step"), [("test", "machines"), ("build-hello", "components")])
def test_a_bug_in_a_child_is_not_tried_again(up: FakeUp, verb: str, step: str) -> None:
    up.tell(verb, 70, 70)
    (done,) = up.wait_ended(up.push())
    up.tell(verb)
    assert (done.state, done.attempts) == (PushState.TROUBLE, 1)
    assert up.steps(last(up))[step] == "exception"


@pytest.mark.parametrize("code", [3, 70])
def test_a_run_that_could_not_be_ended_is_ended_by_the_next_attempt(up: FakeUp, code: int) -> None:
    up.tell("end", code)
    before = len(up.builds())
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts, done.message) == (PushState.DONE, 2, "as it was told")
    last(up)
    assert [build["word"] for build in up.builds()[before:]] == ["exception", "success"]
    assert f"end was told to end with {code}" in up.builds()[before]["state_string"]


def test_what_was_over_when_it_was_cancelled_is_no_trouble(up: FakeUp) -> None:
    up.tell("compose", 130)
    up.tell("cancel", 2)
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts) == (PushState.DONE, 1)
    assert last(up)["word"] == "cancelled"


def test_trouble_is_tried_again_and_then_passes(up: FakeUp) -> None:
    up.tell("compose", 3)
    before = len(up.builds())
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts) == (PushState.DONE, 2)
    last(up)
    assert [build["word"] for build in up.builds()[before:]] == ["exception", "success"]
    assert {build["props"]["run"] for build in up.builds()[before:]} == {done.run}
    assert sum(call.startswith(f"resolve --push {done.id} ") for call in up.calls()) == 2


def test_trouble_without_end_ends_within_the_bound(up: FakeUp) -> None:
    up.tell("resolve", 3, 3, 0)
    before = len(up.builds())
    (done,) = up.wait_ended(up.push())
    up.tell("resolve")
    assert (done.state, done.attempts) == (PushState.TROUBLE, 2)
    assert done.message == "all its attempts ended in trouble"
    assert last(up)["word"] == "exception"
    assert [build["word"] for build in up.builds()[before:]] == ["exception", "exception"]


def test_the_trouble_of_a_suite_is_tried_again_by_itself(up: FakeUp) -> None:
    up.tell("test", 3)
    before = len(up.builds("suite/x86_64-runtime/smoke"))
    (done,) = up.wait_ended(up.push())
    assert (done.state, done.attempts) == (PushState.DONE, 1)
    assert last(up)["word"] == "success"
    suites = up.builds("suite/x86_64-runtime/smoke")[before:]
    assert [build["word"] for build in suites] == ["retry", "success"]


@pytest.mark.parametrize(
    ("verb", "builder", "word"),
    [("compose", "run", "exception"), ("build-hello-lib", "component/hello-lib", "retry")],
)
def test_a_command_that_says_nothing_is_stopped_and_tried_again(
    hasty: FakeUp, verb: str, builder: str, word: str
) -> None:
    hasty.tell(verb, "silent")
    before = len(hasty.builds(builder))
    (done,) = hasty.wait_ended(hasty.push())
    assert (done.state, done.message) == (PushState.DONE, "as it was told")
    last(hasty)
    found = hasty.builds(builder)[before:]
    assert [build["word"] for build in found] == [word, "success"]
    assert f"stopped: it said nothing for {SILENT_S} s" in found[0]["state_string"]
    assert not any(call.startswith("cancel") for call in hasty.calls())


def test_a_command_that_is_always_silent_is_trouble_that_nobody_cancelled(hasty: FakeUp) -> None:
    hasty.tell("compose", "silent", "silent")
    (done,) = hasty.wait_ended(hasty.push())
    assert (done.state, done.attempts) == (PushState.TROUBLE, 2)
    assert last(hasty)["word"] == "exception"
    assert not any(call.startswith("cancel") for call in hasty.calls())


def test_a_child_that_is_always_silent_is_trouble(hasty: FakeUp) -> None:
    hasty.tell("test", "silent", "silent", "silent", "silent")
    (done,) = hasty.wait_ended(hasty.push())
    hasty.tell("test")
    assert (done.state, done.attempts) == (PushState.TROUBLE, 2)


def test_what_stands_on_a_failed_component_is_not_built(up: FakeUp) -> None:
    up.tell("build-hello-lib", 1)
    before = len(up.calls())
    # The command that collects says that a component failed.
    up.tell("build", 1)
    (done,) = up.wait_ended(up.push())
    assert done.state is PushState.DONE
    build = last(up)
    assert build["word"] == "failure"
    steps = up.steps(build)
    assert (steps["components"], steps["build"]) == ("failure", "failure")
    assert "compose" not in steps
    assert not any(call.startswith("build hello ") for call in up.calls()[before:])
    assert up.builds("component/hello-lib")[-1]["word"] == "failure"


def test_a_suite_that_fails_still_has_promotion_say_so(up: FakeUp) -> None:
    up.tell("test", 1)
    up.tell("promote", 1)
    (done,) = up.wait_ended(up.push())
    assert done.state is PushState.DONE
    steps = up.steps(last(up))
    assert (steps["machines"], steps["promote"]) == ("failure", "failure")


def test_a_push_that_has_its_ending_is_not_worked_on_again(up: FakeUp) -> None:
    push = up.push()
    up.ledger.pushes.end(push.id, PushState.DONE, "elsewhere")
    following = up.push()
    up.wait_ended(following)
    assert not any(call.startswith(f"resolve --push {push.id} ") for call in up.calls())


def test_every_command_is_alone_in_its_namespace_with_a_small_environment(up: FakeUp) -> None:
    build = last(up, "component/hello-lib")
    steps = up.get(f"builds/{build['buildid']}/steps")["steps"]
    step = next(one for one in steps if one["name"] == "build")
    logs = up.get(f"steps/{step['stepid']}/logs")["logs"]
    text = up.get(f"logs/{logs[0]['logid']}/contents")["logchunks"][0]["content"]
    assert "setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount-proc ostci" in text
    assert "environment:" not in text


def test_no_secret_is_in_a_log(up: FakeUp) -> None:
    password = (up.home / "master" / "secrets" / "worker").read_text()
    for name in ("master", "worker"):
        assert password not in (up.home / name / "twistd.log").read_text()
