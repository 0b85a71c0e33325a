# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test may count on that runs in a fork; run by ``tests/vm/test_forks.py``."""

import time

import pytest

from pipeline.words.refs import Commit
from vmtests.machine import Machine

SEEN: dict[str, list[str]] = {"random": [], "boot": []}


def look(machine: Machine) -> None:
    """Note what two forks are to differ in, and what not; leave traces for the next."""
    assert machine.shell("test ! -e /var/trace && test ! -e /run/trace").code == 0
    SEEN["random"].append(machine.succeeds(["od", "-An", "-tx1", "-N16", "/dev/urandom"]))
    SEEN["boot"].append(machine.succeeds(["cat", "/proc/sys/kernel/random/boot_id"]))
    assert machine.shell("echo >/var/trace && echo >/run/trace && sync").code == 0


def test_one_leaves_traces(machine: Machine, commit: Commit) -> None:
    look(machine)
    assert machine.booted_commit() == commit
    assert machine.wait_for_journal("Reached target").unit == "multi-user.target"


def test_another_sees_none_of_them_and_draws_other_random_numbers(machine: Machine) -> None:
    look(machine)
    assert len(set(SEEN["random"])) == 2
    assert len(set(SEEN["boot"])) == 1, "they go on from one boot"


def test_the_clock_is_right(machine: Machine) -> None:
    assert abs(int(machine.succeeds(["date", "+%s"])) - time.time()) < 3


def test_what_was_written_outlives_a_reboot(machine: Machine, commit: Commit) -> None:
    before = machine.succeeds(["cat", "/proc/sys/kernel/random/boot_id"])
    assert machine.shell("echo kept >/var/trace && sync").code == 0
    machine.reboot()
    assert machine.succeeds(["cat", "/var/trace"]) == "kept"
    assert machine.succeeds(["cat", "/proc/sys/kernel/random/boot_id"]) != before
    assert machine.booted_commit() == commit


@pytest.mark.cold
def test_one_that_is_cold_has_a_boot_of_its_own(machine: Machine) -> None:
    assert machine.shell("test ! -e /var/trace").code == 0
    assert machine.succeeds(["cat", "/proc/sys/kernel/random/boot_id"]) not in SEEN["boot"]
