# SPDX-License-Identifier: LGPL-2.1-or-later
"""Master, worker and supervisor killed and stopped in the middle: nothing lost, nothing doubled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push, PushState
from tests.masters import FakeUp

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    made = FakeUp(tmp_path_factory.mktemp("killed"), attempts=4, users={"olga": "operator"})
    home = made.home / "master"
    home.mkdir(parents=True)
    write_secret(home, "user-olga", "opensesame")
    with made:
        yield made


def hanging(up: FakeUp) -> list[str]:
    """List the processes of pretended commands that hang."""
    mark = str(Path(__file__).with_name("fake_ostci.py"))
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if mark in words and str(up.root) in words:
            found.append(path.parent.name)
    return found


def hang(up: FakeUp, verb: str, how: str = "hang") -> Push:
    """Start a push whose command of this verb never ends, and wait until it is there."""
    line = f"hangs {verb.partition('-')[0]}"
    known = up.calls().count(line)
    up.tell(verb, how)
    push = up.push()
    up.wait(lambda: up.calls().count(line) > known, line)
    return push


def check_once(up: FakeUp, push: Push, *, attempts: int) -> None:
    """Check that a push got one run, one ending, and nothing is left of its first attempt."""
    up.wait(lambda: up.get("builds?complete=false")["builds"] == [], "all builds are over")
    done = up.ledger.pushes.get(push.id)
    assert (done.state, done.attempts) == (PushState.DONE, attempts), done
    builds = [build for build in up.builds() if build["props"].get("push") == push.id]
    assert {build["props"].get("run") for build in builds} == {done.run}
    assert builds[-1]["word"] == "success"
    ends = [call for call in up.calls() if call.startswith(f"end {done.run} ")]
    assert len(ends) == 1
    up.wait(lambda: not hanging(up), "nothing is left")
    # A build is over a moment before its request is.
    up.wait(lambda: not up.get("buildrequests?complete=false")["buildrequests"], "all is asked for")


FULL = pytest.mark.full


@pytest.mark.parametrize("verb", ["build-hello-lib", pytest.param("compose", marks=FULL)])
def test_a_killed_worker_loses_nothing(up: FakeUp, verb: str) -> None:
    push = hang(up, verb)
    up.kill("worker")
    up.wait(lambda: not hanging(up), "its commands died with it", within_s=10)
    up.wait_ended(push)
    check_once(up, push, attempts=2)


@FULL
def test_a_worker_that_is_stopped_cancels_nothing(up: FakeUp) -> None:
    """Its commands are asked to end first, and end as if somebody had cancelled them."""
    push = hang(up, "compose", "silent")
    os.kill(up.pid_of("worker"), signal.SIGTERM)
    up.wait_ended(push)
    check_once(up, push, attempts=2)


@pytest.mark.parametrize("verb", ["test", pytest.param("build-hello-lib", marks=FULL)])
def test_a_killed_master_loses_nothing(up: FakeUp, verb: str) -> None:
    push = hang(up, verb)
    second = up.push("hello")
    up.kill("master")
    third = up.push("init")
    up.wait_ended(push, second, third)
    check_once(up, push, attempts=2)
    runs = [up.ledger.pushes.get(one.id).run for one in (push, second, third)]
    assert len(set(runs)) == 3


def test_a_stopped_master_puts_its_work_back(up: FakeUp) -> None:
    push = hang(up, "build-hello-lib")
    assert up.stop() == 0
    assert hanging(up) == []
    assert up.ledger.pushes.get(push.id).is_open
    waiting = up.push("hello")
    up.start()
    up.wait_ended(push, waiting)
    check_once(up, push, attempts=2)


@FULL
def test_a_killed_supervisor_takes_all_with_it_and_loses_nothing(up: FakeUp) -> None:
    push = hang(up, "compose")
    assert up.process is not None
    os.kill(up.process.pid, signal.SIGKILL)
    up.process.wait()
    up.wait(lambda: not hanging(up), "all commands are dead", within_s=10)
    up.start()
    up.wait_ended(push)
    check_once(up, push, attempts=2)


@FULL
def test_the_database_of_buildbot_may_be_deleted(up: FakeUp) -> None:
    push = hang(up, "compose")
    up.stop()
    for path in (up.home / "master").glob("state.sqlite*"):
        path.unlink()
    up.start()
    up.wait_ended(push)
    check_once(up, push, attempts=2)


def operator(up: FakeUp, path: str) -> int:
    """Do as the operator what stops a build or request; tells the answer's code."""
    return up.control(path, user="olga", password="opensesame", reason="enough")[0]


def test_an_operator_stops_a_run_and_nothing_of_it_is_left(up: FakeUp) -> None:
    push = hang(up, "test")
    build = up.builds()[-1]
    assert operator(up, f"builds/{build['buildid']} stop") == 200
    (done,) = up.wait_ended(push)
    assert done.state is PushState.DONE and "enough" in done.message
    up.wait(lambda: not hanging(up), "nothing is left", within_s=10)
    told = up.calls()[-1].partition(" --wait ")[0]
    assert told == f"cancel {done.run} --by Buildbot: enough"
    up.wait(lambda: bool(up.builds()[-1]["complete"]), "the build is over")
    assert up.builds()[-1]["word"] == "cancelled"


def test_a_retry_that_an_operator_takes_out_of_the_queue_stays_out(up: FakeUp) -> None:
    push = hang(up, "compose", "held-3")
    slots(up, "pause")
    up.let_go()
    marked = f"buildsets?external_idstring=push-{push.id}"
    up.wait(lambda: len(up.get(marked)["buildsets"]) == 2, "it is in the queue again")
    buildset = up.get(f"{marked}&complete=false")["buildsets"][0]
    request = up.get(f"buildrequests?buildsetid={buildset['bsid']}")["buildrequests"][0]
    assert not request["claimed"]
    assert operator(up, f"buildrequests/{request['buildrequestid']} cancel") == 200
    slots(up, "unpause")
    (done,) = up.wait_ended(push)
    assert (done.state, done.message) == (PushState.DONE, "by Buildbot: an operator")
    assert sum(call.startswith(f"resolve --push {push.id} ") for call in up.calls()) == 1


def slots(up: FakeUp, how: str) -> None:
    """Have the slots of runs begin nothing, or go on: ``pause`` or ``unpause``."""

    def ours() -> list[dict[str, Any]]:
        return [one for one in up.get("workers")["workers"] if one["name"].startswith("run-")]

    for one in ours():
        assert operator(up, f"workers/{one['workerid']} {how}") == 200
    up.wait(lambda: {one["paused"] for one in ours()} == {how == "pause"}, f"slots {how}")


def stop_all(up: FakeUp) -> None:
    for build in up.builds():
        if not build["complete"]:
            operator(up, f"builds/{build['buildid']} stop")


@FULL
def test_what_an_operator_takes_out_of_the_queue_stays_out(up: FakeUp) -> None:
    # Both slots of newer pushes, and the one for the oldest, are taken: the next has to wait.
    first = [hang(up, "resolve")]
    up.tell("resolve", "hang", "hang")
    first += [up.push(), up.push()]
    up.wait(lambda: len(hanging(up)) >= 2, "slots are taken")
    waiting = up.push()
    marked = f"buildsets?external_idstring=push-{waiting.id}"
    up.wait(lambda: bool(up.get(marked)["buildsets"]), "it is in the queue")
    (buildset,) = up.get(marked)["buildsets"]
    request = up.get(f"buildrequests?buildsetid={buildset['bsid']}")["buildrequests"][0]
    assert operator(up, f"buildrequests/{request['buildrequestid']} cancel") == 200
    (done,) = up.wait_ended(waiting)
    assert (done.attempts, done.message) == (0, "it was cancelled before it began")
    assert not any(call.startswith(f"resolve --push {waiting.id} ") for call in up.calls())
    stop_all(up)
    up.tell("resolve")
    up.wait_ended(*first)
