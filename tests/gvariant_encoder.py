# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write GVariant data, as ``pipeline.words.gvariant`` reads it, for tests and benchmarks.

Follows the "GVariant Specification" of GLib from the writer's side. ``commit_object`` makes OSTree
commits without a process each, where a benchmark wants thousands.
"""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
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


def members(kinds: str) -> list[str]:
    """Split the type strings inside a tuple."""
    found = []
    while kinds:
        end = 1
        while kinds[end - 1] == "a":
            end += 1
        if kinds[end - 1] in "({":
            depth = 1
            while depth:
                depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(kinds[end], 0)
                end += 1
        found.append(kinds[:end])
        kinds = kinds[end:]
    return found


def alignment(kind: str) -> int:
    """Tell to what multiple of bytes a type is aligned."""
    if kind[0] == "v":
        return 8
    if kind[0] == "a":
        return alignment(kind[1:])
    if kind[0] in "({":
        return max((alignment(one) for one in members(kind[1:-1])), default=1)
    return _FIXED.get(kind[0], 1)


def is_fixed(kind: str) -> bool:
    """Tell whether all values of a type have one size."""
    if kind[0] in "({":
        return all(is_fixed(one) for one in members(kind[1:-1]))
    return kind[0] in _FIXED


def _array(element: str, value: Any) -> bytes:
    if element == "y":
        return bytes(value)
    items = list(value.items()) if isinstance(value, Mapping) else list(value)
    out, ends = bytearray(), []
    for item in items:
        _pad(out, alignment(element))
        out += encode(element, item)
        ends.append(len(out))
    return bytes(out) if is_fixed(element) else _with_offsets(out, ends)


def _container(parts: Sequence[tuple[str, Any]]) -> bytes:
    out, ends = bytearray(), []
    for number, (kind, value) in enumerate(parts):
        _pad(out, alignment(kind))
        out += encode(kind, value)
        if not is_fixed(kind) and number < len(parts) - 1:
            ends.append(len(out))
    if all(is_fixed(kind) for kind, _ in parts):
        _pad(out, max((alignment(kind) for kind, _ in parts), default=1))
        return bytes(out) or b"\0"
    return _with_offsets(out, ends[::-1])


def _with_offsets(out: bytearray, ends: list[int]) -> bytes:
    for size in (1, 2, 4, 8):
        if len(out) + size * len(ends) < 1 << (8 * size):
            return bytes(out) + b"".join(end.to_bytes(size, "little") for end in ends)
    raise AssertionError("larger than any GVariant")


def _pad(out: bytearray, to: int) -> None:
    out += b"\0" * (-len(out) % to)


def commit_object(repo: Path, metadata: Mapping[str, str], *, tree: str, dirmeta: str) -> str:
    """Write a commit of a tree that is in the repository; tells its checksum."""
    value: Any = (
        {name: ("s", text) for name, text in metadata.items()},
        b"",
        [],
        "subject",
        "",
        0,
        bytes.fromhex(tree),
        bytes.fromhex(dirmeta),
    )
    data = encode("(a{sv}aya(say)sstayay)", value)
    checksum = hashlib.sha256(data).hexdigest()
    path = repo / "objects" / checksum[:2] / f"{checksum[2:]}.commit"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return checksum
