# SPDX-License-Identifier: LGPL-2.1-or-later
"""Frozen dataclasses to JSON and back, checked on the way in.

One place knows how: every stage's result, the snapshot and what the ledger keeps use it.
"""

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from pipeline.words.records_read import from_json, from_plain

__all__ = ["from_json", "from_plain", "plain", "to_json"]
_EXACT = frozenset((str, int, float, bool, type(None)))


def plain(value: Any) -> Any:
    """Turn a dataclass into dictionaries, lists and strings."""
    kind = type(value)
    if kind in _EXACT:
        return value
    if kind in (tuple, list):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Enum):
        return value.value
    if dataclasses.is_dataclass(kind):
        return {name: plain(getattr(value, name)) for name in _names(kind)}
    raise TypeError(f"no way to write {kind}")


@cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Write a dataclass as JSON, with a line feed at the end where it is indented."""
    separators = (",", ": " if indent else ":")
    made = plain(value)
    text = json.dumps(
        made, indent=indent, separators=separators, ensure_ascii=False, allow_nan=False
    )
    return text + "\n" if indent else text
