# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories that were sent to be tried: packed where they lie, kept until they are tried.

A file of them is named by its SHA-256. It is a tar with gzip, not a pack of git's: what a tar will
be like when it is unpacked can be bounded while it is read, what deltas and trees of a pack will
be like cannot. What counts of a directory is what counts of any working copy (``work_copy``); in
the end its files have the hash that the sender has told.
"""

import gzip
import os
import posixpath
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import unpacking, work_copy
from pipeline.ports.files import lock, no_space, remove_tree, sha256_file
from pipeline.ports.git_commands import Git
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Failed
from pipeline.words.manifest import SourceKind
from pipeline.words.refs import is_commit

LARGEST = 64 * 1024**2
"""What a packed directory may have, in bytes."""
MOST_BYTES = 1024**3
"""What its files may have together."""
PIECE = 512 * 1024
"""What is sent at once, in bytes."""
KEEP_S = 7 * 24 * 3600.0
_MOST_KEPT = 64
_LEVEL = 6
_LOCK_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A packed directory; ``revision`` is the hash of its files, as ``work_copy.pin`` has it."""

    id: str
    revision: str
    size: int
    path: Path


def pack(
    place: Path,
    into: Path,
    *,
    git: Git,
    where: str,
    largest: int = LARGEST,
    most: int = MOST_BYTES,
) -> Packed:
    """Pack the files of a directory that count into a new directory; nothing of it is changed.

    Raises BadInput for what is too large, with what it is that is, and for links that lead out.
    """
    names = work_copy.names(place, git=git)
    if not names:
        raise BadInput(f"{place} has no file in it that counts", where=where)
    _raise_too_large(place, names, where, most)
    copy, path = into / "copy", into / "sent.tar.gz"
    copy.mkdir(parents=True)
    try:
        pin = work_copy.pin(place, git=git)
        work_copy.copy(place, pin, copy, git=git)
        # Equal files give an equal tar, so that it is sent once.
        with (
            no_space(path),
            path.open("xb") as file,
            gzip.GzipFile("", "wb", _LEVEL, file, mtime=0) as zipped,
        ):
            _write(copy, names, zipped, where)
    finally:
        remove_tree(copy)
    size = path.stat().st_size
    if size > largest:
        what = f"{place} is too large to be sent: {_mib(size)} when packed, {_mib(largest)} at most"
        raise BadInput(what, where=where, hint=_hint(place, names))
    return Packed(id=sha256_file(path), revision=pin.revision, size=size, path=path)


def _write(copy: Path, names: list[str], zipped: gzip.GzipFile, where: str) -> None:
    with tarfile.open(fileobj=zipped, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            entry = tar.gettarinfo(copy / name, arcname=name)
            entry.mtime = entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mode = 0o755 if entry.mode & 0o100 else 0o644
            if entry.issym() and _leads_out(name, entry.linkname):
                what = f"{name} is a link to {entry.linkname}, which is not sent with it"
                raise BadInput(what, where=where)
            if entry.islnk():  # two names of one file in the copy: none is made there
                entry.type, entry.linkname = tarfile.REGTYPE, ""
                entry.size = (copy / name).stat().st_size
            if entry.isreg():
                with (copy / name).open("rb") as content:
                    tar.addfile(entry, content)
            else:
                tar.addfile(entry)


def _leads_out(name: str, to: str) -> bool:
    inner = posixpath.normpath(posixpath.join(posixpath.dirname(name), to))
    return to != os.devnull and (to.startswith("/") or inner.split("/")[0] == "..")


def _raise_too_large(place: Path, names: list[str], where: str, most: int) -> None:
    total = sum(_size(place / name) for name in names)
    if total > most or len(names) > unpacking.MOST_FILES:
        what = f"{place} is too large to be sent: {_mib(total)} in {len(names)} files"
        raise BadInput(what, where=where, hint=_hint(place, names))


def _hint(place: Path, names: list[str]) -> str:
    sizes: dict[str, int] = {}
    for name in names:
        top = name.partition("/")[0]
        sizes[top] = sizes.get(top, 0) + _size(place / name)
    largest = sorted(sizes, key=lambda top: -sizes[top])[:3]
    told = ", ".join(f"{top} {_mib(sizes[top])}" for top in largest)
    return f"largest are {told}; what .gitignore names is not sent, and a branch needs no sending"


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0  # it went meanwhile: whoever reads it says so


def _mib(size: int) -> str:
    return f"{size / 1024**2:.1f} MiB"


class Sent:
    """What was sent to a work directory; each file is there whole or not at all."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, id: str) -> Path:
        """Name the file of what was sent; raises BadInput for what is no such name."""
        if not is_commit(id):
            raise BadInput(f"not what was sent: {id!r}")
        return self._root / f"{id}.tar.gz"

    def has(self, id: str) -> bool:
        """Tell whether it is here whole."""
        return self.path(id).is_file()

    def add(self, id: str, at: int, piece: bytes, *, size: int, largest: int = LARGEST) -> int:
        """Add the next piece of what has ``size`` bytes; tells how many are here then.

        Raises BadInput for what is too large, does not follow what is here, or is not what its
        name says when it is whole: then it has to be sent anew.
        """
        path = self.path(id)
        if not 0 < size <= largest:
            raise BadInput(f"it has {_mib(size)}, and {_mib(largest)} are taken at most")
        self._root.mkdir(exist_ok=True)
        with lock(self._root / ".lock", what="what is sent", wait_s=_LOCK_S):
            if path.is_file():
                path.touch()
                return size
            self._make_room()
            part = path.with_suffix(".part")
            here = part.stat().st_size if part.is_file() else 0
            if at == 0:
                part.unlink(missing_ok=True)
                here = 0
            if at != here or at + len(piece) > size:
                raise BadInput(f"{here} bytes of it are here, and these are from {at} on")
            with no_space(part, len(piece)), part.open("ab") as file:
                file.write(piece)
            here += len(piece)
            if here == size:
                if sha256_file(part) != id:
                    part.unlink()
                    raise BadInput("what came is not what its name says")
                part.replace(path)
            return here

    def keep(self, packed: Packed) -> None:
        """Take what was packed on this machine."""
        at = 0
        with packed.path.open("rb") as file:
            while piece := file.read(PIECE):
                at = self.add(packed.id, at, piece, size=packed.size)

    def unpack(
        self,
        id: str,
        into: Path,
        *,
        revision: str,
        git: Git,
        log: Log,
        most: int = MOST_BYTES,
    ) -> None:
        """Write the files into a new directory; raises BadInput where they are not those told."""
        path = self.path(id)
        if not path.is_file():
            raise BadInput("what was sent is here no more", hint="send it once more: ostci try")
        into.mkdir(parents=True)
        try:
            unpacking.unpack(path, into, kind=SourceKind.TARBALL, log=log, most=most)
        except Failed as error:
            raise BadInput(f"what was sent {error.what}") from error
        if work_copy.pin(into, git=git, whole=True).revision != revision:
            raise BadInput("what was sent are not the files that it says")

    def old(self) -> Iterator[Path]:
        """List what nobody will try any more."""
        since = time.time() - KEEP_S
        for path in self._files():
            if path.stat().st_mtime < since:
                yield path

    def _files(self) -> list[Path]:
        found = self._root.glob("*.tar.*") if self._root.is_dir() else ()
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def _make_room(self) -> None:
        for path in self._files()[: -_MOST_KEPT + 1]:
            path.unlink()
