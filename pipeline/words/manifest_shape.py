# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whether a document has the shape that the schema wants; each thing that has not, in words.

What is wrong is told, taken out, and the rest read on: so that a misspelt key does not hide a
ring of components. What the values stand for is settled by whoever gets the keys.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pipeline.words.findings import Findings, Wrong, did_you_mean, one_of
from pipeline.words.manifest_schema import (
    VERSION_KEY,
    ManifestKeys,
    keys_at,
    names_of,
    within,
)
from pipeline.words.manifest_values import kind_of
from pipeline.words.yaml_nodes import Path

_WANTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "int_type": "a whole number",
    "list_type": "a list",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
}
_TRUTHS = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_ROUNDS = 100


def read_keys(findings: Findings) -> ManifestKeys:
    """Read the document of the findings; what is wrong is among them, and left out here.

    In a manifest of the original's version, an unknown key is a warning.
    """
    data = findings.document.root.plain()
    if not isinstance(data, dict):
        findings.problem((), f"a manifest is a mapping, this is {kind_of(data)}", "KEY: VALUE")
        return ManifestKeys()
    for _ in range(_ROUNDS):
        try:
            return ManifestKeys.model_validate(data)
        except ValidationError as error:
            shape = _Shape(findings, data)
            # From the back, so that what is taken out of a list moves nothing yet to be told.
            for one in reversed(error.errors(include_url=False)):
                shape.tell(one)
    raise AssertionError(f"{findings.document.name} is still wrong after {_ROUNDS} rounds")


class _Shape:
    """Tells of errors and takes them out of the data."""

    def __init__(self, findings: Findings, data: dict[str, Any]) -> None:
        self._findings, self._data = findings, data
        self._original = VERSION_KEY in data

    def tell(self, error: Mapping[str, Any]) -> None:
        """Note one error of pydantic's, and remove what it is about."""
        path: Path = tuple(error["loc"])
        if error["type"] == "extra_forbidden":
            self._unknown_key(path)
        elif path and path[-1] == "[key]":
            path = path[:-1]
            self._findings.problem(path, *_words(error), key=True)
        else:
            self._findings.problem(path, *_words(error))
        self._remove(path)

    def _unknown_key(self, path: Path) -> None:
        key = str(path[-1])
        kind = keys_at(path[:-1]) or ManifestKeys
        known = names_of(kind)
        inner = within(kind, key)
        near = "" if inner else did_you_mean(key, known)
        hint = f"write it within {inner}" if inner else near or one_of(key, known)
        message = f"unknown key {key!r}"
        if self._original:
            self._findings.warning(path, message, near, key=True)
            return
        self._findings.problem(path, message, hint, key=True)
        if near:
            meant = next(name for name in known if f"{name!r}" in near)
            # What is missing there was told just now.
            self._findings.mark((*path[:-1], meant))

    def _remove(self, path: Path) -> None:
        """Take a value out; an entry of a list of mappings becomes an empty one in its place."""
        parent: Any = None
        value: Any = self._data
        depth = 0
        for step in path:
            if not _has(value, step):
                break
            parent, value = value, value[step]
            depth += 1
        if parent is None:
            return
        there = path[:depth]
        self._findings.mark(there)
        if isinstance(parent, dict):
            del parent[there[-1]]
        elif keys_at(there) is not None:
            parent[there[-1]] = {}
        else:
            del parent[there[-1]]
            self._findings.leave_out(there)


def _has(value: Any, step: str | int) -> bool:
    if isinstance(value, dict):
        return step in value
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _words(error: Mapping[str, Any]) -> tuple[str, str]:
    """Say an error of pydantic's as we say things: what is wanted, and what is there."""
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    wrong = context.get("error")
    if isinstance(wrong, Wrong):
        return wrong.message, wrong.hint
    if kind == "literal_error":
        return _choice(given, re.findall(r"'([^']*)'", context["expected"]), context["expected"])
    if kind == "greater_than_equal":
        return f"wants at least {context['ge']}, this is {given}", ""
    if kind == "less_than_equal":
        return f"wants at most {context['le']}, this is {given}", ""
    if kind in _WANTED:
        return f"wants {_WANTED[kind]}, this is {kind_of(given)}", _instead(kind, given)
    return str(error["msg"]), ""


def _choice(given: Any, choices: Sequence[str], expected: str) -> tuple[str, str]:
    if not isinstance(given, str):
        return f"wants {expected.replace(chr(39), '')}, this is {kind_of(given)}", ""
    return f"{given!r} is not known here", one_of(given, choices)


def _instead(kind: str, given: Any) -> str:
    if kind == "bool_type" and isinstance(given, str) and given.lower() in _TRUTHS:
        return f"did you mean {_TRUTHS[given.lower()]}?"
    if kind == "list_type" and isinstance(given, str) and len(given) < 60:
        return f"did you mean [{given}]?"
    if kind == "string_type" and isinstance(given, bool | int | float):
        return "write it in quotes"
    return ""
