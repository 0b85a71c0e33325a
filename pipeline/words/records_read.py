# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read the JSON of our own dataclasses, checked, without a library that takes long to load.

Each command of a run is a process of its own that reads some and writes some. Only the types that
our records are made of are known; all others are refused.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pipeline.words.errors import Trouble

T = TypeVar("T")
_Reader = Callable[[Any], Any]
_EXACT = (str, int, bool)


class _WrongError(Exception):
    """A value of another type; ``path`` grows on the way out."""

    def __init__(self, wanted: str) -> None:
        super().__init__(wanted)
        self.path: list[str] = []


def from_json(kind: type[T], text: str | bytes, *, where: str = "") -> T:
    """Read a dataclass from JSON that we wrote; raises Trouble where it is not of that form."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise _trouble(kind, str(error), where) from error
    return from_plain(kind, value, where=where)


def from_plain(kind: type[T], value: Any, *, where: str = "") -> T:
    """Read a dataclass from dictionaries and lists; raises Trouble as from_json does."""
    try:
        return cast(T, _reader(cast(Any, kind))(value))
    except _WrongError as error:
        path = ".".join(reversed(error.path))
        raise _trouble(kind, f"{path}: {error}" if path else str(error), where) from error


def _trouble(kind: type[Any], what: str, where: str) -> Trouble:
    return Trouble(
        f"not a {kind.__name__}: {what}",
        where=where,
        hint="the file was written by another version or damaged; remove it and run again",
    )


@cache
def _reader(kind: Any) -> _Reader:
    """Make the function that reads one type."""
    if isinstance(kind, NewType):
        return _reader(kind.__supertype__)
    if kind is Any:
        return lambda value: value
    if kind in _EXACT:
        return _exact(kind)
    if kind is float:
        return _float
    origin = get_origin(kind)
    if origin is Literal:
        return _one_of(get_args(kind))
    if origin in (Union, types.UnionType):
        return _optional(get_args(kind))
    if origin is tuple and get_args(kind)[1:] == (...,):
        return _tuple(_reader(get_args(kind)[0]))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        key, value = get_args(kind)
        return _mapping(_reader(key), _reader(value), plain=(key is str, value is str))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum(kind)
    if dataclasses.is_dataclass(kind):
        return _Dataclass(cast(type[Any], kind))
    raise TypeError(f"no way to read {kind}")


def _exact(kind: type) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise _WrongError(f"wants {kind.__name__}, not {type(value).__name__}")
        return value

    return read


def _float(value: Any) -> float:
    if type(value) not in (float, int):
        raise _WrongError(f"wants a number, not {type(value).__name__}")
    return float(value)


def _optional(kinds: tuple[Any, ...]) -> _Reader:
    (inner,) = (kind for kind in kinds if kind is not types.NoneType)
    read = _reader(inner)
    return lambda value: None if value is None else read(value)


def _tuple(read: _Reader) -> _Reader:
    def read_all(value: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise _WrongError(f"wants a list, not {type(value).__name__}")
        try:
            return tuple([read(one) for one in value])
        except _WrongError as error:
            error.path.append("[]")
            raise

    return read_all


def _mapping(read_key: _Reader, read_value: _Reader, *, plain: tuple[bool, bool]) -> _Reader:
    def read_all(value: Any) -> dict[Any, Any]:
        if type(value) is not dict:
            raise _WrongError(f"wants an object, not {type(value).__name__}")
        if plain == (True, True) and {type(one) for one in value.values()} <= {str}:
            return value
        found = {}
        for key, one in value.items():
            try:
                found[read_key(key)] = read_value(one)
            except _WrongError as error:
                error.path.append(str(key))
                raise
        return found

    return read_all


def _enum(kind: type[Enum]) -> _Reader:
    members = {member.value: member for member in kind}

    def read(value: Any) -> Enum:
        found = members.get(value) if type(value) is str else None
        if found is None:
            raise _WrongError(f"wants one of {', '.join(map(str, members))}, not {value!r}")
        return found

    return read


def _one_of(words: tuple[Any, ...]) -> _Reader:
    def read(value: Any) -> Any:
        if type(value) is not str or value not in words:
            raise _WrongError(f"wants one of {', '.join(map(str, words))}, not {value!r}")
        return value

    return read


class _Dataclass:
    """Reads one dataclass; what it has no field for is passed over."""

    def __init__(self, kind: type[Any]) -> None:
        self._kind = kind
        self._exact: list[tuple[str, type]] = []
        self._others: list[tuple[str, _Reader]] | None = None
        self._needed = frozenset(
            field.name
            for field in dataclasses.fields(kind)
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        )

    def __call__(self, value: Any) -> Any:
        if type(value) is not dict:
            raise _WrongError(f"wants an object, not {type(value).__name__}")
        others = self._read_hints() if self._others is None else self._others
        try:
            given = {name: read(value[name]) for name, read in others if name in value}
        except _WrongError as error:
            error.path.append(self._culprit(value))
            raise
        for name, kind in self._exact:
            if name in value:
                one = given[name] = value[name]
                if type(one) is not kind:
                    wrong = _WrongError(f"wants {kind.__name__}, not {type(one).__name__}")
                    wrong.path.append(name)
                    raise wrong
        if not self._needed <= given.keys():
            missing = ", ".join(sorted(self._needed - given.keys()))
            raise _WrongError(f"{missing} is missing")
        return self._kind(**given)

    def _read_hints(self) -> list[tuple[str, _Reader]]:
        """Look at the types late, because one may hold itself."""
        hints = get_type_hints(self._kind)
        self._others = []
        for field in dataclasses.fields(self._kind):
            kind = hints[field.name]
            while isinstance(kind, NewType):
                kind = kind.__supertype__
            if kind in _EXACT:
                self._exact.append((field.name, kind))
            else:
                self._others.append((field.name, _reader(kind)))
        return self._others

    def _culprit(self, value: dict[str, Any]) -> str:
        for name, read in self._others or ():
            if name not in value:
                continue
            try:
                read(value[name])
            except _WrongError:
                return name
        return ""
