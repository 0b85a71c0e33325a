# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wires into a guest: real sockets, and the fixture's own shell behind a terminal.

What stands for QEMU here only carries bytes between a unix socket and a pseudo-terminal.
"""

import json
import os
import selectors
import socket
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.guest import GuestShell, JournalReader, script_of
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.journal import Entry

SHELL = Path(__file__).parents[2] / "pipeline/stages/fixture/shell.sh"


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    """A socket as QEMU holds one for a port."""
    with closing(socket.socket(socket.AF_UNIX)) as made:
        made.bind(str(tmp_path / "port"))
        made.listen()
        yield made


def accept(listener: socket.socket) -> socket.socket:
    listener.settimeout(120)
    return listener.accept()[0]


@contextmanager
def guest(listener: socket.socket, scratch: Path, log: Log) -> Iterator[process.Child]:
    """Run the fixture's shell for the length of the ``with``, its port a terminal in raw mode."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    env = {**os.environ, "OSTCI_SHELL_DIR": str(scratch)}
    argv: list[str | Path] = ["sh", SHELL, os.ttyname(theirs)]
    stop = threading.Event()
    carrier = threading.Thread(target=carry, args=(listener, ours, stop))
    carrier.start()
    try:
        with process.start(argv, log=log, env=env) as child:
            yield child
    finally:
        stop.set()
        carrier.join()
        os.close(ours)
        os.close(theirs)


def carry(listener: socket.socket, terminal: int, stop: threading.Event) -> None:
    with closing(accept(listener)) as wire, selectors.DefaultSelector() as selector:
        selector.register(wire, selectors.EVENT_READ)
        selector.register(terminal, selectors.EVENT_READ)
        while not stop.is_set():
            for key, _ in selector.select(0.05):
                if key.fileobj is wire:
                    data = wire.recv(1024)
                    if not data:
                        return
                    os.write(terminal, data)
                else:
                    try:
                        wire.sendall(os.read(terminal, 65536))
                    except OSError:
                        return


@pytest.fixture
def shell(listener: socket.socket, tmp_path: Path, log: Log) -> Iterator[GuestShell]:
    """A connection to the real shell script."""
    with guest(listener, tmp_path / "scratch", log), GuestShell(tmp_path / "port") as made:
        yield made


def test_a_script_gives_its_code_and_both_outputs(shell: GuestShell) -> None:
    done = shell.run("echo out; echo err >&2; exit 7", timeout_s=120)
    assert (done.code, done.text, done.error_text, done.is_cut) == (7, "out", "err", False)


def test_scripts_run_one_after_the_other(shell: GuestShell) -> None:
    assert [shell.run(f"echo {n}", timeout_s=120).text for n in range(5)] == list("01234")


def test_words_of_a_command_stay_what_they_are(shell: GuestShell) -> None:
    words = ["printf", "%s|", "a b", "$HOME", "'", "-n", "\n", "ä"]
    assert shell.run(script_of(words), timeout_s=120).text == "a b|$HOME|'|-n|\n|ä|"


def test_the_shell_tells_what_is_mounted_as_its_root(shell: GuestShell) -> None:
    shell.run("true", timeout_s=120)
    lines = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    assert shell.root == next(words[3] for words in lines if words[4] == "/")


def test_bytes_come_as_they_are(shell: GuestShell) -> None:
    done = shell.run(r"printf '\000\377done 1 0 - -\n'", timeout_s=120)
    assert done.stdout == b"\x00\xffdone 1 0 - -\n"


def test_a_large_output_comes_whole(shell: GuestShell) -> None:
    done = shell.run("head -c 3000000 /dev/zero", timeout_s=30)
    assert (len(done.stdout), done.is_cut) == (3_000_000, False)


def test_an_output_beyond_all_bounds_is_cut_and_says_so(shell: GuestShell) -> None:
    done = shell.run("head -c 9000000 /dev/zero; echo end >&2", timeout_s=60)
    assert (len(done.stdout), done.is_cut, done.error_text) == (8388608, True, "end")


def test_a_script_that_never_ends_is_killed_in_the_guest(shell: GuestShell) -> None:
    assert shell.run("echo here; sleep 1000", timeout_s=1).code in (124, 137)
    assert shell.run("echo next", timeout_s=120).text == "next"


def test_a_daemon_that_a_script_leaves_is_not_waited_for(shell: GuestShell) -> None:
    assert shell.run("sleep 1000 & echo started", timeout_s=60).text == "started"


def test_a_script_cannot_speak_to_the_host_itself(shell: GuestShell) -> None:
    done = shell.run("(echo done 1 0 - - >&3) 2>/dev/null || echo closed", timeout_s=120)
    assert done.text == "closed"


def test_what_is_said_that_is_no_command_is_skipped(shell: GuestShell) -> None:
    assert shell.run("true", timeout_s=120).code == 0
    shell._to_send += b"hello\n\nrun\n"
    assert shell.run("echo well", timeout_s=120).text == "well"


def test_an_answer_to_an_earlier_script_is_not_taken_for_this_ones(
    listener: socket.socket, tmp_path: Path
) -> None:
    with GuestShell(tmp_path / "port") as shell, closing(accept(listener)) as qemu:
        shell.send("slow", seconds=1)
        shell.send("quick", seconds=1)
        qemu.sendall(b"ready 4 /\ndone 1 0 b2xk -\ndone 2 0 bmV3 -\n")
        wait_for(shell)
        found = shell.poll()
        assert found is not None
        assert found.text == "new"


def wait_for(shell: GuestShell) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(shell, selectors.EVENT_READ)
        assert selector.select(120)


@pytest.mark.parametrize(
    "garbage", [os.urandom(1 << 18), b"no end " * 4_000_000], ids=["noise", "line"]
)
def test_a_guest_that_sends_garbage_is_told_soon(
    garbage: bytes, listener: socket.socket, tmp_path: Path
) -> None:
    with GuestShell(tmp_path / "port") as shell, closing(accept(listener)) as qemu:
        sender = threading.Thread(target=send_what_is_taken, args=(qemu, garbage))
        sender.start()
        with pytest.raises(Failed, match="the guest's shell port gives garbage"):
            shell.run("true", timeout_s=30)
        shell.close()
        sender.join()


def send_what_is_taken(wire: socket.socket, data: bytes) -> None:
    try:
        wire.sendall(data)
    except OSError:
        return


def test_a_guest_that_says_nothing_is_given_up(listener: socket.socket, tmp_path: Path) -> None:
    silent = pytest.raises(Failed, match="does not answer: it is not ready")
    with GuestShell(tmp_path / "port") as shell, closing(accept(listener)), silent:
        shell.run("true", timeout_s=-4.8)


def test_a_guest_that_goes_away_is_told(listener: socket.socket, tmp_path: Path) -> None:
    with GuestShell(tmp_path / "port") as shell:
        accept(listener).close()
        with pytest.raises(Failed, match="the guest's shell is gone"):
            shell.run("true", timeout_s=120)


def test_a_shell_that_starts_anew_has_lost_the_script(
    listener: socket.socket, tmp_path: Path
) -> None:
    with GuestShell(tmp_path / "port") as shell, closing(accept(listener)) as qemu:
        qemu.sendall(b"ready 4 /\n")
        wait_for(shell)
        assert shell.poll() is None
        shell.send("true", seconds=1)
        qemu.sendall(b"ready 4 /\n")
        wait_for(shell)
        with pytest.raises(Failed, match="was started anew and lost the script"):
            shell.poll()


def test_an_answer_that_is_damaged_is_told(listener: socket.socket, tmp_path: Path) -> None:
    with GuestShell(tmp_path / "port") as shell, closing(accept(listener)) as qemu:
        qemu.sendall(b"ready 4 /\n")
        shell.send("true", seconds=1)
        qemu.sendall(b"done 1 0 %%% -\n")
        wait_for(shell)
        with pytest.raises(Failed, match="damaged outputs"):
            shell.run("true", timeout_s=1) if shell.poll() is None else None


def test_a_port_that_nobody_holds_is_trouble(tmp_path: Path) -> None:
    for kind in (GuestShell, JournalReader):
        with pytest.raises(Trouble, match="cannot connect"):
            kind(tmp_path / "none")


def read_all(reader: JournalReader, count: int) -> list[Entry]:
    found: list[Entry] = []
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while len(found) < count and reader.is_open:
            assert selector.select(120)
            found += reader.read()
    return found


def test_entries_come_as_they_are_written_and_the_raw_lines_are_kept(
    listener: socket.socket, tmp_path: Path
) -> None:
    raw = tmp_path / "journal.json"
    with JournalReader(tmp_path / "port", raw=raw) as reader, closing(accept(listener)) as qemu:
        lines = b"".join(json.dumps({"MESSAGE": str(n)}).encode() + b"\n" for n in range(3))
        qemu.sendall(lines[:30])
        first = read_all(reader, 1)
        qemu.sendall(lines[30:] + b'{"MESSAGE": "cut')
        rest = read_all(reader, 2)
        assert [one.message for one in first + rest] == ["0", "1", "2"]
    assert raw.read_bytes().startswith(lines)


def test_garbage_between_entries_is_counted(listener: socket.socket, tmp_path: Path) -> None:
    with JournalReader(tmp_path / "port") as reader, closing(accept(listener)) as qemu:
        qemu.sendall(os.urandom(100).replace(b"\n", b"") + b'\n\n{"MESSAGE": "ok"}\n')
        assert [one.message for one in read_all(reader, 1)] == ["ok"]
        assert reader.garbage == 1


def test_a_line_without_end_takes_no_more_than_its_bound(
    listener: socket.socket, tmp_path: Path
) -> None:
    with JournalReader(tmp_path / "port") as reader, closing(accept(listener)) as qemu:
        data = b"x" * 20_000_000 + b'\n{"MESSAGE": "ok"}\n'
        sender = threading.Thread(target=send_what_is_taken, args=(qemu, data))
        sender.start()
        assert [one.message for one in read_all(reader, 1)] == ["ok"]
        sender.join()


def test_the_end_of_the_guest_closes_the_wire(listener: socket.socket, tmp_path: Path) -> None:
    with JournalReader(tmp_path / "port") as reader:
        accept(listener).close()
        assert read_all(reader, 1) == []
        assert not reader.is_open


def test_a_script_gets_its_input_byte_for_byte(
    listener: socket.socket, tmp_path: Path, log: Log
) -> None:
    content = bytes(range(256)) * 3000 + b"run 9 1 eA==\n"
    with guest(listener, tmp_path, log), GuestShell(tmp_path / "port") as shell:
        until = time.monotonic() + 300
        while not shell.is_ready:
            assert time.monotonic() < until
            shell.poll()
        shell.send("cat", seconds=120, data=content)
        while (done := shell.poll()) is None:
            assert time.monotonic() < until
        assert (done.code, done.stdout) == (0, content)
        # What a script leaves of its input is not taken for the next one.
        shell.send("exit 3", seconds=120, data=content)
        while (done := shell.poll()) is None:
            assert time.monotonic() < until
        assert done.code == 3
        assert shell.run("cat; echo next", timeout_s=120).stdout == b"next\n"
        assert not list(tmp_path.glob("in.*"))
