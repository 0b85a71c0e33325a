# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unpack what a worker sent, a tar that somebody hostile may have written, within bounds."""

import re
import tarfile
import zlib
from pathlib import Path

from pipeline.ports.files import no_space

_OBJECT = re.compile(r"repo/objects/[0-9a-f]{2}/[0-9a-f]{62}\.(?:commit|dirtree|dirmeta|filez)")
_FILE = re.compile(r"files/[^\0]{1,1000}")
_MOST_MEMBERS = 500_000
_PIECE = 1 << 18
_HEADER = 8


class NotAParcel(ValueError):
    """It is no such file, or larger than it may be; says why."""


def unpack(parcel: Path, into: Path, *, index: str, most: int) -> None:
    """Write plain files of known names into an empty directory; raises NotAParcel.

    ``most`` bounds the bytes of all together, also of objects when they are inflated.
    """
    into.mkdir(parents=True, exist_ok=True)
    left = most
    try:
        with tarfile.open(parcel, "r:") as tar, no_space(into):
            for number, member in enumerate(tar):
                if number >= _MOST_MEMBERS:
                    raise NotAParcel(f"it has more than {_MOST_MEMBERS} files")
                path = into / _name(member, index)
                left -= member.size
                if left < 0:
                    raise NotAParcel(f"it has more than {most} bytes")
                path.parent.mkdir(parents=True, exist_ok=True)
                source = tar.extractfile(member)
                assert source is not None
                with source, path.open("xb") as target:
                    while piece := source.read(_PIECE):
                        target.write(piece)
                if path.suffix == ".filez":
                    left -= _inflated(path, left)
    except (tarfile.TarError, EOFError, FileExistsError, NotADirectoryError) as error:
        raise NotAParcel(f"it is no whole tar: {error}") from error
    if not (into / index).is_file():
        raise NotAParcel(f"it has no {index}")


def _name(member: tarfile.TarInfo, index: str) -> str:
    name = member.name
    if not member.isreg():
        raise NotAParcel(f"{name!r} is no plain file")
    is_file = _FILE.fullmatch(name) and all(part not in ("", ".", "..") for part in name.split("/"))
    if name != index and not is_file and not _OBJECT.fullmatch(name):
        raise NotAParcel(f"it has {name!r}, which belongs to nothing")
    return name


def _inflated(path: Path, most: int) -> int:
    """Count what a file object holds: little can be made to grow to more than any disk has."""
    total = 0
    with path.open("rb") as file:
        head = file.read(_HEADER)
        file.seek(_HEADER + int.from_bytes(head[:4], "big"))
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        data = file.read(_PIECE)
        while data and not inflate.eof:
            try:
                total += len(inflate.decompress(data, _PIECE))
            except zlib.error as error:
                raise NotAParcel(f"{path.name} is damaged: {error}") from error
            if total > most:
                raise NotAParcel(f"{path.name} holds more than all may")
            data = inflate.unconsumed_tail or file.read(_PIECE)
    return total
