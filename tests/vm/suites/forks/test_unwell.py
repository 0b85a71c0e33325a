# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forks that come to a bad end; run by ``tests/vm/test_forks.py`` one by one."""

import os
import signal

from vmtests.machine import Machine


def test_that_fails(machine: Machine) -> None:
    machine.shell("echo it was here >/run/clue")
    machine.succeeds(["test", "-e", "/none"])


def test_that_loses_its_qemu(machine: Machine) -> None:
    assert machine.domain is not None
    assert machine.domain.pid is not None
    os.kill(machine.domain.pid, signal.SIGKILL)
    machine.succeeds(["sleep", "30"], timeout_s=60)


def test_that_powers_off(machine: Machine) -> None:
    machine.shell("poweroff -f")
    machine.succeeds(["sleep", "30"], timeout_s=60)
