# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unpack an archive that somebody hostile may have made.

A path that leads out of it, a device, a link to elsewhere written through, or more than a
component can sensibly have ends it; so does what cannot be read.
"""

import calendar
import errno
import lzma
import math
import os
import posixpath
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.ports import process, trees
from pipeline.ports.log import Log
from pipeline.words.errors import Failed
from pipeline.words.manifest import SourceKind

MOST_BYTES = 8 * 1024**3
MOST_FILES = 500_000
_LATEST_S = 1 << 32
_ZSTD = b"\x28\xb5\x2f\xfd"
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
)
_CHUNK = 1 << 20
_END_S = 60.0
_LONGEST_END = 64 << 20
_LONGEST_LINK = 4095
_LONGEST_HEADER = 1 << 20
_LONG_HEADERS = (
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
)


def unpack(file: Path, into: Path, *, kind: SourceKind, log: Log, most: int | None = None) -> int:
    """Unpack an archive into an empty directory; tells the time of the newest file in it.

    Raises Failed for one that is not as it should be, or has more than ``most`` bytes
    (``MOST_BYTES``).
    """
    room = _Room(into, MOST_BYTES if most is None else most)
    try:
        if kind is SourceKind.ZIPFILE:
            _unpack_zip(file, room)
        else:
            with _tar(file, log) as archive:
                _unpack_tar(archive, room)
    except _UNREADABLE as error:
        raise Failed(f"is no archive that can be read: {error}", where=file.name) from error
    except OSError as error:
        told = _refused(error)
        if not told:
            raise
        raise Failed(told, where=file.name) from error
    except Failed as error:
        raise Failed(error.what, where=file.name) from error
    if not room.files:
        raise Failed("has no file in it", where=file.name)
    return room.newest


def _refused(error: OSError) -> str:
    """Tell what is wrong with an archive by what the kernel would not do; "" if nothing is."""
    name = Path(str(error.filename2 or error.filename)).name[:60]
    if isinstance(error, FileExistsError | IsADirectoryError | NotADirectoryError):
        return f"has a file and a directory of one name: {name!r}"
    if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
        return f"has a name that cannot be: {name!r}: {error.strerror}"
    if error.errno is None:  # gzip and bz2 say so what they cannot read
        return f"is no archive that can be read: {error}"
    return ""


@contextmanager
def _tar(file: Path, log: Log) -> Iterator[tarfile.TarFile]:
    with file.open("rb") as head:
        is_zstd = head.read(4) == _ZSTD
    if not is_zstd:
        with tarfile.open(file, "r:*", tarinfo=_Header) as archive:
            yield archive
        return
    argv: list[str | Path] = ["zstd", "--decompress", "--stdout", "--quiet", "--", file]
    with process.start(argv, log=log, grace_s=0.0) as child:
        assert child.stdout is not None
        # Read as it comes: a bomb is stopped by what its members say of their size.
        with tarfile.open(fileobj=child.stdout, mode="r|", tarinfo=_Header) as archive:
            yield archive
        _drain(child.stdout)
        if child.wait(_END_S) != 0:
            raise Failed("cannot be decompressed: damaged", where=file.name)


def _drain(rest: IO[bytes]) -> None:
    """Read what fills up the last block; the program tells only at its end that all was well."""
    left = _LONGEST_END
    while data := rest.read(_CHUNK):
        left -= len(data)
        if left < 0:
            raise Failed(f"has more than {_LONGEST_END} bytes behind its end")


class _Header(tarfile.TarInfo):
    """An entry whose header is not read into memory whatever it says of its size."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in _LONG_HEADERS and self.size > _LONGEST_HEADER:
            raise Failed(f"has a header of {self.size} bytes")
        found: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return found


class _Room:
    """Where an archive may write, and how much; nothing is written through a link."""

    def __init__(self, top: Path, most: int) -> None:
        self.top = top
        self._most = most
        self.files = 0
        self.newest = 0
        self._bytes = 0

    def place(self, name: str, size: int) -> Path | None:
        parts = [part for part in PurePosixPath(name).parts if part != "."]
        if name.startswith(("/", "\\")) or "\\.." in name or ".." in parts or "\0" in name:
            raise Failed(f"has a path that leads out of it: {name!r}")
        if len(parts) > trees.DEEPEST:
            raise Failed(f"has directories nested deeper than {trees.DEEPEST}")
        self.files += 1
        self.fill(size)
        if not parts or any(part.lower() in (".git", "git~1") for part in parts):
            return None  # somebody else's history, or hooks, is no source
        at = self.top
        for part in parts[:-1]:
            at = at / part
            if at.is_symlink():
                raise Failed(f"writes through its own link: {name!r}")
            at.mkdir(exist_ok=True)
        return at / parts[-1]

    def fill(self, size: int) -> None:
        """Take room for what is to be written."""
        self._bytes += size
        if self._bytes > self._most or self.files > MOST_FILES:
            raise Failed(f"has more than {self._most} bytes or {MOST_FILES} files in it")

    def seen(self, time_s: float) -> None:
        """Note the time of a file, where it is one."""
        if math.isfinite(time_s):
            self.newest = max(self.newest, min(int(time_s), _LATEST_S))


def _unpack_tar(archive: tarfile.TarFile, room: _Room) -> None:
    for member in archive:
        place = room.place(member.name, member.size)
        if place is None:
            continue
        if member.isdir():
            _directory(place, member.name)
        elif member.issym():
            _link(place, member.linkname, room)
        elif member.islnk():
            _same(place, member.linkname, room)
        elif member.isreg():
            found = archive.extractfile(member)
            assert found is not None
            _write(place, found, program=bool(member.mode & 0o111))
            room.seen(member.mtime)
        else:
            raise Failed(f"has a device or the like in it: {member.name!r}")


def _unpack_zip(file: Path, room: _Room) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            place = room.place(member.filename, member.file_size)
            if place is None:
                continue
            mode = member.external_attr >> 16
            if member.is_dir():
                _directory(place, member.filename)
            elif stat.S_ISLNK(mode):
                if member.file_size > _LONGEST_LINK:
                    raise Failed(f"has a link of {member.file_size} characters")
                _link(place, archive.read(member).decode(), room)
            else:
                with archive.open(member) as found:
                    _write(place, found, program=bool(mode & 0o111))
                if 1 <= member.date_time[1] <= 12:  # some have none
                    room.seen(calendar.timegm((*member.date_time, 0, 0, 0)))


def _directory(place: Path, name: str) -> None:
    if place.is_symlink():
        raise Failed(f"writes through its own link: {name!r}")
    place.mkdir(exist_ok=True)


def _same(place: Path, name: str, room: _Room) -> None:
    """Copy what a hard link names, which came before it."""
    there = room.place(name, 0)
    if there is None or there.is_symlink() or not there.is_file():
        raise Failed(f"has a link to nothing: {name!r}")
    if there != place:
        room.fill(there.stat().st_size)
        with there.open("rb") as found:
            _write(place, found, program=bool(there.stat().st_mode & 0o100))


def _link(place: Path, to: str, room: _Room) -> None:
    """Keep a symbolic link that stays within the archive; nobody follows it here."""
    if not to:
        raise Failed(f"has a link to nowhere: {place.name!r}")
    inner = posixpath.normpath(posixpath.join(str(place.parent.relative_to(room.top)), to))
    if to != os.devnull and (to.startswith("/") or inner.split("/")[0] == ".."):
        raise Failed(f"has a link that leads out of it: {place.name!r} → {to!r}")
    place.unlink(missing_ok=True)
    place.symlink_to(to)


def _write(place: Path, content: IO[bytes], *, program: bool) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    with place.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
    place.chmod(0o755 if program else 0o644)
