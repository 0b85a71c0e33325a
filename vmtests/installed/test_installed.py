# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every ``.test`` file of the tree is run as it says; what it says is its result.

A test runs as root, in an empty directory that is its home, one after the other.
"""

import shlex

import pytest

from pipeline.words.installed import TIMEOUT_S, InstalledTest, judge_test
from pipeline.words.symptoms import Cause
from pipeline.words.verdict import Verdict
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.following import GuestFailed
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


@pytest.fixture
def machine(bench: Bench) -> Machine:
    """The machine, started again after a test that took it down, a few times a suite.

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


@pytest.mark.named
@pytest.mark.parametrize("test", the_bench().parameters.installed, ids=lambda test: test.name)
def test_installed(test: InstalledTest, watched: Machine) -> None:
    if test.problem:
        raise GuestFailed(f"{test.name} is malformed: {test.problem}")
    script = _SCRIPT.format(command=shlex.join(test.argv))
    done = watched.shell(script, timeout_s=TIMEOUT_S)
    found = judge_test(test, done.code, done.text, done.error_text, seconds=TIMEOUT_S)
    for line in f"{done.text}\n{done.error_text}".strip().splitlines():
        watched.note(line)
    if found.verdict is Verdict.FAILED:
        raise GuestFailed(found.message)
    if found.verdict is Verdict.SKIPPED:
        pytest.skip(found.message)
    if found.message:
        watched.note(f"warning: {test.name} {found.message}")
