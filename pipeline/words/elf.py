# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read from an ELF file what it needs to be started: its interpreter and its libraries.

Only 64-bit little-endian files, which is what the machines here run. Format: elf(5).
"""

import struct
from dataclasses import dataclass

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<qQ")
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB = 1, 5


@dataclass(frozen=True, kw_only=True)
class Links:
    """``interpreter`` is a path, empty for a static program or a library."""

    interpreter: str
    needed: tuple[str, ...]


def is_elf(data: bytes) -> bool:
    """Tell whether the data starts as an ELF file does."""
    return data[:4] == b"\x7fELF"


def read_links(data: bytes) -> Links:
    """Read interpreter and needed libraries; raises ValueError for what is no such file."""
    if not is_elf(data) or data[4:6] != b"\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    try:
        return _read(data)
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error


def _read(data: bytes) -> Links:
    fields = _HEADER.unpack_from(data)
    table, size, count = fields[5], fields[9], fields[10]
    segments = [_SEGMENT.unpack_from(data, table + number * size) for number in range(count)]
    interpreter = ""
    needed: tuple[str, ...] = ()
    for kind, _flags, offset, _address, _physical, length, _memory, _align in segments:
        if kind == _PT_INTERP:
            interpreter = data[offset : offset + length].rstrip(b"\0").decode()
        elif kind == _PT_DYNAMIC:
            needed = _needed(data, segments, data[offset : offset + length])
    return Links(interpreter=interpreter, needed=needed)


def _needed(data: bytes, segments: list[tuple[int, ...]], dynamic: bytes) -> tuple[str, ...]:
    entries = list(_DYNAMIC.iter_unpack(dynamic[: len(dynamic) // 16 * 16]))
    strings = next((value for tag, value in entries if tag == _DT_STRTAB), None)
    if strings is None:
        return ()
    start = _offset(segments, strings)
    names = [start + value for tag, value in entries if tag == _DT_NEEDED]
    return tuple(data[at : data.index(b"\0", at)].decode() for at in names)


def _offset(segments: list[tuple[int, ...]], address: int) -> int:
    for kind, _flags, offset, base, _physical, length, _memory, _align in segments:
        if kind == _PT_LOAD and base <= address < base + length:
            return offset + address - base
    raise ValueError("damaged ELF file: an address in no segment")
