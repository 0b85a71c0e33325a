# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every ``.test`` file of the tree is run as it says; what it says is its result.

A test runs as root, in an empty directory that is its home. Each has a fork of its own, and
several run at once; where machines have to boot they share one, one after the other.
"""

import functools
import shlex
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from pipeline.ports.log import FileSink, ListSink, Log
from pipeline.words.errors import Failed
from pipeline.words.installed import TIMEOUT_S, InstalledTest, judge_test
from pipeline.words.symptoms import Cause
from pipeline.words.verdict import Verdict
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.conftest import SECONDS, watching
from vmtests.following import GuestFailed
from vmtests.forks import at_once
from vmtests.machine import Machine

_MOST_RESTARTS = 3
_SCRIPT = """\
dir=$(mktemp -d /var/tmp/installed-test.XXXXXX) && cd "$dir" || exit 1
HOME=$dir TMPDIR=$dir {command}
code=$?
cd / && rm -rf "$dir"
exit "$code"
"""
_restarts = [0]


def usable(bench: Bench) -> Machine:
    """The machine that boots, started again after a test that took it down, a few times a suite.

    A boot that is complete will do, whatever else it shows: to judge it is the smoke suite's.
    """
    found = bench.booted()
    if found.is_alive() and found.watch.is_complete:
        return found
    if _restarts[0] >= _MOST_RESTARTS:
        pytest.skip("the machine is gone, as the tests before tell")
    if found.watch.is_reached:
        _restarts[0] += 1
        found.close()
        found.start()
        found.wait_for_boot()
    if not found.watch.is_complete:
        # Nor would it boot for the next one.
        _restarts[0] = _MOST_RESTARTS
        outcome = found.watch.outcome
        raise GuestFailed(
            f"the boot failed: {outcome.message}", cause=outcome.cause or Cause.DEADLINE
        )
    return found


class Done:
    """What became of a test in its fork: how long it took, what it logged, what it raised."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sink = ListSink()
        self.error: BaseException | None = None


@functools.cache
def _under_way() -> dict[str, Future[Done]]:
    """Begin all tests, as many at once as there is room for; empty where none can have a fork."""
    bench = the_bench()
    tests = [one for one in bench.parameters.installed if not one.problem]
    if not tests or not bench.can_fork():
        return {}
    count = min(at_once(bench.parameters), len(tests))
    bench.log.detail(f"{len(tests)} tests, {count} at once")
    pool = ThreadPoolExecutor(max_workers=count)
    bench.stack.callback(pool.shutdown, cancel_futures=True)
    return {test.name: pool.submit(_in_fork, test, bench) for test in tests}


def _in_fork(test: InstalledTest, bench: Bench) -> Done:
    done = Done()
    log = Log(done.sink)
    began = time.monotonic()
    try:
        with bench.fork(test.name, log=log) as machine:
            file = FileSink(bench.evidence_of(test.name) / "log.txt")
            try:
                with log.also(file), log.step(test.name), watching(machine):
                    began = time.monotonic()
                    run(test, machine)
            except BaseException as error:
                done.error = error
                machine.has_failed = isinstance(error, Failed)
                for line in machine.last_words().splitlines():
                    log.detail(line)
            finally:
                file.close()
    except BaseException as error:
        done.error = done.error or error
    done.seconds = time.monotonic() - began
    return done


def run(test: InstalledTest, machine: Machine) -> None:
    """Run a test and raise what its result is, where it is another than passed."""
    script = _SCRIPT.format(command=shlex.join(test.argv))
    done = machine.shell(script, timeout_s=TIMEOUT_S)
    found = judge_test(test, done.code, done.text, done.error_text, seconds=TIMEOUT_S)
    for line in f"{done.text}\n{done.error_text}".strip().splitlines():
        machine.note(line)
    if found.verdict is Verdict.FAILED:
        raise GuestFailed(found.message)
    if found.verdict is Verdict.SKIPPED:
        pytest.skip(found.message)
    if found.message:
        machine.note(f"warning: {test.name} {found.message}")


@pytest.mark.named
@pytest.mark.parametrize("test", the_bench().parameters.installed, ids=lambda test: test.name)
def test_installed(test: InstalledTest, bench: Bench, request: pytest.FixtureRequest) -> None:
    if test.problem:
        raise GuestFailed(f"{test.name} is malformed: {test.problem}")
    under_way = _under_way().get(test.name)
    if under_way is None:
        machine = usable(bench)
        with watching(machine):
            run(test, machine)
        return
    done = under_way.result()
    for line in done.sink.texts():
        bench.log.detail(line)
    request.node.stash[SECONDS] = done.seconds
    if done.error is not None:
        raise done.error
