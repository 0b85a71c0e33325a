# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write GVariant data, as ``gvariant`` reads it: OSTree's commits and directories.

Follows the "GVariant Specification" of GLib from the writer's side. Integers are written
little-endian; OSTree wants its own big-endian, so give them through ``gvariant.swapped``.
"""

from collections.abc import Mapping, Sequence
from typing import Any

_FIXED = {"y": 1, "b": 1, "n": 2, "q": 2, "i": 4, "u": 4, "x": 8, "t": 8}


def encode(kind: str, value: Any) -> bytes:
    """Encode a value; a variant is given as ``(kind, value)``, a dictionary as one."""
    first = kind[0]
    if first in _FIXED:
        return int(value).to_bytes(_FIXED[first], "little", signed=first in "nix")
    if first in "sog":
        return str(value).encode() + b"\0"
    if first == "v":
        inner, content = value
        return encode(inner, content) + b"\0" + str(inner).encode()
    if first == "a":
        return _array(kind[1:], value)
    return _container(list(zip(members(kind[1:-1]), value, strict=True)))


def with_offsets(body: bytes, ends: Sequence[int]) -> bytes:
    """Add framing offsets, each as small as the whole allows."""
    for size in (1, 2, 4, 8):
        if len(body) + size * len(ends) < 1 << (8 * size):
            return body + b"".join([end.to_bytes(size, "little") for end in ends])
    raise ValueError("larger than any GVariant")


def members(kinds: str) -> list[str]:
    """Split the type strings inside a tuple."""
    found = []
    while kinds:
        end = 1
        while kinds[end - 1] == "a":
            end += 1
        depth = int(kinds[end - 1] in "({")
        while depth:
            depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(kinds[end], 0)
            end += 1
        found.append(kinds[:end])
        kinds = kinds[end:]
    return found


def _alignment(kind: str) -> int:
    if kind[0] == "v":
        return 8
    if kind[0] == "a":
        return _alignment(kind[1:])
    if kind[0] in "({":
        return max((_alignment(one) for one in members(kind[1:-1])), default=1)
    return _FIXED.get(kind[0], 1)


def _is_fixed(kind: str) -> bool:
    if kind[0] in "({":
        return all(_is_fixed(one) for one in members(kind[1:-1]))
    return kind[0] in _FIXED


def _array(element: str, value: Any) -> bytes:
    if element == "y":
        return bytes(value)
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    out, ends = bytearray(), []
    for item in items:
        _pad(out, _alignment(element))
        out += encode(element, item)
        ends.append(len(out))
    return bytes(out) if _is_fixed(element) else with_offsets(bytes(out), ends)


def _container(parts: Sequence[tuple[str, Any]]) -> bytes:
    out, ends = bytearray(), []
    for number, (kind, value) in enumerate(parts):
        _pad(out, _alignment(kind))
        out += encode(kind, value)
        if not _is_fixed(kind) and number < len(parts) - 1:
            ends.append(len(out))
    if all(_is_fixed(kind) for kind, _ in parts):
        _pad(out, max((_alignment(kind) for kind, _ in parts), default=1))
        return bytes(out) or b"\0"
    return with_offsets(bytes(out), ends[::-1])


def _pad(out: bytearray, to: int) -> None:
    out += b"\0" * (-len(out) % to)
