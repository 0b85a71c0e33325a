# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read from an ELF file what others link against, and its build id.

Only 64-bit little-endian files, as in ``elf``. Read are section headers, because they are what
strip keeps and linkers use. Formats: elf(5), "Linux Standard Base, Symbol Versioning".
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.words.elf import is_elf, read_links

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNAMIC = struct.Struct("<qQ")
_VERDEF = struct.Struct("<HHHHIII")
_NOTE = struct.Struct("<III")
_ET_DYN, _ET_EXEC = 3, 2
_SHT_DYNAMIC, _SHT_NOTE, _SHT_DYNSYM = 6, 7, 11
_SHT_GNU_VERDEF, _SHT_GNU_VERSYM, _SHT_NOBITS = 0x6FFFFFFD, 0x6FFFFFFF, 8
_DT_SONAME, _DT_FLAGS_1, _DF_1_PIE = 14, 0x6FFFFFFB, 0x08000000
_STB_LOCAL, _STT_OBJECT, _STT_TLS, _STV_INTERNAL, _STV_HIDDEN = 0, 1, 6, 1, 2
_NT_GNU_BUILD_ID = 3
_SPARE = 1024**2
_VERSION_MASK, _HIDDEN_VERSION = 0x7FFF, 0x8000


@dataclass(frozen=True, kw_only=True)
class Exports:
    """What can be seen of a linked file from outside.

    ``symbols`` are ``name@@VERSION`` (the default one), ``name@VERSION`` or ``name``, with
    ``=size`` after those of data: programs copy data of that size out of the library.
    """

    is_program: bool
    soname: str = ""
    symbols: tuple[str, ...] = ()
    needed: tuple[str, ...] = ()
    build_id: str = ""
    build_id_at: tuple[int, int] | None = None
    """Offset and length of the build id's bytes in the file."""


def read_exports(data: bytes) -> Exports | None:
    """Read a program or shared library; None for other ELF files (objects, modules).

    Raises ValueError for what is damaged or of another class.
    """
    if not is_elf(data) or data[4:6] != b"\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    try:
        kind = _HEADER.unpack_from(data)[1]
        return _read(data, kind) if kind in (_ET_DYN, _ET_EXEC) else None
    except (struct.error, IndexError, OverflowError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged ELF file: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Section:
    kind: int
    offset: int
    size: int
    link: int


def _read(data: bytes, kind: int) -> Exports:
    sections = _sections(data)
    soname, flags = _dynamic(data, sections)
    links = read_links(data)
    build_id_at = _build_id(data, sections)
    is_program = kind == _ET_EXEC or bool(flags & _DF_1_PIE)
    return Exports(
        is_program=is_program or (bool(links.interpreter) and not soname),
        soname=soname,
        symbols=tuple(sorted(_symbols(data, sections))),
        needed=links.needed,
        build_id=data[slice(*build_id_at)].hex() if build_id_at else "",
        build_id_at=None if build_id_at is None else (build_id_at[0], build_id_at[1]),
    )


def _sections(data: bytes) -> list[_Section]:
    fields = _HEADER.unpack_from(data)
    table, size, count = fields[6], fields[11], fields[12]
    if table == 0:
        return []
    found = []
    for number in range(count):
        one = _SECTION.unpack_from(data, table + number * size)
        found.append(_Section(kind=one[1], offset=one[4], size=one[5], link=one[6]))
    return found


def _first(sections: list[_Section], kind: int) -> _Section | None:
    return next((one for one in sections if one.kind == kind), None)


def _bytes(data: bytes, section: _Section) -> bytes:
    if section.kind == _SHT_NOBITS:
        return b""
    return data[section.offset : section.offset + section.size]


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode("utf-8", "surrogateescape")


def _dynamic(data: bytes, sections: list[_Section]) -> tuple[str, int]:
    """Tell the soname and the flags."""
    section = _first(sections, _SHT_DYNAMIC)
    if section is None:
        return "", 0
    strings = _bytes(data, sections[section.link])
    body = _bytes(data, section)
    soname, flags = "", 0
    for tag, value in _DYNAMIC.iter_unpack(body[: len(body) // _DYNAMIC.size * _DYNAMIC.size]):
        if tag == _DT_SONAME:
            soname = _text(strings, value)
        elif tag == _DT_FLAGS_1:
            flags = value
    return soname, flags


def _symbols(data: bytes, sections: list[_Section]) -> Iterator[str]:
    section = _first(sections, _SHT_DYNSYM)
    if section is None:
        return
    strings = _bytes(data, sections[section.link])
    versions = _versions(data, sections)
    table = _first(sections, _SHT_GNU_VERSYM)
    numbers = _bytes(data, table) if table else b""
    left = 4 * len(data) + _SPARE
    for at, symbol in enumerate(_SYMBOL.iter_unpack(_bytes(data, section))):
        name, info, other, index, _value, size = symbol
        visibility = other & 3
        if index == 0 or info >> 4 == _STB_LOCAL or visibility in (_STV_INTERNAL, _STV_HIDDEN):
            continue
        number = int.from_bytes(numbers[2 * at : 2 * at + 2], "little")
        text = _text(strings, name)
        left -= len(text)
        if left < 0:
            raise ValueError("damaged ELF file: its names are longer than it is itself")
        version = versions.get(number & _VERSION_MASK, "")
        if version:
            text += ("@" if number & _HIDDEN_VERSION else "@@") + version
        yield f"{text}={size}" if info & 15 in (_STT_OBJECT, _STT_TLS) else text


def _versions(data: bytes, sections: list[_Section]) -> dict[int, str]:
    """Map version numbers to names; the first, which is the library itself, has no meaning."""
    section = _first(sections, _SHT_GNU_VERDEF)
    if section is None:
        return {}
    strings, body = _bytes(data, sections[section.link]), _bytes(data, section)
    found: dict[int, str] = {}
    at = 0
    while True:
        _, flags, number, _, _, names, following = _VERDEF.unpack_from(body, at)
        if not flags & 1:
            (name,) = struct.unpack_from("<I", body, at + names)
            found[number] = _text(strings, name)
        if not following or at + following >= len(body):
            return found
        at += following


def _build_id(data: bytes, sections: list[_Section]) -> tuple[int, int] | None:
    """Tell where the build id's bytes start and end."""
    for section in sections:
        if section.kind != _SHT_NOTE:
            continue
        at, end = section.offset, section.offset + section.size
        while at + _NOTE.size <= end:
            name, size, kind = _NOTE.unpack_from(data, at)
            content = at + _NOTE.size + (name + 3) // 4 * 4
            if kind == _NT_GNU_BUILD_ID and data[at + 12 : at + 16] == b"GNU\0":
                return content, content + size
            at = content + (size + 3) // 4 * 4
    return None
