# SPDX-License-Identifier: LGPL-2.1-or-later
"""One directory of a tree, as OSTree keeps it, and how two become one.

Checksums are the 32 bytes that they are. Format: ostree-core.h,
``OSTREE_TREE_GVARIANT_STRING``; read and written here by hand, because composing does it by the
thousand. Knows nothing of where the objects are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.words.gvariant_write import with_offsets

SUM = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Files → checksum, directories → (dirtree, dirmeta)."""

    files: Mapping[str, bytes]
    dirs: Mapping[str, tuple[bytes, bytes]]


EMPTY = Listing(files={}, dirs={})


def parse(data: bytes) -> Listing:
    """Read a dirtree object; raises ValueError for what is none."""
    try:
        width = _width(len(data))
        middle = int.from_bytes(data[-width:], "little")
        files = _parse_files(data[:middle])
        dirs = _parse_dirs(data[middle : len(data) - width])
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"not a directory object: {error}") from error
    return Listing(files=files, dirs=dirs)


def encode(listing: Listing) -> bytes:
    """Write a dirtree object, names in the order that OSTree asks for."""
    files = _array([_file(name, listing.files[name]) for name in sorted(listing.files)])
    dirs = _array([_dir(name, *listing.dirs[name]) for name in sorted(listing.dirs)])
    return with_offsets(files + dirs, [len(files)])


def _parse_files(data: bytes) -> dict[str, bytes]:
    found = {}
    for entry in _elements(data):
        tail = len(entry) - _width(len(entry))
        found[entry[: tail - SUM - 1].decode()] = entry[tail - SUM : tail]
    return found


def _parse_dirs(data: bytes) -> dict[str, tuple[bytes, bytes]]:
    found = {}
    for entry in _elements(data):
        tail = len(entry) - 2 * _width(len(entry))
        tree, meta = entry[tail - 2 * SUM : tail - SUM], entry[tail - SUM : tail]
        found[entry[: tail - 2 * SUM - 1].decode()] = (tree, meta)
    return found


def _elements(data: bytes) -> list[bytes]:
    if not data:
        return []
    width = _width(len(data))
    table = int.from_bytes(data[-width:], "little")
    found, start = [], 0
    for at in range(table, len(data), width):
        end = int.from_bytes(data[at : at + width], "little")
        found.append(data[start:end])
        start = end
    return found


def _file(name: str, checksum: bytes) -> bytes:
    head = name.encode() + b"\0"
    return with_offsets(head + checksum, [len(head)])


def _dir(name: str, tree: bytes, meta: bytes) -> bytes:
    head = name.encode() + b"\0"
    return with_offsets(head + tree + meta, [len(head) + SUM, len(head)])


def _array(elements: list[bytes]) -> bytes:
    ends, at = [], 0
    for element in elements:
        at += len(element)
        ends.append(at)
    return with_offsets(b"".join(elements), ends)


def _width(length: int) -> int:
    return 1 if length < 1 << 8 else 2 if length < 1 << 16 else 4 if length < 1 << 32 else 8
