# SPDX-License-Identifier: LGPL-2.1-or-later
"""The two wires into a guest: its journal comes on one, a root shell answers on the other.

Both are unix sockets that QEMU holds; the guest at their other end is hostile: what it sends is
bounded, and what is not of the protocol is counted and dropped. What the entries mean is not
known here. The shell's protocol is told in ``stages/fixture/shell.sh``.
"""

import base64
import binascii
import os
import re
import secrets
import select
import shlex
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import no_space
from pipeline.words.errors import Failed, Trouble
from pipeline.words.journal import Entry, Lines, parse_entry

OUTPUT_LIMIT = 8 * 1024**2
"""Bytes of each output that the fixture's shell sends."""
_CHUNK = 256 * 1024
_PER_READ = 4 * 1024**2
_LONGEST_ANSWER = 24 * 1024**2
_MOST_RAW = 64 * 1024**2
_MOST_GARBAGE = 64 * 1024
_DONE = re.compile(rb"done (\d{1,9}) (\d{1,3}) (\S+) (\S+)")
_READY = re.compile(rb"ready \d+ (\S{1,4096})")
_GRACE_S = 5.0
_ODD = re.compile(rb"[^ -\[\]-~]")
_ESCAPED = {b"\n": b"\\n", b"\t": b"\\t", b"\\": b"\\\\"}


class _Wire:
    """A unix socket to QEMU that never blocks."""

    def __init__(self, path: Path) -> None:
        """Raises Trouble where QEMU does not listen."""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            hint = "QEMU has ended, or somebody else has the socket"
            raise Trouble(
                f"cannot connect: {error.strerror}", where=str(path), hint=hint
            ) from error
        self._socket.setblocking(False)
        self.is_open = True

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def receive(self) -> bytes:
        """Read what is there, up to 4 MiB; an end of the stream closes the wire for good."""
        found = bytearray()
        while self.is_open and len(found) < _PER_READ:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                break
            except ConnectionError:
                data = b""
            if not data:
                self.is_open = False
            found += data
        return bytes(found)

    def send(self, data: bytearray) -> None:
        """Write what can be written now, and take it off ``data``."""
        while data and self.is_open:
            try:
                sent = self._socket.send(data[:_CHUNK])
            except BlockingIOError:
                return
            except ConnectionError:
                self.is_open = False
                return
            del data[:sent]


class JournalReader:
    """Entries as the guest writes them; the raw lines, up to 64 MiB, can be kept in a file."""

    def __init__(self, path: Path, *, raw: Path | None = None) -> None:
        """Connect; raises Trouble where QEMU does not listen."""
        self._wire = _Wire(path)
        self._lines = Lines()
        self._raw = raw.open("ab") if raw else None
        self.garbage = 0
        """Lines that were no entries."""
        self.received = 0
        """Bytes that came in all."""

    def __enter__(self) -> "JournalReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Tell the descriptor to wait on."""
        return self._wire.fileno()

    @property
    def is_open(self) -> bool:
        """Tell whether more may come."""
        return self._wire.is_open

    def read(self) -> list[Entry]:
        """Read the entries that have come since the last call, without waiting."""
        data = self._wire.receive()
        self.received += len(data)
        if self._raw is not None and data and self.received <= _MOST_RAW:
            with no_space(Path(self._raw.name), len(data)):
                self._raw.write(data)
                self._raw.flush()
        found = []
        for line in self._lines.feed(data):
            entry = parse_entry(line)
            if entry is not None:
                found.append(entry)
            elif line.strip():
                self.garbage += 1
        return found

    def close(self) -> None:
        """Close the socket and the file."""
        self._wire.close()
        if self._raw is not None:
            self._raw.close()


@dataclass(frozen=True, kw_only=True)
class GuestResult:
    """What a script did in the guest; ``is_cut`` where an output was too long to be sent."""

    code: int
    stdout: bytes
    stderr: bytes
    is_cut: bool = False

    @property
    def text(self) -> str:
        """Standard output as text without its last line feed."""
        return self.stdout.decode("utf-8", "backslashreplace").rstrip("\n")

    @property
    def error_text(self) -> str:
        """Standard error as text."""
        return self.stderr.decode("utf-8", "backslashreplace").rstrip("\n")


class GuestShell:
    """A root shell in the guest that runs one script at a time.

    ``send`` and ``poll`` never wait, for callers that watch other things too; ``run`` waits.
    """

    def __init__(self, path: Path) -> None:
        """Connect; raises Trouble where QEMU does not listen."""
        self._wire = _Wire(path)
        self._lines = Lines(_LONGEST_ANSWER)
        self._to_send = bytearray()
        self._last_id = 0
        self._result: GuestResult | None = None
        self._lost = ""
        self._garbage = 0
        self._may_repeat = False
        self.is_ready = False
        """The guest has said that it takes scripts."""
        self.root = ""
        """Which directory of its file system is mounted as the guest's /; empty for none."""

    def __enter__(self) -> "GuestShell":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Tell the descriptor to wait on."""
        return self._wire.fileno()

    @property
    def is_open(self) -> bool:
        """Tell whether an answer may still come."""
        return self._wire.is_open

    @property
    def wants_to_send(self) -> bool:
        """Tell whether part of a script is still to be sent."""
        return bool(self._to_send) and self._wire.is_open

    def send(self, script: str, *, seconds: float, data: bytes = b"") -> None:
        """Have a script run by the guest's ``sh``, which kills it after that time.

        ``data`` is its input, which the guest holds in memory until the script has ended. What an
        earlier script has not answered yet is forgotten.
        """
        self._last_id += 1
        self._result, self._lost = None, ""
        size = f"/{len(data)}" if data else ""
        line = f"run {self._last_id} {max(1, round(seconds))}{size} {_for_printf(script)}\n"
        # A script of which a part is sent has to be sent whole, or both become garbage.
        self._to_send += line.encode() + data
        self._wire.send(self._to_send)

    def expect(self, root: str) -> None:
        """Take up a shell that waits for a script already, as in a copy of a machine.

        It may say once more that it is ready, when it noticed that its host is another one.
        """
        self.is_ready, self._may_repeat, self.root = True, True, root

    def wake(self, *, name: str = "", machine_id: str = "") -> None:
        """Tell a guest that goes on from a checkpoint what time it is; it does not answer.

        With a name it becomes another machine than the one it is a copy of.
        """
        self._last_id += 1
        # What is sent next comes after it; half a second is what a guest takes to get so far.
        now, seed = round(time.time() + 0.5), secrets.token_hex(32)
        self._to_send += f"wake {self._last_id} {now} {seed} {name} {machine_id}".rstrip().encode()
        self._to_send += b"\n"
        self._wire.send(self._to_send)

    def poll(self) -> GuestResult | None:
        """Read what has come; tell the answer to the last script once it is there.

        Raises Failed when no answer can come any more, or the guest talks too much nonsense.
        """
        self._wire.send(self._to_send)
        for line in self._lines.feed(self._wire.receive()):
            self._take(line)
        if len(self._lines.rest()) >= _LONGEST_ANSWER:
            self._garbage += _MOST_GARBAGE + 1
        if self._garbage > _MOST_GARBAGE:
            raise Failed(
                "the guest's shell port gives garbage",
                hint="what listens on org.ostci.shell.0 is not the fixture's shell",
            )
        if self._result is None and self._lost:
            raise Failed(self._lost)
        return self._result

    def run(self, script: str, *, timeout_s: float) -> GuestResult:
        """Run a script and wait for its end; raises Failed when none comes within the time."""
        until = time.monotonic() + timeout_s + _GRACE_S
        while not self.is_ready:
            self._wait(until, "it is not ready")
            self.poll()
        self.send(script, seconds=timeout_s)
        while (result := self.poll()) is None:
            self._wait(until, "the script did not end")
        return result

    def close(self) -> None:
        """Close the socket."""
        self._wire.close()

    def _wait(self, until: float, why: str) -> None:
        if not self._wire.is_open:
            raise Failed("the guest's shell is gone")
        left = until - time.monotonic()
        if left <= 0:
            raise Failed(f"the guest's shell does not answer: {why}")
        select.select([self], [self] if self.wants_to_send else [], [], min(left, 0.5))

    def _take(self, line: bytes) -> None:
        ready = _READY.fullmatch(line.rstrip(b"\r"))
        if ready is not None:
            if self._may_repeat:
                self._may_repeat = False
            elif self._last_id and self._result is None and self.is_ready:
                self._lost = "the guest's shell was started anew and lost the script"
            self.is_ready = True
            self.root = "" if ready[1] == b"-" else ready[1].decode("utf-8", "backslashreplace")
            return
        found = _DONE.fullmatch(line.rstrip(b"\r"))
        if found is None:
            self._garbage += len(line) + 1
        elif int(found[1]) == self._last_id and self._result is None:
            out, err = _decoded(found[3]), _decoded(found[4])
            if out is None or err is None:
                self._lost = "the guest's shell answered with damaged outputs"
                return
            is_cut = max(len(out), len(err)) >= OUTPUT_LIMIT
            self._result = GuestResult(code=int(found[2]), stdout=out, stderr=err, is_cut=is_cut)


def _decoded(word: bytes) -> bytes | None:
    if word == b"-":
        return b""
    try:
        return base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        return None


def script_of(argv: Sequence[str | os.PathLike[str]]) -> str:
    """Write a command as a script that becomes it."""
    return f"exec {shlex.join(os.fspath(word) for word in argv)}\n"


def _for_printf(script: str) -> str:
    """Write a text as printf's %b reads it, in one line and in plain ASCII."""
    text = _ODD.sub(lambda found: _escaped(found[0]), script.encode() or b"\n").decode()
    # Blanks at either end of a line are lost when a shell reads it.
    text = f"\\0040{text[1:]}" if text.startswith(" ") else text
    return f"{text[:-1]}\\0040" if text.endswith(" ") else text


def _escaped(byte: bytes) -> bytes:
    return _ESCAPED.get(byte) or b"\\0%03o" % byte[0]
