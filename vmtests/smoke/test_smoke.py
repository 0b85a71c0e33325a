# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commit boots, it is the commit, and nothing is wrong that a look would show."""

import pytest

from pipeline.words.refs import Commit
from pipeline.words.symptoms import Cause
from vmtests.following import GuestFailed
from vmtests.machine import Machine

pytestmark = pytest.mark.cold

OF_ONE_PROGRAM = {
    Cause.FAILED_UNIT,
    Cause.START_TIMEOUT,
    Cause.CORE_DUMP,
    Cause.OOM_KILL,
    Cause.OOPS,
    Cause.FORBIDDEN,
    Cause.ERROR_MESSAGE,
    Cause.MISSING,
    Cause.WRONG_COMMIT,
}
"""Causes that have a test of their own; all others mean that the boot itself did not work."""


def booted(machine: Machine) -> Machine:
    """Skip what nobody can say of a boot that was given up early."""
    if not machine.watch.is_complete:
        pytest.skip(f"the boot was given up: {machine.watch.outcome.cause}")
    return machine


def shows_no(machine: Machine, *causes: Cause) -> None:
    """Fail with the first symptom of such a cause; where the boot failed otherwise, skip."""
    found = machine.symptoms(*causes)
    for one in found:
        machine.note(f"{one.cause}: {one.message}")
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise GuestFailed(found[0].message + more, cause=found[0].cause)
    booted(machine)


def test_the_machine_reaches_its_target(machine: Machine) -> None:
    outcome = machine.watch.outcome
    if outcome.cause in OF_ONE_PROGRAM:
        booted(machine)
    elif outcome.cause is not None:
        raise GuestFailed(outcome.message, cause=outcome.cause)


def test_the_booted_deployment_is_the_commit_under_test(machine: Machine, commit: Commit) -> None:
    found = booted(machine).booted_commit()
    if found != commit:
        raise GuestFailed(f"the guest runs {found}, not {commit}", cause=Cause.WRONG_COMMIT)


def test_every_required_message_was_seen(machine: Machine) -> None:
    shows_no(machine, Cause.MISSING)


def test_no_forbidden_message_was_seen(machine: Machine) -> None:
    shows_no(machine, Cause.FORBIDDEN)


def test_no_unit_failed(machine: Machine) -> None:
    shows_no(machine, Cause.FAILED_UNIT, Cause.START_TIMEOUT)
    failed = machine.failed_units()
    if machine.silent_units():
        also = set(machine.systemctl_failed()) - machine.watch.excused
        failed = tuple(sorted({*failed, *also}))
    if failed:
        raise GuestFailed(f"failed units: {', '.join(failed)}", cause=Cause.FAILED_UNIT)


def test_nothing_dumped_core(machine: Machine) -> None:
    shows_no(machine, Cause.CORE_DUMP)


def test_nothing_was_killed_for_memory(machine: Machine) -> None:
    shows_no(machine, Cause.OOM_KILL)


def test_the_kernel_is_well(machine: Machine) -> None:
    shows_no(machine, Cause.OOPS)


def test_no_unexpected_error_message(machine: Machine) -> None:
    shows_no(machine, Cause.ERROR_MESSAGE)


def test_the_machine_is_still_there(machine: Machine) -> None:
    assert booted(machine).is_alive(), "the machine is gone"
