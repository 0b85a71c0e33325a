# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files that are written whole or not at all, and locks that say who holds them."""

import errno
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.words.errors import Trouble

_POLL_S = 0.05
ALIVE = "alive"
"""The lock in a directory of one process: while it is held, the owner runs."""
_MAKING = ".new-"
_PIECE = 64 * 1024**2
_LONG_AGO_S = 3600.0
"""So long nobody takes to make a directory, or to remove one."""


class Held(Trouble):
    """A lock that was wanted is somebody else's."""


def write_text(path: Path, text: str, *, mode: int = 0o644, flush: bool = True) -> None:
    """Write a file beside its place, flush it to the disk and rename it there."""
    write_bytes(path, text.encode(), mode=mode, flush=flush)


def write_bytes(path: Path, data: bytes, *, mode: int = 0o644, flush: bool = True) -> None:
    """Write a file beside its place, flush it to the disk and rename it there.

    Without ``flush`` a power cut may leave an empty one. Raises Trouble, with the path and the
    bytes wanted, on a full disk.
    """
    with no_space(path, len(data)):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def flush(path: Path) -> None:
    """Have a file on the disk before it gets its name: a power cut leaves an empty one else.

    What could not be written is told here, too: a full disk.
    """
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def copy_whole(
    handle: int, path: Path, *, room: Path, finish: Callable[[int, os.stat_result], None]
) -> None:
    """Copy an open file to a path, which has all of it or nothing; raises Trouble on a full disk.

    It is written in ``room``, on the same file system, and gets its name when ``finish``, which is
    given the copy's descriptor and the state of the original, has come back.
    """
    found = os.fstat(handle)
    with no_space(path, found.st_size):
        out, aside = tempfile.mkstemp(prefix=f".{path.stem}.copying.", dir=room)
        try:
            while os.copy_file_range(handle, out, _PIECE):
                pass
            finish(out, found)
            os.fchmod(out, stat.S_IMODE(found.st_mode))
            os.replace(aside, path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
        finally:
            os.close(out)


@contextmanager
def no_space(path: Path, wanted: int = 0) -> Iterator[None]:
    """Turn "no space left" inside the ``with`` into Trouble that names the path and the bytes."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise full_disk(path, wanted) from error


def full_disk(path: Path, wanted: int = 0) -> Trouble:
    """Say that a disk is full: where, how much is left, and what to type."""
    there = next(one for one in [path, *path.parents] if one.exists())
    free = shutil.disk_usage(there).free
    need = f", {wanted} bytes wanted" if wanted else ""
    return Trouble(
        f"no space left for {path}: {free} bytes free{need}",
        hint="make room (ostci clean), then give the same command again",
    )


def symlink(path: Path, to: str) -> None:
    """Make or move a symbolic link in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.parent / f".{path.name}.{unique_name()}"
    aside.symlink_to(to)
    os.replace(aside, path)


def unique_name() -> str:
    """Make a part of a name that nobody else has.

    A number of a process is none: those of another process namespace have the same.
    """
    return f"{os.getpid()}-{secrets.token_hex(8)}"


def sha256_file(path: Path) -> str:
    """Hash a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remove_tree(path: Path) -> None:
    """Remove a directory, also one that holds directories without write permission."""

    def make_writable(_function: object, name: str, _info: object) -> None:
        # What it lies in is somebody else's: a file that came at the last moment is no reason.
        for one in (Path(name).parent, Path(name)):
            if one.is_relative_to(path) and one.is_dir() and not one.is_symlink():
                one.chmod(0o700)
        if Path(name).is_dir() and not Path(name).is_symlink():
            shutil.rmtree(name)
        else:
            Path(name).unlink(missing_ok=True)

    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path, onerror=make_writable)


@contextmanager
def shared_place(
    parent: Path, prefix: str, *, remove: Callable[[Path], None] = remove_tree
) -> Iterator[Path]:
    """Make a directory, below one that all users share, for the length of the ``with``.

    What killed processes of this user left there under the same prefix goes first: nobody holds
    their lock. Others may pass through the directory and see nothing in it.
    """
    for path in (*parent.glob(f"{prefix}*"), *parent.glob(f"{_MAKING}{prefix}*")):
        _remove_left_over(path, remove)
    with own_place(parent, prefix, what="a directory", mode=0o711, remove=remove) as made:
        yield made


@contextmanager
def own_place(
    parent: Path,
    prefix: str,
    *,
    what: str,
    mode: int,
    remove: Callable[[Path], None] = remove_tree,
) -> Iterator[Path]:
    """Make a directory for the length of the ``with``, with a lock in it that ends with us.

    ``what`` is told to whoever looks at the lock, ``ALIVE``.
    """
    made = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{prefix}", dir=parent))
    with lock(made / ALIVE, what=what):
        try:
            made.chmod(mode)
            # It gets its name when it is locked: another that begins at the same time would take
            # it for one that a killed process left.
            made = made.rename(made.with_name(made.name.removeprefix(_MAKING)))
            yield made
        finally:
            remove(made)


def _remove_left_over(path: Path, remove: Callable[[Path], None]) -> None:
    try:
        if path.is_symlink() or path.lstat().st_uid != os.geteuid():
            return
        # Without the file, or under its first name, it is being made or removed at this moment,
        # unless whoever did so was killed.
        is_whole = (path / ALIVE).exists() and not path.name.startswith(_MAKING)
        if not is_whole and time.time() - path.lstat().st_mtime < _LONG_AGO_S:
            return
        with lock(path / ALIVE, what="cleaning up"):
            remove(path)
    except (Held, FileNotFoundError):
        return  # it is alive, or somebody else removes it


@contextmanager
def lock(path: Path, *, what: str, wait_s: float = 0.0, shared: bool = False) -> Iterator[None]:
    """Hold a lock for the length of the ``with``; it ends with the process, however that ends.

    ``what`` is told to others who want it. Raises Held, naming the holder, after ``wait_s``; of
    several that share it, none leaves its name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _take(file.fileno(), path, wait_s, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        if not shared:
            file.truncate(0)
            file.write(json.dumps({"pid": os.getpid(), "what": what, "since": time.time()}))
            file.flush()
        yield


def _take(handle: int, path: Path, wait_s: float, kind: int) -> None:
    until = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise Held(
                    f"{path} is held by {lock_holder(path)}",
                    hint="wait for it, or stop that process",
                ) from None
            time.sleep(_POLL_S)


def lock_holder(path: Path) -> str:
    """Say who holds a lock, as far as its file tells."""
    try:
        held = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return "another process"
    since = time.strftime("%H:%M:%S", time.gmtime(held["since"]))
    return f"process {held['pid']} ({held['what']}, since {since} UTC)"
