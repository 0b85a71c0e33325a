# SPDX-License-Identifier: LGPL-2.1-or-later
"""What QEMU writes down of its guest: its screen, and what its memory has of the kernel's log.

QEMU may by now obey its guest: what it wrote is read as what a stranger sent.
"""

import mmap
import os
from pathlib import Path

from pipeline.ports.qmp import Monitor
from pipeline.words import printk
from pipeline.words.errors import Trouble
from pipeline.words.png import NotAPicture, Picture, read_ppm

_LARGEST_PICTURE = 64 * 1024**2
_LOW_MEMORY = 3 * 1024**3
_MEMORY_S = 60.0


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
        with os.fdopen(handle, "rb"), mmap.mmap(handle, 0, prot=mmap.PROT_READ) as memory:
            return printk.messages(memory)
    finally:
        aside.unlink(missing_ok=True)
