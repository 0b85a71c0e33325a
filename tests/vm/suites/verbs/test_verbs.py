# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs of a machine, on a real one: what they tell, and that none waits in vain.

A suite like any other, run by ``tests/vm/test_machine.py``; its order matters, for the last tests
end the machine in one way after another.
"""

import hashlib
import json
import random
import time
from pathlib import Path

import pytest

from pipeline.words.errors import Trouble
from pipeline.words.guest_state import CoreDump
from pipeline.words.journal import CORE_DUMP
from pipeline.words.refs import Commit
from pipeline.words.symptoms import Cause
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine

pytestmark = pytest.mark.cold


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
    assert time.monotonic() - started < 60
    assert machine.failed_units() == ("sad.service",)


def test_an_entry_that_is_there_is_found_and_another_is_waited_for(machine: Machine) -> None:
    assert machine.wait_for_journal("Reached target").unit == "multi-user.target"
    with pytest.raises(GuestFailed, match="in vain for a journal entry never said"):
        machine.wait_for_journal("never said", timeout_s=0.1)


def test_the_screen_can_be_looked_at(machine: Machine, evidence: Evidence) -> None:
    path = machine.screenshot("now")
    assert path == evidence.directory / "screenshot-now.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_a_port_is_waited_for_and_not_one_whose_unit_has_failed(machine: Machine) -> None:
    machine.succeeds(["sh", "-c", "ip link set lo up; httpd -p 127.0.0.1:8080 -h /usr/lib"])
    machine.wait_for_port(8080)
    started = time.monotonic()
    with pytest.raises(GuestFailed, match=r"^sad\.service has failed$") as caught:
        machine.wait_for_port(8081, unit="sad.service", timeout_s=100)
    assert caught.value.cause is Cause.FAILED_UNIT
    assert time.monotonic() - started < 90
    with pytest.raises(GuestFailed, match="in vain for port 8081 to be listened on"):
        machine.wait_for_port(8081, timeout_s=0.1)


def test_what_becomes_true_is_waited_for(machine: Machine) -> None:
    machine.shell("(sleep 1; echo here >/tmp/new; mv /tmp/new /tmp/late) >/dev/null 2>&1 &")
    assert machine.wait_until_succeeds(["cat", "/tmp/late"]) == "here"
    with pytest.raises(GuestFailed, match="it ended with exit code 2: ") as caught:
        machine.wait_until_succeeds(["sh", "-c", "echo not yet >&2; exit 2"], timeout_s=0.1)
    assert caught.value.what.endswith("exit code 2: not yet")
    looks = iter([None, "", "seen"])
    assert machine.wait_until(lambda: next(looks), "the third look") == "seen"


def test_files_go_in_and_out_byte_for_byte(machine: Machine, tmp_path: Path) -> None:
    content = random.Random(1).randbytes(9 * 1024**2 + 1)
    machine.write_file("/var/a file", content, mode=0o600)
    assert machine.succeeds(["stat", "-c", "%a %s", "/var/a file"]) == f"600 {len(content)}"
    digest = machine.succeeds(["sha256sum", "/var/a file"], timeout_s=30)
    assert digest.split()[0] == hashlib.sha256(content).hexdigest()
    assert machine.read_file("/var/a file") == content
    with pytest.raises(GuestFailed, match=r"^/var/a file has more than 1000 bytes$"):
        machine.read_file("/var/a file", limit=1000)
    with pytest.raises(GuestFailed, match=r"^/dev/zero has more than 5242880 bytes$"):
        machine.read_file("/dev/zero", limit=5 * 1024**2)
    with pytest.raises(GuestFailed, match=r"^read /none: exit code 1: .*can't open /none"):
        machine.read_file("/none")
    with pytest.raises(GuestFailed, match=r"^write /none/x: exit code 1: "):
        machine.write_file("/none/x", "text")
    machine.write_file("/var/a file", "")
    assert machine.read_file("/var/a file") == b""
    machine.write_file("/var/a file", "a line\n")
    machine.copy_out("/var/a file", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b"a line\n"
    assert b"Linux version" in machine.read_file("/proc/version")


def test_directories_go_in_and_out(machine: Machine, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "deep/er").mkdir(parents=True)
    (tree / "deep/er/data").write_bytes(bytes(range(256)) * 100)
    (tree / "program").write_text("#!/bin/sh\necho run\n")
    (tree / "program").chmod(0o755)
    (tree / "link").symlink_to("deep/er")
    machine.copy_in(tree, "/var/in/side")
    machine.copy_in(tree / "program", "/var/program")
    assert machine.succeeds(["/var/in/side/program"]) == "run"
    assert machine.succeeds(["/var/program"]) == "run"
    machine.copy_out("/var/in/side", tmp_path / "back")
    assert (tmp_path / "back/link/data").read_bytes() == (tree / "deep/er/data").read_bytes()
    assert (tmp_path / "back/program").stat().st_mode & 0o111
    assert machine.succeeds(["sh", "-c", "ls -a /var/in"]).split() == [".", "..", "side"]
    machine.succeeds(["mkfifo", "/var/in/side/pipe"])
    with pytest.raises(GuestFailed, match="has a device or the like in it"):
        machine.copy_out("/var/in/side", tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
    with pytest.raises(GuestFailed, match="has more than 1000 bytes"):
        machine.copy_out("/var/in/side", tmp_path / "bad", limit=1000)


def test_what_dumped_core_is_told(machine: Machine) -> None:
    assert machine.coredumps() == ()
    dump = {
        "MESSAGE": "Process 77 (crasher) of user 0 dumped core.",
        "MESSAGE_ID": CORE_DUMP,
        "COREDUMP_COMM": "crasher",
        "COREDUMP_PID": "77",
        "COREDUMP_SIGNAL_NAME": "SIGABRT",
        "COREDUMP_UNIT": "crasher.service",
    }
    machine.write_file("/tmp/entry", json.dumps(dump) + "\n")
    machine.shell("cat /tmp/entry >/run/journal")
    machine.wait_for_journal(message_id=CORE_DUMP)
    assert machine.coredumps() == (
        CoreDump(program="crasher", signal="SIGABRT", pid=77, unit="crasher.service"),
    )


def test_keys_are_pressed(machine: Machine) -> None:
    # Nothing reads the keyboard here: that QEMU takes the names is what can be seen.
    machine.send_keys("ctrl-alt-f2", "a", "ret")
    with pytest.raises(Trouble, match="nokey"):
        machine.send_keys("nokey")


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
    assert time.monotonic() - started < 30
    assert "Kernel panic" in machine.last_words()
