# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of a machine, on a real one: what they tell, and that none waits in vain.

A suite like any other, run by ``tests/vm/test_machine.py``; its order matters, for the last tests
end the machine in one way after another.
"""

import time

import pytest

from pipeline.words.refs import Commit
from pipeline.words.symptoms import Cause
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine


def test_a_command_that_ends_well_succeeds(machine: Machine) -> None:
    assert machine.succeeds(["echo", "a  b", "$HOME"]) == "a  b $HOME"
    assert machine.run(["sh", "-c", "exit 3"]).code == 3
    assert machine.shell("echo $((6 * 7))").text == "42"


def test_a_command_that_does_not_end_well_is_told_with_its_words(machine: Machine) -> None:
    with pytest.raises(GuestFailed, match=r"^ls /none ended with exit code 1: ls: /none: No such"):
        machine.succeeds(["ls", "/none"])
    with pytest.raises(GuestFailed, match=r"^true ended well, which it should not$"):
        machine.fails(["true"])
    assert "No such file" in machine.fails(["ls", "/none"])


def test_a_command_that_never_ends_is_stopped_and_the_next_is_served(machine: Machine) -> None:
    assert machine.run(["sleep", "1000"], timeout_s=0.2).code in (124, 137)
    assert machine.succeeds(["echo", "next"]) == "next"


def test_a_large_output_comes_whole(machine: Machine) -> None:
    assert len(machine.run(["head", "-c", "200000", "/dev/zero"]).stdout) == 200_000


def test_the_machine_runs_the_commit(machine: Machine, commit: Commit) -> None:
    assert machine.booted_commit() == commit
    assert not machine.has("systemctl")
    assert machine.has("head")


def test_units_are_waited_for_and_a_failed_one_not_in_vain(machine: Machine) -> None:
    machine.wait_for_unit("late.service")
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"^sad\.service has failed$"):
        machine.wait_for_unit("sad.service")
    assert time.monotonic() - started < 20
    assert machine.failed_units() == ("sad.service",)


def test_an_entry_that_is_there_is_found_and_another_is_waited_for(machine: Machine) -> None:
    assert machine.wait_for_journal("Reached target").unit == "multi-user.target"
    with pytest.raises(GuestFailed, match="in vain for a journal entry never said"):
        machine.wait_for_journal("never said", timeout_s=0.1)


def test_the_screen_can_be_looked_at(machine: Machine, evidence: Evidence) -> None:
    path = machine.screenshot("now")
    assert path == evidence.directory / "screenshot-now.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_what_is_on_the_disk_comes_back_after_a_reboot(machine: Machine) -> None:
    machine.succeeds(["sh", "-c", "echo kept >/var/note; sync"])
    machine.reboot()
    assert machine.succeeds(["cat", "/var/note"]) == "kept"


def test_what_was_synced_survives_a_crash(machine: Machine) -> None:
    machine.crash()
    with pytest.raises(GuestFailed, match="the machine is not running"):
        machine.succeeds(["true"])
    machine.boot()
    assert machine.succeeds(["cat", "/var/note"]) == "kept"


def test_what_is_typed_arrives(machine: Machine) -> None:
    machine.shell("(head -n 1 </dev/tty0 >/var/typed) >/dev/null 2>&1 &")
    machine.send_text("Echo_1 ~")
    machine.send_keys("ret")
    typed = machine.wait_until(lambda: machine.shell("cat /var/typed").text, "what was typed")
    assert typed == "Echo_1 ~"


def test_a_machine_shuts_down(machine: Machine) -> None:
    machine.shutdown()
    assert not machine.is_alive()


def test_an_end_is_seen_by_who_only_asks(machine: Machine) -> None:
    machine.boot()
    machine.shell("(sleep 1; poweroff -f) >/dev/null 2>&1 &")
    until = time.monotonic() + 120
    while machine.is_alive():
        assert time.monotonic() < until
        time.sleep(0.05)
    assert machine.symptoms(Cause.POWERED_OFF)
    machine.crash()


def test_a_guest_that_dies_ends_every_verb_at_once(machine: Machine) -> None:
    machine.boot()
    with pytest.raises(GuestFailed, match="sysrq triggered crash") as caught:
        machine.shell("echo c >/proc/sysrq-trigger", timeout_s=60)
    assert caught.value.cause is Cause.PANIC
    started = time.monotonic()
    with pytest.raises(GuestFailed, match="sysrq triggered crash"):
        machine.wait_for_unit("never.service")
    assert time.monotonic() - started < 5
    assert "Kernel panic" in machine.last_words()
