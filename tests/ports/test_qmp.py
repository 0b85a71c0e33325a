# SPDX-License-Identifier: LGPL-2.1-or-later
"""QMP against a real QEMU that runs nothing."""

import os
import queue
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.ports import process, qmp
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble
from pipeline.words.png import read_png, read_ppm
from tests import bare

QEMU = shutil.which("qemu-system-x86_64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="qemu-system-x86_64 is not installed")


@pytest.fixture
def socket() -> Iterator[Path]:
    with bare.short_directory() as path:
        yield path / "qmp"


@contextmanager
def qemu(socket: Path, *options: str, machine: str = "none") -> Iterator[process.Child]:
    argv = ["qemu-system-x86_64", "-machine", machine, "-accel", "tcg", "-S", "-nodefaults"]
    argv += ["-display", "none", "-qmp", f"unix:{socket},server=on,wait=off", *options]
    with process.start(argv, log=Log(), grace_s=0.5) as child:
        yield child


def test_a_command_is_answered(socket: Path) -> None:
    with qemu(socket), qmp.connect(socket) as monitor:
        assert monitor.execute("query-status") == {
            "status": "prelaunch",
            "singlestep": False,
            "running": False,
        }


def test_what_qemu_refuses_is_told_in_its_words(socket: Path) -> None:
    with qemu(socket), qmp.connect(socket, name="guest") as monitor:
        with pytest.raises(Trouble, match=r"^guest: QEMU refused device_del: .*nothing"):
            monitor.execute("device_del", id="nothing")
        with pytest.raises(Trouble, match="QEMU refused no-such-command"):
            monitor.execute("no-such-command")
        assert monitor.execute("query-name") == {}, "it goes on after that"


def test_events_come_in_order_with_their_time(socket: Path) -> None:
    heard: queue.SimpleQueue[qmp.QmpEvent] = queue.SimpleQueue()
    before = time.monotonic()
    with qemu(socket) as child, qmp.connect(socket, on_event=heard.put) as monitor:
        for command in ("cont", "stop", "cont", "quit"):
            monitor.execute(command)
        assert monitor.wait_gone(60.0) and child.wait(60.0) == 0
    events = [heard.get_nowait() for _ in range(heard.qsize())]
    assert [event.name for event in events] == ["RESUME", "STOP", "RESUME", "SHUTDOWN"]
    assert events[-1].data == {"guest": False, "reason": "host-qmp-quit"}
    times = [event.time for event in events]
    assert times == sorted(times) and before <= times[0] <= time.monotonic()


def test_a_qemu_that_was_killed_is_gone(socket: Path) -> None:
    with qemu(socket) as child, qmp.connect(socket, name="guest") as monitor:
        assert not monitor.is_gone()
        child.kill()
        assert monitor.wait_gone(60.0)
        with pytest.raises(Trouble, match=r"^guest: QEMU is gone, it cannot do query-status$"):
            monitor.execute("query-status")


def test_a_qemu_that_hangs_is_not_waited_for_beyond_the_deadline(socket: Path) -> None:
    with qemu(socket) as child, qmp.connect(socket) as monitor:
        os.kill(child.pid, signal.SIGSTOP)
        started = time.monotonic()
        with pytest.raises(Trouble, match=r"QEMU did not answer query-status within 0\.5 s"):
            monitor.execute("query-status", deadline_s=0.5)
        assert time.monotonic() - started < 60.0
        os.kill(child.pid, signal.SIGCONT)
        assert monitor.execute("query-name") == {}, "a late answer is not taken for the next one's"


def test_a_socket_that_comes_later_is_waited_for(socket: Path) -> None:
    outcome: list[object] = []

    def connect() -> None:
        with qmp.connect(socket) as monitor:
            outcome.append(monitor.execute("query-name"))

    thread = threading.Thread(target=connect)
    thread.start()
    with qemu(socket):
        thread.join(120.0)
    assert outcome == [{}]


def test_a_qemu_that_died_is_not_waited_for(socket: Path) -> None:
    with qemu(socket, "-device", "no-such-device") as child:
        started = time.monotonic()
        with (
            pytest.raises(Trouble, match="QEMU is gone, it cannot do connect"),
            qmp.connect(socket, is_alive=lambda: child.poll() is None),
        ):
            pass
        assert time.monotonic() - started < 60.0


def test_a_socket_that_never_answers_is_trouble(socket: Path) -> None:
    told = f"QEMU does not answer on {socket}"
    with pytest.raises(Trouble, match=told), qmp.connect(socket, deadline_s=0.3):
        pass


def test_the_screen_is_the_same_as_png_and_as_ppm(socket: Path) -> None:
    picture, quick = socket.with_name("screen.png"), socket.with_name("screen.ppm")
    with qemu(socket, "-device", "VGA", machine="q35"), qmp.connect(socket) as monitor:
        monitor.screendump(picture)
        monitor.screendump(quick, kind="ppm")
    assert read_ppm(quick.read_bytes()) == read_png(picture.read_bytes())


def test_a_machine_without_a_screen_has_no_picture(socket: Path) -> None:
    picture = socket.with_name("screen.png")
    told = pytest.raises(Trouble, match="QEMU refused screendump")
    with qemu(socket), qmp.connect(socket) as monitor, told:
        monitor.screendump(picture)


def test_no_thread_is_left_after_the_with(socket: Path) -> None:
    # Those of earlier tests may end meanwhile.
    before = set(threading.enumerate())
    with qemu(socket):
        for _ in range(3):
            with qmp.connect(socket):
                pass
    assert set(threading.enumerate()) <= before
