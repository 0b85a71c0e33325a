# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every ``.test`` file of the tree is run as it says; what it says is its result.

A test runs as root, in an empty directory that is its home, one after the other.
"""

import shlex

import pytest

from pipeline.words.installed import TIMEOUT_S, InstalledTest, judge_test
from pipeline.words.verdict import Verdict
from vmtests.bench import bench
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


def ready(machine: Machine) -> Machine:
    """See that a machine is there, also after a test that took it down, a few times a suite."""
    if machine.is_alive() and machine.watch.is_complete:
        return machine
    outcome = machine.watch.outcome
    if not machine.watch.is_reached and outcome.cause is not None and _restarts[0] == 0:
        _restarts[0] = _MOST_RESTARTS
        raise GuestFailed(f"the boot failed: {outcome.message}", cause=outcome.cause)
    if _restarts[0] >= _MOST_RESTARTS:
        pytest.skip("the machine is gone, as the tests before tell")
    _restarts[0] += 1
    machine.close()
    machine.boot()
    return machine


@pytest.mark.named
@pytest.mark.parametrize("test", bench().parameters.installed, ids=lambda test: test.name)
def test_installed(test: InstalledTest, watched: Machine) -> None:
    if test.problem:
        raise GuestFailed(f"{test.name} is malformed: {test.problem}")
    script = _SCRIPT.format(command=shlex.join(test.argv))
    done = ready(watched).shell(script, timeout_s=TIMEOUT_S)
    found = judge_test(test, done.code, done.text, done.error_text, seconds=TIMEOUT_S)
    for line in f"{done.text}\n{done.error_text}".strip().splitlines():
        watched.note(line)
    if found.verdict is Verdict.FAILED:
        raise GuestFailed(found.message)
    if found.verdict is Verdict.SKIPPED:
        pytest.skip(found.message)
    if found.message:
        watched.note(f"warning: {test.name} {found.message}")
