# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines through libvirt's embedded driver, with a guest that is up in seconds."""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import domain_root, image
from pipeline.ports.domain import (
    Card,
    Console,
    Domain,
    Ended,
    EventKind,
    Hypervisor,
    confined,
    hypervisor,
    reap,
)
from pipeline.ports.domain_xml import Files, domain_xml
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Trouble
from tests import bare

URI = "qemu:///embed"
PANIC = "echo c > /proc/sysrq-trigger"


@pytest.fixture(scope="module")
def driver() -> Iterator[Hypervisor]:
    """One root for all of these tests, as one process has one."""
    bare.kernel()
    with bare.short_directory() as root, hypervisor(URI, root, log=Log()) as opened:
        yield opened


@pytest.fixture
def into() -> Iterator[Path]:
    with bare.short_directory() as path:
        yield path


def pid_of(driver: Hypervisor, machine: Domain) -> int:
    pid = domain_root.pid_of(driver.root, machine.name)
    assert pid is not None
    return pid


def status_of(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}


@pytest.mark.vm
def test_a_machine_starts_answers_and_is_gone_after_its_with(
    driver: Hypervisor, into: Path
) -> None:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        assert machine.is_running() and machine.ended() is None
        pid = pid_of(driver, machine)
        assert machine.monitor.execute("query-status")["running"] is True
    assert not machine.is_running()
    assert machine.ended() is Ended.DESTROYED
    assert not Path(f"/proc/{pid}").exists(), "not even a zombie"
    assert [path.name for path in (driver.root / "m").iterdir()] == []
    kinds = [event.kind for event in machine.events()]
    assert kinds == [EventKind.STARTED, EventKind.ENDED]


@pytest.mark.vm
@pytest.mark.parametrize(
    ("script", "why", "kind"),
    [
        ("poweroff -f", Ended.SHUTDOWN, EventKind.POWER_OFF),
        ("reboot -f", Ended.REBOOT, EventKind.REBOOT),
    ],
)
def test_what_a_guest_does_to_itself_is_told(
    driver: Hypervisor, into: Path, script: str, why: Ended, kind: EventKind
) -> None:
    with driver.start(bare.spec(into, script=script)) as machine:
        assert machine.wait_ended(bare.DEADLINE_S) is why
        events = machine.event_queue()
        first, second, last = (events.get(timeout=60) for _ in range(3))
        assert (first.kind, second.kind, last.kind) == (EventKind.STARTED, kind, EventKind.ENDED)
        assert machine.started <= second.time <= last.time
        assert machine.console.read_text().count("UP") == 1, "a reset does not start it again"


_CARDS = "echo cards $(cat /sys/bus/pci/devices/*/device | grep -c 0x1041)"


@pytest.mark.vm
@pytest.mark.parametrize("cards", [(), (Card(), Card(mac="52:54:00:6f:73:02"))])
def test_a_machine_has_the_network_cards_that_it_is_given(
    driver: Hypervisor, into: Path, cards: tuple[Card, ...]
) -> None:
    with driver.start(replace(bare.spec(into, script=_CARDS), cards=cards)) as machine:
        bare.wait_for_line(machine, f"cards {len(cards)}")


@pytest.mark.vm
def test_one_card_can_be_plugged_in_and_where_there_is_no_slot_left_that_is_told(
    driver: Hypervisor, into: Path
) -> None:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        machine.plug(Card())
        with pytest.raises(Trouble, match=r"bare: libvirt: .*No more available PCI slots"):
            machine.plug(Card(mac="52:54:00:6f:73:02"))


@pytest.mark.vm
def test_a_panic_is_told_by_the_panic_device(driver: Hypervisor, into: Path) -> None:
    machine_spec = bare.spec(into, script=PANIC, modules=("pvpanic",))
    with driver.start(machine_spec) as machine:
        assert machine.wait_ended(bare.DEADLINE_S) is Ended.CRASHED
        assert EventKind.PANIC in [event.kind for event in machine.events()]
        assert "Kernel panic - not syncing: sysrq triggered crash" in machine.console.read_text()


@pytest.mark.vm
def test_a_panic_without_the_device_is_a_reboot_with_its_reason_on_the_console(
    driver: Hypervisor, into: Path
) -> None:
    with driver.start(bare.spec(into, script=PANIC)) as machine:
        assert machine.wait_ended(bare.DEADLINE_S) is Ended.REBOOT
        assert "Kernel panic" in machine.console.read_text()


@pytest.mark.vm
def test_a_qemu_that_is_killed_is_not_taken_for_a_guest_that_ended(
    driver: Hypervisor, into: Path
) -> None:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        os.kill(pid_of(driver, machine), signal.SIGKILL)
        assert machine.wait_ended(bare.DEADLINE_S) is Ended.KILLED
        with pytest.raises(Trouble, match="QEMU is gone, it cannot do query-status"):
            machine.monitor.execute("query-status")


@pytest.mark.vm
def test_a_screenshot_is_a_png_of_the_screen(driver: Hypervisor, into: Path) -> None:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        machine.screenshot(into / "screen.png")
    data = (into / "screen.png").read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert data[12:16] == b"IHDR" and (width, height) == (720, 400), "VGA's text mode"
    assert data.endswith(b"IEND\xaeB`\x82")


@pytest.mark.vm
def test_a_host_without_the_memory_is_trouble_that_says_so(driver: Hypervisor, into: Path) -> None:
    large = replace(bare.spec(into), memory=1 << 42)
    with (
        pytest.raises(Trouble, match="this host has not the memory that its target says") as told,
        driver.start(large),
    ):
        pass
    assert told.value.hint.startswith("less memory for the target")


@pytest.mark.vm
def test_what_the_kernel_has_logged_is_read_from_its_memory(driver: Hypervisor, into: Path) -> None:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        found = machine.kernel_log()
        where = machine.registers()
    assert len(re.findall(r"^RIP=[0-9a-f]{16} ", where, re.MULTILINE)) == machine.spec.processors
    texts = [re.fullmatch(r"\[ *(\d+\.\d{6})\] (.*)", one) for one in found]
    assert None not in texts
    assert found[0].startswith("[    0.000000] Linux version ")
    assert any(one.endswith("] Run /init as init process") for one in found)
    assert texts[-1] is not None and float(texts[-1][1]) > 0
    assert len(found) > 100


@pytest.mark.vm
def test_keys_arrive_in_the_guest(driver: Hypervisor, into: Path) -> None:
    script = 'echo READY; read line < /dev/tty1; echo "GOT <$line>"'
    with driver.start(bare.spec(into, script=script)) as machine:
        bare.wait_for_line(machine, "READY")
        machine.send_keys(["h", "shift-i", "spc", "1", "ret"])
        bare.wait_for_line(machine, "GOT <hI 1>")
        with pytest.raises(Trouble, match="QEMU refused send-key"):
            machine.send_keys(["no_such_key"])


@pytest.mark.vm
def test_the_console_can_be_talked_to_and_is_kept_as_well(driver: Hypervisor, into: Path) -> None:
    script = 'echo READY; read line < /dev/ttyS0; echo "GOT <$line>"'
    given = bare.spec(into, script=script, console=Console.SOCKET)
    with driver.start(given) as machine, socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(machine.console_socket))
        bare.wait_for_line(machine, "READY")
        wire.sendall(b"hello\n")
        bare.wait_for_line(machine, "GOT <hello>")
        wire.settimeout(bare.DEADLINE_S)
        assert wire.recv(1 << 16)


@pytest.mark.vm
def test_the_fixture_has_its_two_ports(driver: Hypervisor, into: Path) -> None:
    script = """
ports=/sys/class/virtio-ports
until [ $(cat $ports/*/name 2> /dev/null | wc -l) = 2 ]; do usleep 20000; done
for port in $ports/*; do echo hello from $(cat $port/name) > /dev/${port##*/}; done
echo SENT
"""
    modules = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev")
    given = bare.spec(into, script=script, modules=(*modules, "virtio_pci", "virtio_console"))
    with driver.start(given) as machine:
        for path, name in (
            (machine.journal_socket, b"org.ostci.journal.0"),
            (machine.shell_socket, b"org.ostci.shell.0"),
        ):
            with socket.socket(socket.AF_UNIX) as wire:
                wire.settimeout(bare.DEADLINE_S)
                wire.connect(str(path))
                assert wire.recv(64) == b"hello from %s\n" % name
        bare.wait_for_line(machine, "SENT")


@pytest.mark.vm
def test_a_guest_has_no_network_and_qemu_no_rights(driver: Hypervisor, into: Path) -> None:
    script = "ls /sys/class/net; ls /sys/bus/pci/devices | wc -l; grep -l 0x0200 "
    script += "/sys/bus/pci/devices/*/class; echo LISTED"
    with driver.start(bare.spec(into, script=script)) as machine:
        bare.wait_for_line(machine, "LISTED")
        told = machine.console.read_text().partition("UP")[2].split()
        assert told[0] == "lo" and told[-1] == "LISTED" and len(told) == 3, told
        status = status_of(pid_of(driver, machine))
    assert status["Seccomp"] == ["2"] and status["NoNewPrivs"] == ["1"]
    assert int(status["CapEff"][0], 16) == 0
    user = domain_root.qemu_user()
    wanted = os.getuid() if user is None else user.pw_uid
    assert set(status["Uid"]) == {str(wanted)}
    assert user is None or wanted != 0


@pytest.mark.vm
def test_the_disk_is_written_through_a_directory_that_qemu_cannot_enter(
    driver: Hypervisor, into: Path, log: Log
) -> None:
    closed = into / "closed"
    closed.mkdir(mode=0o700)
    image.to_qcow2(_raw(closed / "raw"), closed / "disk.qcow2", log=log)
    (closed / "disk.qcow2").chmod(0o444)
    image.overlay(closed / "disk.qcow2", closed / "layer.qcow2", log=log)
    before = (closed / "disk.qcow2").read_bytes()
    script = "mdev -s; head -c 7 /dev/vda; printf '%s' changed > /dev/vda; sync; echo; poweroff -f"
    modules = ("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev")
    given = bare.spec(into, script=script, modules=(*modules, "virtio_pci", "virtio_blk"))
    given = replace(given, disk=closed / "layer.qcow2")
    with driver.start(given) as machine:
        assert machine.wait_ended(bare.DEADLINE_S) is Ended.SHUTDOWN
        assert "pristin" in machine.console.read_text()
    assert (closed / "disk.qcow2").read_bytes() == before
    with image.exported(closed / "layer.qcow2", log=log) as raw, raw.open("rb") as file:
        assert file.read(7) == b"changed"


def _raw(path: Path) -> Path:
    path.write_bytes(b"pristine".ljust(1024**2, b"\0"))
    return path


@pytest.mark.vm
def test_two_machines_run_at_once_and_end_apart(driver: Hypervisor, into: Path) -> None:
    one, two = bare.spec(into / "1", "one"), bare.spec(into / "2", "two")
    with driver.start(one) as first, driver.start(two) as second:
        bare.wait_for_line(first, "UP")
        bare.wait_for_line(second, "UP")
        first.destroy()
        assert first.wait_ended(bare.DEADLINE_S) is Ended.DESTROYED
        assert second.is_running()
        with pytest.raises(BadInput, match="there is a machine two already"), driver.start(two):
            pass


@pytest.mark.vm
def test_a_test_that_fails_leaves_no_machine(driver: Hypervisor, into: Path) -> None:
    with pytest.raises(ZeroDivisionError), driver.start(bare.spec(into)) as machine:
        pid = pid_of(driver, machine)
        raise ZeroDivisionError
    assert not Path(f"/proc/{pid}").exists()
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")


@pytest.mark.vm
def test_a_machine_that_cannot_start_is_trouble_and_leaves_nothing(
    driver: Hypervisor, into: Path
) -> None:
    broken = bare.spec(into, extra_options=("-device", "no-such-device"))
    with pytest.raises(Trouble, match="no-such-device"), driver.start(broken):
        pass
    missing = replace(bare.spec(into), disk=into / "nothing.qcow2")
    with pytest.raises(Trouble, match=r"nothing\.qcow2"), driver.start(missing):
        pass
    with driver.start(bare.spec(into)) as machine:
        assert machine.is_running()


def test_a_path_too_long_for_a_socket_is_told_before_anything_starts(
    driver: Hypervisor, into: Path
) -> None:
    deep = into / ("x" * 100)
    told = r"journal.sock has 1\d\d bytes; a socket's path may have 107"
    with pytest.raises(Trouble, match=told), driver.start(replace(bare.spec(into), into=deep)):
        pass
    assert not deep.exists()


@pytest.mark.parametrize("name", ["../up", "a b", "", "x" * 41, "a,b"])
def test_a_name_that_could_be_more_than_a_name_is_refused(
    driver: Hypervisor, into: Path, name: str
) -> None:
    given = replace(bare.spec(into), name=name)
    with pytest.raises(BadInput, match="a machine's name is up to 40 letters"), driver.start(given):
        pass


def test_options_of_a_guest_stay_text_in_the_xml(into: Path) -> None:
    bad = '</cmdline><x y="1"/> & "quoted"'
    given = bare.spec(into)
    given = replace(given, boot=replace(given.boot, options=bad))
    files = Files(kernel=Path("/k"), initramfs=None, qmp_socket=Path("/q,1"))
    text = domain_xml(given, files, emulator=Path("/qemu"))
    assert "&lt;/cmdline&gt;" in text and "<x y" not in text
    assert "unix:/q,,1,server" in text, "a comma is not the end of a path"
    assert "<interface" not in text


def test_a_start_does_not_ask_for_each_property_of_a_processor(
    driver: Hypervisor, into: Path
) -> None:
    traced = replace(bare.spec(into), extra_options=("-trace", "handle_qmp_command"))
    with driver.start(traced) as machine:
        told = (driver.root / f"log/qemu/{machine.name}.log").read_text()
    asked = [line for line in told.splitlines() if "handle_qmp_command" in line]
    assert any("query-hotpluggable-cpus" in line for line in asked), told
    assert len(asked) < 100, "there are hundreds, each of which is read byte by byte"


def test_a_root_has_one_process(driver: Hypervisor) -> None:
    told = rf"is held by process {os.getpid()} \(machines, since"
    with pytest.raises(Trouble, match=told), hypervisor(URI, driver.root, log=Log()):
        pass


_KILLED = """
import select
import signal
import sys
from pathlib import Path
from pipeline.ports.domain import hypervisor
from pipeline.ports.log import Log
from tests import bare
root, into = map(Path, sys.argv[1:])
# What a shell starts in the background ignores it, and so does all below.
signal.signal(signal.SIGINT, signal.default_int_handler)
with hypervisor("qemu:///embed", root, log=Log()) as driver:
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for_line(machine, "UP")
        print("UP", flush=True)
        # A signal just before a call that blocks would be noticed after it.
        while not select.select([sys.stdin], [], [], 0.2)[0]:
            pass
"""


def start_and_kill(argv: list[str | Path], number: signal.Signals) -> set[int]:
    """Start a program that boots a machine, kill it, and tell the QEMUs of its that are left."""
    top = Path(__file__).resolve().parents[2]
    root = Path(argv[-2])
    with subprocess.Popen(argv, cwd=top, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"UP\n"
        assert len(bare.qemus(of=root)) == 1
        child.send_signal(number)
        child.wait(60.0)
    return bare.qemus(of=root)


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: QEMU runs as ourselves")
def test_a_root_that_qemu_cannot_reach_is_told_before_anything_starts(into: Path) -> None:
    into.chmod(0o700)
    told = f"QEMU runs as libvirt-qemu, who cannot come through {into}"
    with pytest.raises(Trouble, match=told) as caught, hypervisor(URI, into / "r", log=Log()):
        pass
    assert caught.value.hint == f"chmod o+x {into}"


@pytest.mark.vm
def test_what_a_killed_process_left_is_reaped_at_the_next_start(into: Path, log: Log) -> None:
    bare.kernel()
    root = into / "root"
    argv: list[str | Path] = [sys.executable, "-c", _KILLED, root, into]
    left = start_and_kill(argv, signal.SIGKILL)
    assert len(left) == 1, "QEMU outlives its driver"
    assert set(reap(root, log=log)) == left
    bare.wait_for(lambda: not bare.qemus(of=root))
    assert reap(root, log=log) == ()


@pytest.mark.vm
def test_an_interrupt_leaves_no_machine(into: Path) -> None:
    bare.kernel()
    argv: list[str | Path] = [sys.executable, "-c", _KILLED, into / "root", into]
    assert start_and_kill(argv, signal.SIGINT) == set()


@pytest.mark.vm
def test_behind_the_walls_the_kernel_kills_what_a_killed_process_left(into: Path) -> None:
    bare.kernel()
    argv = confined([sys.executable, "-c", _KILLED, into / "root", into])
    start_and_kill(argv, signal.SIGKILL)
    bare.wait_for(lambda: not bare.qemus(of=into))


def test_behind_the_walls_there_is_no_network() -> None:
    argv = confined(["cat", "/proc/net/dev"])
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=120)
    names = [line.partition(":")[0].strip() for line in done.stdout.splitlines()[2:]]
    assert names == ["lo"]


def test_a_number_that_now_stands_for_another_process_is_not_killed(into: Path, log: Log) -> None:
    with subprocess.Popen(["sleep", "60"]) as other:
        try:
            (into / "run/qemu").mkdir(parents=True)
            (into / "run/qemu/old.pid").write_text(f"{other.pid}\n")
            assert reap(into, log=log) == ()
            assert other.poll() is None
        finally:
            other.kill()


@pytest.mark.vm
def test_listeners_hear_of_the_past_and_of_what_comes(driver: Hypervisor, into: Path) -> None:
    heard: list[EventKind] = []
    over = threading.Event()
    with driver.start(bare.spec(into)) as machine:
        bare.wait_for(lambda: machine.events())
        machine.subscribe(lambda event: heard.append(event.kind))
        assert heard == [EventKind.STARTED]
        machine.subscribe(lambda event: over.set() if event.kind is EventKind.ENDED else None)
    assert over.is_set() and heard[-1] is EventKind.ENDED
