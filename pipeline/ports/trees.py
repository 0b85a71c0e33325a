# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories that somebody hostile filled, or still fills: walked, measured, handed over, removed.

Everything goes by descriptors and never through a link, because a directory may turn into a link
between two looks, and paths may be longer than the kernel takes. What is nested beyond all sense
is refused instead of walked.
"""

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log

DEEPEST = 200
"""Directories below one another; nobody builds deeper, and what walks a tree must end."""
_SMALLEST = 4096
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class TooDeep(ValueError):
    """Directories are nested deeper than ``DEEPEST``."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file or directory: ``name`` in the open directory ``where``, as it was when listed.

    ``where`` is valid until the next entry is asked for.
    """

    where: int
    name: str
    status: os.stat_result

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.status.st_mode)


def entries(top: Path) -> Iterator[Entry]:
    """Yield all below a directory, a directory before what is in it; raises TooDeep.

    What vanishes meanwhile is passed over. A directory that its owner made unreadable is made
    readable again where it is ours.
    """
    levels: list[tuple[int, list[str]]] = [(os.open(top, _OPEN_DIRECTORY), [])]
    try:
        yield from _list(*levels[-1])
        while levels:
            here, names = levels[-1]
            if not names:
                os.close(levels.pop()[0])
                continue
            below = _open_below(here, names.pop())
            if below is None:
                continue
            levels.append((below, []))
            if len(levels) > DEEPEST:
                raise TooDeep(f"directories in {top} are nested deeper than {DEEPEST}")
            yield from _list(*levels[-1])
    finally:
        for handle, _ in levels:
            os.close(handle)


def _list(handle: int, names: list[str]) -> Iterator[Entry]:
    with os.scandir(handle) as found:
        for one in found:
            try:
                status = one.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(status.st_mode):
                names.append(one.name)
            yield Entry(where=handle, name=one.name, status=status)


def _open_below(here: int, name: str) -> int | None:
    for attempt in (1, 2):
        try:
            return os.open(name, _OPEN_DIRECTORY, dir_fd=here)
        except PermissionError:
            if attempt == 1:
                _make_usable(here, name)
        except OSError:
            return None  # gone, or no directory any more
    return None


def _make_usable(here: int, name: str) -> None:
    """Give the owner every permission on a directory, and do nothing to what a link leads to."""
    handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here)
    try:
        # A descriptor of a path cannot be given to fchmod; its name in /proc leads to it alone.
        os.chmod(f"/proc/self/fd/{handle}", 0o700)
    finally:
        os.close(handle)


def size_of(tops: Sequence[Path], *, enough: int) -> int:
    """Add up the bytes of all files below directories, hard links once; raises TooDeep.

    A hole counts as what it would hold, and every file as at least a block: many empty files
    fill a disk too. Counting ends early above ``enough``.
    """
    total = 0
    seen: set[tuple[int, int]] = set()
    for top in tops:
        for entry in entries(top):
            status = entry.status
            if status.st_nlink > 1 and not entry.is_directory:
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
            total += max(status.st_size, _SMALLEST)
            if total > enough:
                return total
    return total


def hand_over(top: Path, user: int | None) -> None:
    """Give all of a tree to a user (None: leave the owners), each file a copy of its own.

    A file with another name elsewhere (in a mirror, in a repository) would let the new owner
    change what has that name; it is copied.
    """
    if user is not None:
        os.chown(top, user, user)
    for entry in entries(top):
        if entry.is_file and entry.status.st_nlink > 1:
            _unlink_from_others(entry)
        if user is not None and entry.status.st_uid != user:
            os.chown(entry.name, user, user, dir_fd=entry.where, follow_symlinks=False)


def _unlink_from_others(entry: Entry) -> None:
    aside = f".ostci-copy-{entry.status.st_ino}"
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(entry.name, flags, dir_fd=entry.where), "rb") as old:
        new = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=entry.where)
        with os.fdopen(new, "wb") as copy:
            shutil.copyfileobj(old, copy)
            os.fchmod(copy.fileno(), stat.S_IMODE(entry.status.st_mode))
        times = (entry.status.st_atime_ns, entry.status.st_mtime_ns)
        os.utime(aside, ns=times, dir_fd=entry.where)
        os.replace(aside, entry.name, src_dir_fd=entry.where, dst_dir_fd=entry.where)


def remove(top: Path, *, log: Log) -> None:
    """Remove a tree, however deep it is and whatever modes its directories have."""
    if os.geteuid() != 0 and top.is_dir() and not top.is_symlink():
        os.chmod(top, 0o700)
        with suppress(TooDeep):  # rm goes on from there, and says what it cannot remove
            for entry in entries(top):
                if entry.is_directory and entry.status.st_mode & 0o700 != 0o700:
                    _make_usable(entry.where, entry.name)
    process.run(["rm", "--recursive", "--force", "--", str(top)], log=log, deadline_s=600)
