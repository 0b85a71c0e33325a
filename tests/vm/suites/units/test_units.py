# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the journal tells of units, and the kernel of the root; what programs in the guest say.

Run by ``tests/vm/test_views.py`` on a Debian whose units fail in several ways.
"""

from pipeline.words.journal import STARTUP_FINISHED
from pipeline.words.refs import Commit
from pipeline.words.symptoms import Cause
from vmtests.machine import Machine

FAILED = ("at-once.service", "early.service", "reset.service", "run-broken.mount", "twice.service")
SILENT = ("silent.service",)


def test_the_journal_tells_of_every_unit_that_systemd_calls_failed(machine: Machine) -> None:
    machine.wait_for_journal(message_id=STARTUP_FINISHED, timeout_s=120)
    machine.wait_for_journal("Started", unit="recovers.service")
    machine.wait_for_journal("twice.service: Start request repeated too quickly")
    assert set(machine.systemctl_failed()) == {*FAILED, *SILENT}
    assert machine.failed_units() == FAILED
    assert machine.silent_units() == SILENT


def test_a_unit_that_failed_and_is_well_again_is_still_a_symptom(machine: Machine) -> None:
    assert "recovers.service" in {one.name for one in machine.symptoms(Cause.FAILED_UNIT)}
    assert machine.watch.units["recovers.service"] == "started"


def test_a_failure_that_is_reset_is_forgotten_by_systemd_alone(machine: Machine) -> None:
    machine.succeeds(["systemctl", "reset-failed", "reset.service"])
    assert set(FAILED) - set(machine.systemctl_failed()) == {"reset.service"}
    assert machine.failed_units() == FAILED


def test_a_unit_that_fails_later_is_told_too(machine: Machine) -> None:
    machine.fails(["systemctl", "start", "later.service"])
    machine.wait_for_journal("Failed with result", unit="later.service")
    assert "later.service" in machine.systemctl_failed()
    assert "later.service" in machine.failed_units()


def test_ostree_names_the_deployment_that_the_kernel_names(
    machine: Machine, commit: Commit
) -> None:
    assert machine.booted_commit() == commit
    booted = [line for line in machine.ostree_status() if line.startswith("* ")]
    assert len(booted) == 1
    assert f" {commit}.0" in booted[0]
    found = [one for one in machine.deployments() if one.is_booted]
    assert [(one.commit, one.serial) for one in found] == [(commit, 0)]
