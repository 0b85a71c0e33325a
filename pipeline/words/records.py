# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frozen dataclasses to JSON and back, checked on the way in.

One place knows how: every stage's result, the snapshot and what the ledger keeps use it.
"""

from typing import TYPE_CHECKING, Any, TypeVar, cast

from pipeline.words.errors import Trouble

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


_adapters: "dict[type[Any], TypeAdapter[Any]]" = {}


def _adapter(kind: type[Any]) -> "TypeAdapter[Any]":
    if kind not in _adapters:
        # Loaded when first needed: it takes longer than ``ostci plan`` does with everything else.
        from pydantic import TypeAdapter

        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def plain(value: Any) -> Any:
    """Turn a dataclass into dictionaries, lists and strings."""
    return _adapter(type(value)).dump_python(value, mode="json")


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Write a dataclass as JSON, with a line feed at the end where it is indented."""
    text = _adapter(type(value)).dump_json(value, indent=indent).decode()
    return text + "\n" if indent else text


def from_json(kind: type[T], text: str | bytes, *, where: str = "") -> T:
    """Read a dataclass from JSON that we wrote; raises Trouble where it is not of that form."""
    from pydantic import ValidationError

    try:
        return cast(T, _adapter(kind).validate_json(text))
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(step) for step in first["loc"])
        raise Trouble(
            f"not a {kind.__name__}: {path}: {first['msg']}",
            where=where,
            hint="the file was written by another version or damaged; remove it and run again",
        ) from error


def from_plain(kind: type[T], value: Any, *, where: str = "") -> T:
    """Read a dataclass from dictionaries and lists; raises Trouble as from_json does."""
    import json

    return from_json(kind, json.dumps(value), where=where)
