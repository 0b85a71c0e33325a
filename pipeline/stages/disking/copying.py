# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that somebody else made on this machine, copied instead of made once more.

With it come the disks that it stands on. A layer fits the very bytes below it, and one commit's
disk can have been made in more ways than one: copies keep the time of their original, so that one
which was made here is told from it, and nothing is put on that.
"""

import os
from pathlib import Path

from pipeline.ports import image
from pipeline.ports.files import Held, copy_whole
from pipeline.stages.disking.boot_files import boot_files, can_boot
from pipeline.stages.disking.growing import is_whole
from pipeline.stages.disking.locks import ground, making


def copy_disk(path: Path, there: Path) -> bool:
    """Copy a disk of ``there`` to ``path``, whose lock the caller has; tells whether it is here.

    It is not where the original cannot be read or goes meanwhile, and where what it stands on is
    another here or being made.
    """
    original = there / path.name
    with ground(path.parent, what="copying a disk", shared=True):
        try:
            if not (is_whole(original) and can_boot(original)):
                return False
            for one in reversed(image.below(original)):
                lower = path.with_name(one.name)
                # Whoever makes that one may be waiting for the ground that is ours.
                with making(lower, what="copying a disk", wait_s=0.0):
                    if not _is_copied(one, lower):
                        return False
            return _is_copied(original, path)
        except (OSError, Held):
            return False


def _is_copied(original: Path, path: Path) -> bool:
    """Have one disk here with what lies beside it; tells whether it is that one."""
    if path.exists():
        return _is_same(original, path) and can_boot(path)
    for source, target in zip(boot_files(original), boot_files(path), strict=True):
        if source.exists():  # not every disk has an initramfs
            _copy(source, target)
    _copy(original, path)
    return True


def _is_same(original: Path, path: Path) -> bool:
    theirs, mine = original.stat(), path.stat()
    return (theirs.st_size, theirs.st_mtime_ns) == (mine.st_size, mine.st_mtime_ns)


def _copy(source: Path, target: Path) -> None:
    """Copy a file with its time and mode, or raise."""
    handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        copy_whole(handle, target, room=target.parent, finish=_keep_time)
    finally:
        os.close(handle)


def _keep_time(out: int, found: os.stat_result) -> None:
    os.utime(out, ns=(found.st_mtime_ns, found.st_mtime_ns))
    os.fsync(out)
