# SPDX-License-Identifier: LGPL-2.1-or-later
"""YAML text to plain values of which every one knows its line and column.

JSON is read too, being a part of YAML. The text is hostile: depth and size are bounded, also by
what aliases would grow to, tags make nothing, and duplicate keys are told. Plain words mean what
the core schema of YAML 1.2 says: ``no``, ``on`` and ``22:30`` are text, which PyYAML's own
resolver turns into false, true and 1350. What the values stand for is not known here.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml import events as ev

from pipeline.words.errors import BadInput, Problem

MAX_TEXT = 4 * 1024**2
"""Characters of a text."""
MAX_DEPTH = 40
MAX_NODES = 200_000
"""Values of a document, with all aliases written out."""

Path = tuple[str | int, ...]
"""The way from the top to a value: keys of mappings, positions in lists."""

# libyaml is ten times as fast; it is missing where PyYAML was built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATES = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
)
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_PREFIXED = re.compile(r"0o[0-7]{1,20}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.inf|\.nan", re.I)
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")
_TAGS = {"mapping": "tag:yaml.org,2002:map", "list": "tag:yaml.org,2002:seq"}


@dataclass(slots=True, kw_only=True, eq=False)
class Node:
    """One value; ``size`` and ``height`` are those of the tree below it, aliases written out."""

    line: int
    column: int
    size: int = 1
    height: int = 0

    def plain(self) -> Any:
        """Make the value, without places."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True, eq=False)
class Scalar(Node):
    """A text, number, truth or nothing; ``text`` is as written, without quotes."""

    value: Any
    text: str

    def plain(self) -> Any:
        """Tell the value."""
        return self.value


@dataclass(slots=True, kw_only=True, eq=False)
class List(Node):
    """A sequence."""

    items: list[Node] = field(default_factory=list)

    def plain(self) -> Any:
        """Make a list."""
        return [item.plain() for item in self.items]


@dataclass(slots=True, kw_only=True, eq=False)
class Mapping(Node):
    """Keys in the order of the text; ``keys`` has each key's own node, for its place."""

    keys: dict[str, Scalar] = field(default_factory=dict)
    values: dict[str, Node] = field(default_factory=dict)

    def plain(self) -> Any:
        """Make a dictionary."""
        return {key: value.plain() for key, value in self.values.items()}


@dataclass(frozen=True, kw_only=True)
class Document:
    """A text that was read: its nodes, and what is wrong with it so far."""

    name: str
    root: Node
    problems: tuple[Problem, ...] = ()

    def find(self, path: Sequence[str | int]) -> tuple[Path, Node]:
        """Follow a path as far as there are nodes; tells how far that was."""
        node, done = self.root, []
        for step in path:
            below = _below(node, step)
            if below is None:
                break
            node = below
            done.append(step)
        return tuple(done), node

    def place(self, path: Sequence[str | int], *, key: bool = False) -> str:
        """Write ``file:line:column`` of the nearest value on the path, or of its key."""
        there, node = self.find(path)
        if key and there:
            _, parent = self.find(there[:-1])
            node = parent.keys[str(there[-1])] if isinstance(parent, Mapping) else node
        return f"{self.name}:{node.line}:{node.column}"

    def line(self, path: Sequence[str | int]) -> int:
        """Tell the line of the nearest value on the path."""
        return self.find(path)[1].line


def read_nodes(text: str, name: str) -> Document:
    """Read one document; ``name`` is what places begin with.

    Raises BadInput for what is no YAML or too large; duplicate keys are among the document's
    problems, so that they can be told together with what else is wrong.
    """
    bad = _UNPRINTABLE.search(text.removeprefix("\ufeff"))
    if bad:
        line, column = _position(text.removeprefix("\ufeff"), bad.start())
        raise _refusal(name, line, column, f"character U+{ord(bad[0]):04X} cannot stand in YAML")
    if len(text) > MAX_TEXT:
        raise _refusal(name, 1, 1, f"{len(text)} characters are too many, {MAX_TEXT} is the limit")
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[", '"')):
        # JSON's way to write what is beyond U+FFFF is the one thing that YAML does not read.
        text = _SURROGATES.sub(_joined, text)
    builder = _Builder(name)
    try:
        root = builder.document(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _refusal(name, line, column, f"not YAML: {_reason(error)}") from error
    return Document(name=name, root=root, problems=tuple(builder.problems))


class _Builder:
    """Makes nodes from the parser's events."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._anchors: dict[str, Node | None] = {}
        self.problems: list[Problem] = []

    def document(self, events: Iterator[ev.Event]) -> Node:
        root: Node | None = None
        for event in events:
            if isinstance(event, ev.DocumentStartEvent):
                if root is not None:
                    raise self._refuse(event, "a second document begins; one file holds one")
                root = self._node(next(events), events, 0)
        if root is None:
            raise _refusal(self._name, 1, 1, "the file is empty")
        return root

    def _node(self, event: ev.Event, events: Iterator[ev.Event], depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH}")
        if isinstance(event, ev.AliasEvent):
            return self._alias(event, depth)
        assert isinstance(event, ev.NodeEvent)
        if event.anchor is not None:
            # Known while it is read, so that one within itself is told as that.
            self._anchors[event.anchor] = None
        node: Node
        if isinstance(event, ev.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, ev.SequenceStartEvent):
            node = self._list(event, events, depth)
        else:
            assert isinstance(event, ev.MappingStartEvent)
            node = self._mapping(event, events, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _alias(self, event: ev.AliasEvent, depth: int) -> Node:
        assert event.anchor is not None
        if event.anchor not in self._anchors:
            raise self._refuse(event, f"there is no anchor &{event.anchor} before this alias")
        node = self._anchors[event.anchor]
        if node is None:
            raise self._refuse(event, f"*{event.anchor} stands within &{event.anchor} itself")
        if depth + node.height > MAX_DEPTH:
            raise self._refuse(event, f"nested deeper than {MAX_DEPTH}")
        return node

    def _scalar(self, event: ev.ScalarEvent) -> Scalar:
        line, column = _place(event)
        value: Any = event.value
        if event.tag is None and event.implicit[0]:
            value = _resolve(event.value)
        elif event.tag is not None and event.tag not in _TEXT_TAGS:
            raise self._refuse(event, f"the tag {event.tag} means nothing here")
        return Scalar(line=line, column=column, value=value, text=event.value)

    def _list(self, event: ev.SequenceStartEvent, events: Iterator[ev.Event], depth: int) -> List:
        self._refuse_tag(event, "list")
        line, column = _place(event)
        node = List(line=line, column=column)
        for inner in events:
            if isinstance(inner, ev.SequenceEndEvent):
                break
            item = self._node(inner, events, depth + 1)
            self._grow(node, item, inner)
            node.items.append(item)
        return node

    def _mapping(
        self, event: ev.MappingStartEvent, events: Iterator[ev.Event], depth: int
    ) -> Mapping:
        self._refuse_tag(event, "mapping")
        line, column = _place(event)
        node = Mapping(line=line, column=column)
        for inner in events:
            if isinstance(inner, ev.MappingEndEvent):
                break
            key = self._node(inner, events, depth + 1)
            if not isinstance(key, Scalar):
                raise self._refuse(inner, "a key must be a word")
            value = self._node(next(events), events, depth + 1)
            self._grow(node, value, inner)
            if key.text in node.keys:
                self._duplicate(node.keys[key.text], key)
                continue
            node.keys[key.text] = key
            node.values[key.text] = value
        return node

    def _grow(self, node: Node, child: Node, event: ev.Event) -> None:
        node.size += child.size
        node.height = max(node.height, child.height + 1)
        if node.size > MAX_NODES:
            raise self._refuse(event, f"more than {MAX_NODES} values, with aliases written out")

    def _duplicate(self, first: Scalar, second: Scalar) -> None:
        self.problems.append(
            Problem(
                place=f"{self._name}:{second.line}:{second.column}",
                message=f"duplicate key {second.text!r}",
                hint=f"it was given on line {first.line} already",
            )
        )

    def _refuse_tag(self, event: ev.CollectionStartEvent, kind: str) -> None:
        if event.tag not in (None, "!", _TAGS[kind]):
            raise self._refuse(event, f"the tag {event.tag} means nothing here")

    def _refuse(self, event: ev.Event, message: str) -> BadInput:
        return _refusal(self._name, *_place(event), message)


def _below(node: Node, step: str | int) -> Node | None:
    if isinstance(node, Mapping) and isinstance(step, str):
        return node.values.get(step)
    if isinstance(node, List) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def _resolve(text: str) -> Any:
    """Tell what a plain word means by YAML 1.2's core schema (its section 10.3.2)."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _PREFIXED.fullmatch(text):
        return int(text, 0)
    # Hundreds of digits are more likely a checksum than a quantity.
    if len(text) <= 30 and _FLOAT.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def _joined(found: re.Match[str]) -> str:
    high, low = int(found[2], 16), int(found[3], 16)
    return f"{found[1]}\\U{0x10000 + ((high & 0x3FF) << 10) + (low & 0x3FF):08X}"


def _place(event: ev.Event) -> tuple[int, int]:
    mark: Any = event.start_mark
    return mark.line + 1, mark.column + 1


def _position(text: str, offset: int) -> tuple[int, int]:
    before = text[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def _reason(error: yaml.MarkedYAMLError) -> str:
    told = [part for part in (error.context, error.problem) if part]
    return ", ".join(told) or "it cannot be read"


def _refusal(name: str, line: int, column: int, message: str) -> BadInput:
    problem = Problem(place=f"{name}:{line}:{column}", message=message)
    return BadInput(f"{name} cannot be read", where=name, problems=(problem,))
