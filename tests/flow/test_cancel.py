# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cancelling: all that works on a run stops, nothing else does, and what has passed stays so."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli.holds import held_run
from pipeline.cli.record import read_cancel
from pipeline.ports import presence
from pipeline.ports.files import Held
from pipeline.words.push import PushState
from tests.cheap import TREE, Cheap
from tests.work import TOP, wait_until_gone

pytestmark = pytest.mark.slow

_HOLD = """
import signal
import sys
import time
from pathlib import Path
from pipeline.cli.holds import held_run
from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.ports.log import Log
root, version, what, how = sys.argv[1:]
house = House(Path(root), log=Log())
run = house.workdir.run(version)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
shared = how != "alone"
with locked(house, what, wait_s=0.0), held_run(house, run, what, wait_s=60.0, shared=shared):
    print("held", flush=True)
    if how == "passes when cancelled":
        while not run.file("cancel").exists():
            time.sleep(0.01)
        Passage(house, run).end(None)
    else:
        time.sleep(600)
"""
_OPEN = """
import sys, time
with open(sys.argv[1], "a+"):
    print("open", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def cheap(tmp_path: Path) -> Iterator[Cheap]:
    """A work directory in which nothing was built yet."""
    found = Cheap(tmp_path, slow=600, quick=0)
    yield found
    try:
        wait_until_gone(found)
    finally:
        for one in found.processes():  # what a test that failed has left would go on for long
            os.kill(int(one.split()[0]), signal.SIGKILL)


@contextlib.contextmanager
def child(script: str, *words: str, waits: bool = False) -> "Iterator[subprocess.Popen[str]]":
    """Run a script for the length of the ``with``, from when it says something."""
    argv = [sys.executable, "-c", script, *words]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=TOP) as found:
        try:
            assert found.stdout is not None
            assert waits or found.stdout.readline()
            yield found
        finally:
            found.kill()


def hold(
    cheap: Cheap, version: str, how: str
) -> "contextlib._GeneratorContextManager[subprocess.Popen[str]]":
    return child(_HOLD, str(cheap.root), version, f"ostci holding --run {version}", how)


def resolved(cheap: Cheap) -> str:
    cheap.ostci("resolve")
    return cheap.house().workdir.versions()[-1]


def test_what_goes_on_in_a_run_of_which_another_part_has_failed_is_cancelled(cheap: Cheap) -> None:
    version = resolved(cheap)
    building = cheap.start("build", "slow", "--run", version)
    cheap.wait_for(version, "slow: compile")
    cheap.ostci("test", TREE, "smoke", "--run", version, code=2)
    assert cheap.record(version)["ending"] == "bad-input"
    cheap.ostci("cancel", version, "--by", "alice")
    cheap.end_cancelled(building)
    record = cheap.record(version)
    assert (record["ending"], record["message"]) == ("interrupted", "cancelled by alice")
    said = cheap.ostci("cancel", version, code=2)
    assert f"run {version} has ended: interrupted" in said.err


def test_a_run_that_passes_while_it_is_cancelled_has_passed(cheap: Cheap) -> None:
    version = resolved(cheap)
    with hold(cheap, version, "passes when cancelled"):
        said = cheap.ostci("cancel", version, "--by", "alice", code=2)
    assert f"run {version} has ended: passed" in said.err
    record = cheap.record(version)
    assert (record["ending"], record["message"]) == ("passed", "")
    assert read_cancel(cheap.house().workdir.run(version)) is None
    assert [row.ending for row in cheap.house().ledger.runs()] == ["passed"]


def test_two_that_cancel_at_once_kill_who_holds_the_run_and_nobody_else(cheap: Cheap) -> None:
    version = resolved(cheap)
    run = cheap.house().workdir.run(version)
    with hold(cheap, version, "shared") as holder, child(_OPEN, str(run.lock)) as opener:
        cancels = [cheap.start("cancel", version, "--by", name) for name in ("alice", "bob")]
        assert sorted(cheap.end_of(one) for one in cancels) == [0, 2]
        assert holder.wait(60) == -9
        assert opener.poll() is None, "it held nothing"
    note = read_cancel(run)
    assert note is not None and cheap.record(version)["message"] == f"cancelled by {note.by}"


def test_a_push_ends_with_its_run_that_is_cancelled(cheap: Cheap) -> None:
    push = cheap.json("push", "slow")["id"]
    running = cheap.start("run", "--push", str(push))
    version = cheap.wait_for_run()
    cheap.wait_for(version, "slow: compile")
    cheap.ostci("cancel", version, "--by", "bob")
    cheap.end_cancelled(running)
    found = cheap.house().ledger.pushes.get(push)
    assert (found.state, found.message) == (PushState.DONE, "cancelled by bob")
    cheap.ostci("run", "--push", str(push), code=130)
    assert cheap.json("pushes", "--open") == []


def test_a_push_whose_stages_are_given_one_by_one_ends_with_its_run(cheap: Cheap) -> None:
    push = cheap.json("push", "quick")["id"]
    version = cheap.json("resolve", "--push", str(push))["run"]
    cheap.ostci("cancel", version, "--by", "bob")
    found = cheap.house().ledger.pushes.get(push)
    assert (found.state, found.message) == (PushState.DONE, "cancelled by bob")
    said = cheap.ostci("cancel", version, code=2)
    assert f"run {version} has ended: interrupted" in said.err


def test_who_holds_a_run_is_named_and_not_who_waits_or_holds_another(cheap: Cheap) -> None:
    house = cheap.house()
    versions = [house.workdir.new_run().version for _ in range(11)]
    one, ten = versions[1], versions[10]
    assert ten.startswith(one)
    waiter = (_HOLD, str(cheap.root), one, f"ostci waiting --run {one}", "alone")
    with (
        hold(cheap, one, "shared") as holder,
        hold(cheap, ten, "shared"),
        child(*waiter, waits=True),
    ):
        until = time.monotonic() + 300.0
        while len(presence.look(house.workdir.tmp).here) < 3:
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.05)
        with pytest.raises(Held) as held, held_run(house, house.workdir.run(one), "x", wait_s=0):
            pass
    told = f"run {one} is held by process {holder.pid} (ostci holding --run {one}, since "
    assert str(held.value).startswith(told) and "), " not in str(held.value)
