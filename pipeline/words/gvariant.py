# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read GVariant data, the format of OSTree's metadata objects.

Only what OSTree uses: strings, bytes, integers, booleans, arrays, tuples, dictionaries and
variants. Format: the "GVariant Specification" of GLib. OSTree stores its integers big-endian by
its own convention, so they are returned as they lie in the bytes, little-endian; ``swapped`` helps.
"""

from typing import Any

_FIXED = {"y": 1, "b": 1, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8}
_OPEN = {"(": ")", "{": "}"}


def decode(kind: str, data: bytes) -> Any:
    """Decode one value of the given type string.

    ``ay`` becomes bytes, ``a{..}`` a dictionary, other arrays lists, tuples tuples, a variant its
    value. Raises ValueError for data that is not of the type.
    """
    try:
        return _decode(kind, memoryview(data))
    except (IndexError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"not a GVariant of type {kind}: {error}") from error


def swapped(value: int, size: int) -> int:
    """Turn an integer of ``size`` bytes that OSTree stored big-endian into its value."""
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def _decode(kind: str, data: memoryview) -> Any:
    first = kind[0]
    if first in _FIXED:
        return int.from_bytes(data[: _FIXED[first]], "little", signed=first in "nix")
    if first in "sog":
        return bytes(data[:-1]).decode()
    if first == "v":
        return _variant(data)
    if first == "a":
        return _array(kind[1:], data)
    if first not in _OPEN or kind[-1] != _OPEN[first]:
        raise ValueError(f"not a GVariant type: {kind}")
    return _tuple(_members(kind[1:-1]), data)


def _variant(data: memoryview) -> Any:
    raw = bytes(data)
    end = raw.rindex(b"\0")
    return _decode(raw[end + 1 :].decode(), data[:end])


def _array(element: str, data: memoryview) -> Any:
    if element == "y":
        return bytes(data)
    size = _fixed_size(element)
    if size:
        items = [_decode(element, data[at : at + size]) for at in range(0, len(data), size)]
    else:
        items = [_decode(element, data[start:end]) for start, end in _spans(element, data)]
    return dict(items) if element[0] == "{" else items


def _spans(element: str, data: memoryview) -> list[tuple[int, int]]:
    if not len(data):
        return []
    width = _offset_size(len(data))
    table = int.from_bytes(data[-width:], "little")
    align = _alignment(element)
    spans, start = [], 0
    for at in range(table, len(data), width):
        end = int.from_bytes(data[at : at + width], "little")
        spans.append((start, end))
        start = _up(end, align)
    return spans


def _tuple(members: list[str], data: memoryview) -> tuple[Any, ...]:
    width = _offset_size(len(data))
    table = len(data)
    values: list[Any] = []
    at = 0
    for number, kind in enumerate(members):
        at = _up(at, _alignment(kind))
        size = _fixed_size(kind)
        if size:
            end = at + size
        elif number == len(members) - 1:
            end = table
        else:
            table -= width
            end = int.from_bytes(data[table : table + width], "little")
        values.append(_decode(kind, data[at:end]))
        at = end
    return tuple(values)


def _members(kinds: str) -> list[str]:
    found = []
    while kinds:
        end = _type_end(kinds)
        found.append(kinds[:end])
        kinds = kinds[end:]
    return found


def _type_end(kinds: str) -> int:
    if kinds[0] == "a":
        return 1 + _type_end(kinds[1:])
    if kinds[0] not in _OPEN:
        return 1
    depth = 0
    for at, letter in enumerate(kinds):
        depth += (letter in "({") - (letter in ")}")
        if depth == 0:
            return at + 1
    raise ValueError(f"not a GVariant type: {kinds}")


def _fixed_size(kind: str) -> int:
    """Tell the size of a type whose values all have one, else 0."""
    if kind[0] in _FIXED:
        return _FIXED[kind[0]]
    if kind[0] not in _OPEN:
        return 0
    at = 0
    for member in _members(kind[1:-1]):
        size = _fixed_size(member)
        if not size:
            return 0
        at = _up(at, _alignment(member)) + size
    return _up(at, _alignment(kind))


def _alignment(kind: str) -> int:
    first = kind[0]
    if first == "v":
        return 8
    if first == "a":
        return _alignment(kind[1:])
    if first in _OPEN:
        return max((_alignment(member) for member in _members(kind[1:-1])), default=1)
    return _FIXED.get(first, 1)


def _up(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _offset_size(length: int) -> int:
    for size in (1, 2, 4):
        if length < 1 << (8 * size):
            return size
    return 8
