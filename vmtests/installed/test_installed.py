# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every ``.test`` file of the tree is run as it says; what it says is its result.

A test runs as root, with a login's ``SHELL``, in a directory of its own that is its home and empty
but for ``.testtmp``, by which tests know that gnome-desktop-testing-runner has made it for them.
Each has a fork of its own, and several run at once; where machines have to boot they share one, one
after the other.
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
from vmtests.again import standing
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.conftest import SAID, SECONDS, watching
from vmtests.cores import keep_core, with_core
from vmtests.following import GuestFailed
from vmtests.forks import at_once
from vmtests.machine import Machine

_BEGIN = """\
SHELL=/bin/sh USER=root LOGNAME=root
[ ! -r /etc/passwd ] || while IFS=: read -r name _ _ _ _ _ shell; do
    [ "$name" != root ] || SHELL=${shell:-$SHELL}
done </etc/passwd
export SHELL USER LOGNAME
dir=$(mktemp -d /var/tmp/installed-test.XXXXXX) && cd "$dir" && : >.testtmp || exit 1
"""
_END = """\
cd / && rm -rf "$dir"
exit "$code"
"""
_TELL_S = 60.0


class Done:
    """What became of a test in its fork: how long it took, what it logged, wrote and raised."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sink = ListSink()
        self.said: list[str] = []
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


def _waited_for(one: "Future[Done]", bench: Bench) -> Done:
    """Wait for a test's turn to be over, telling now and then how far all of them are."""
    while True:
        try:
            return one.result(timeout=_TELL_S)
        except TimeoutError:
            every = _under_way().values()
            done = sum(1 for one in every if one.done())
            bench.log.fact(f"{done} of {len(every)} tests have ended")


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
                    try:
                        run(test, machine, done.said)
                    except pytest.skip.Exception as skipped:
                        # Its step has not failed.
                        done.error = skipped
                        machine.note(f"skipped: {skipped.msg}")
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


def run(test: InstalledTest, machine: Machine, said: list[str]) -> None:
    """Run a test and raise what its result is, where it is another than passed.

    What it writes is added to ``said``; a core that it dumps is kept.
    """
    command = f"HOME=$dir TMPDIR=$dir {shlex.join(test.argv)}"
    script = _BEGIN + with_core(command, '"$dir"') + _END
    title = f"$ {shlex.join(test.argv)}"
    done = machine.shell(script, timeout_s=TIMEOUT_S, title=title)
    found = judge_test(test, done.code, done.text, done.error_text, seconds=TIMEOUT_S)
    said += f"{done.text}\n{done.error_text}".strip().splitlines()
    for line in said:
        machine.note(line)
    if done.code != 0 or machine.symptoms(Cause.CORE_DUMP):
        keep_core(machine, the_bench().evidence_of(test.name))
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
        raise GuestFailed(f"{test.name} is malformed: {test.problem}", cause=Cause.MALFORMED)
    under_way = _under_way().get(test.name)
    if under_way is None:
        machine = standing(bench)
        said: list[str] = []
        request.node.stash[SAID] = said
        with watching(machine):
            run(test, machine, said)
        return
    done = _waited_for(under_way, bench)
    for line in done.sink.texts():
        bench.log.detail(line)
    request.node.stash[SECONDS] = done.seconds
    request.node.stash[SAID] = done.said
    if done.error is not None:
        raise done.error
