# SPDX-License-Identifier: LGPL-2.1-or-later
"""What QEMU tells of its guest: its screen, where its processors are, what its kernel has logged.

QEMU may by now obey its guest: what it wrote is read as what a stranger sent.
"""

import os
from pathlib import Path

from pipeline.ports.qmp import Monitor
from pipeline.words import printk
from pipeline.words.errors import Trouble
from pipeline.words.png import NotAPicture, Picture, read_ppm

_LARGEST_PICTURE = 64 * 1024**2
_LOW_MEMORY = 3 * 1024**3
_MEMORY_S = 60.0
_PIECE = 8 * 1024**2
_LONGEST_REGISTERS = 256 * 1024


def picture(monitor: Monitor, aside: Path) -> Picture:
    """Read what the screen shows, by way of a file; raises Trouble where that is no picture."""
    aside.unlink(missing_ok=True)
    monitor.screendump(aside, kind="ppm")
    try:
        with os.fdopen(os.open(aside, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            data = file.read(_LARGEST_PICTURE)
        return read_ppm(data)
    except NotAPicture as error:
        what = f"QEMU wrote a screenshot that is none: {error}"
        raise Trouble(what, where=monitor.name) from error
    finally:
        aside.unlink(missing_ok=True)


def kernel_log(monitor: Monitor, aside: Path, *, size: int) -> tuple[str, ...]:
    """List what a kernel has logged, from ``size`` bytes of memory, by way of a file.

    Only the first 3 GiB are looked at. Raises Trouble where QEMU cannot write them down.
    """
    aside.unlink(missing_ok=True)
    size = min(size, _LOW_MEMORY)
    try:
        monitor.execute("pmemsave", deadline_s=_MEMORY_S, val=0, size=size, filename=str(aside))
        handle = os.open(aside, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb"):
            return printk.messages(FileMemory(handle))
    finally:
        aside.unlink(missing_ok=True)


def registers(monitor: Monitor) -> str:
    """Tell the registers of all processors at this moment, as QEMU's monitor writes them."""
    told = monitor.execute("human-monitor-command", command_line="info registers -a")
    return str(told)[:_LONGEST_REGISTERS].replace("\r", "")


class FileMemory:
    """The bytes of an open file, which somebody may make shorter meanwhile.

    A mapping of it would end this process then.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._size = os.fstat(handle).st_size
        self._at, self._piece = 0, b""
        """What was read last, and from where: places that are looked for lie close together."""

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: slice) -> bytes:
        start, stop, _ = index.indices(self._size)
        return os.pread(self._handle, max(0, stop - start), start)

    def find(self, sub: bytes, start: int = 0) -> int:
        """Tell where the bytes are from a place on, or -1."""
        if not self._at <= start < self._at + len(self._piece):
            self._read(start)
        while True:
            found = self._piece.find(sub, start - self._at)
            if found >= 0:
                return self._at + found
            if len(self._piece) < _PIECE:
                return -1
            start = self._at + len(self._piece) - len(sub) + 1
            self._read(start)

    def _read(self, start: int) -> None:
        self._at, self._piece = start, os.pread(self._handle, _PIECE, start)
