# SPDX-License-Identifier: LGPL-2.1-or-later
"""Desktop entries: what a ``.desktop`` file says, read strictly, and how it is started.

A tree's files are somebody's whom we do not trust, and a desktop that reads them loosely hides
what another one will refuse. Format: the Desktop Entry Specification 1.5,
https://specifications.freedesktop.org/desktop-entry-spec/latest/
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLACE = "usr/share/applications"
SUITE = "apps"
LARGEST = 256 * 1024
"""Bytes of a ``.desktop`` file; translated ones have some ten thousand."""
_GROUP = "Desktop Entry"
_HEADER = re.compile(r"\[([^\[\]\x00-\x1f\x7f]+)\]\s*")
_KEY = re.compile(r"([A-Za-z0-9-]+)(?:\[([A-Za-z0-9_.@-]+)\])?")
_ESCAPES = {"s": " ", "n": "\n", "t": "\t", "r": "\r", "\\": "\\"}
_RESERVED = frozenset("\"'\\><~|&;$*?#()`\t\n")
_QUOTED = frozenset('"`$\\')
APPLICATION = "Application"
SESSIONS = (APPLICATION, "XSession")
"""What ``Type`` is of a session; the second is none of the specification's, but twm's and older."""
_FILES, _ALONE, _OLD = "fu", "FU", "dDnNvm"
_MOST_WORDS = 100
_SKIPS = {
    "Hidden": "Hidden=true: as if it were not there",
    "NoDisplay": "NoDisplay=true: nobody is offered it",
}


@dataclass(frozen=True, kw_only=True)
class App:
    """An application: ``name`` is its desktop file ID without the ending.

    ``icon`` is a name in a theme or an absolute path. ``problem`` says why it cannot be started,
    ``skip`` why it is not to be.
    """

    name: str
    title: str = ""
    argv: tuple[str, ...] = ()
    icon: str = ""
    try_exec: str = ""
    is_terminal: bool = False
    problem: str = ""
    skip: str = ""
    icon_file: str = ""
    """The path of its icon in the tree."""
    icon_problem: str = ""


class _Malformed(Exception):
    pass


def app_name(path: str) -> str:
    """Name the desktop file ID of a path below ``PLACE``, without its ending."""
    return path.removesuffix(".desktop").replace("/", "-")


def parse_app(
    name: str, data: bytes, *, desktop: str = "", types: Sequence[str] = (APPLICATION,)
) -> App:
    """Read a desktop entry; what is wrong with it is its ``problem``, with the line.

    ``desktop`` is the name of the session, of which entries may be meant or not. ``types`` are
    those that can be started.
    """
    try:
        return _App(name, read_group(data), desktop, types).read()
    except _Malformed as error:
        return App(name=name, problem=str(error))


def read_group(data: bytes) -> Mapping[str, tuple[int, str]]:
    """Read the group that describes the entry: key → (line, value), translations left out.

    Raises for what is malformed anywhere in the file; see ``parse_app``.
    """
    if len(data) > LARGEST:
        raise _Malformed(f"larger than {LARGEST} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        at = data[: error.start].count(b"\n") + 1
        raise _Malformed(f"line {at}: not UTF-8") from error
    found: dict[str, dict[str, tuple[int, str]]] = {}
    group, seen = "", set[str]()
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        header = _HEADER.fullmatch(line)
        if header is not None:
            group, seen = header[1], set()
            if group in found:
                raise _Malformed(f"line {number}: a second group [{group}]")
            if not found and group != _GROUP:
                raise _Malformed(f"line {number}: its first group is not [{_GROUP}]")
            found[group] = {}
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        if not group or not separator:
            where = "outside of any group" if separator else "neither [GROUP] nor KEY=VALUE"
            raise _Malformed(f"line {number}: {where}")
        shape = _KEY.fullmatch(key)
        if shape is None:
            raise _Malformed(f"line {number}: {key[:40]!r} is no key")
        if key in seen:
            raise _Malformed(f"line {number}: a second {key}=")
        seen.add(key)
        if shape[2] is None:
            found[group][key] = (number, value)
    if _GROUP not in found:
        raise _Malformed(f"it has no group [{_GROUP}]")
    return found[_GROUP]


class _App:
    """Reads one entry's keys; each that is wrong raises."""

    def __init__(
        self,
        name: str,
        keys: Mapping[str, tuple[int, str]],
        desktop: str,
        types: Sequence[str],
    ) -> None:
        self._name, self._keys, self._desktop, self._types = name, keys, desktop, types

    def read(self) -> App:
        kind, title = self._text("Type"), self._text("Name")
        if kind not in (*self._types, "Link", "Directory"):
            raise self._wrong("Type", "is none of Application, Link, Directory")
        if not title:
            raise self._wrong("Name", "is needed")
        skip = self._skip(kind)
        exec_ = self._text("Exec")
        if skip:
            return App(name=self._name, title=title, skip=skip)
        if not exec_ and not self._truth("DBusActivatable"):
            raise self._wrong("Exec", "is needed, the command to run")
        if not exec_:
            return App(name=self._name, title=title, skip="it is started by D-Bus alone")
        icon = self._text("Icon")
        argv = self._argv(exec_, title, icon)
        return App(
            name=self._name,
            title=title,
            argv=argv,
            icon=icon,
            try_exec=self._text("TryExec"),
            is_terminal=self._truth("Terminal"),
        )

    def _skip(self, kind: str) -> str:
        if kind not in self._types:
            return f"Type={kind} is nothing to start"
        for key, why in _SKIPS.items():
            if self._truth(key):
                return why
        only, never = self._list("OnlyShowIn"), self._list("NotShowIn")
        if only and self._desktop not in only:
            return f"OnlyShowIn={';'.join(only)[:80]}"
        if self._desktop in never:
            return f"NotShowIn={';'.join(never)[:80]}"
        return ""

    def _text(self, key: str) -> str:
        value = self._keys.get(key, (0, ""))[1]
        parts = re.split(r"\\(.?)", value)
        for at in range(1, len(parts), 2):
            if parts[at] not in _ESCAPES and not (key == "Exec" or parts[at] == ";"):
                raise self._wrong(key, f"has the escape \\{parts[at]}, which is none")
            # What is none of these in Exec is for its own rules.
            parts[at] = _ESCAPES.get(parts[at], f"\\{parts[at]}")
        text = "".join(parts)
        if "\0" in text:
            raise self._wrong(key, "has a NUL in it")
        return text

    def _list(self, key: str) -> tuple[str, ...]:
        return tuple(
            part.replace("\\;", ";")
            for part in re.split(r"(?<!\\);", self._text(key))
            if part.strip()
        )

    def _truth(self, key: str) -> bool:
        text = self._text(key)
        if text not in ("", "true", "false"):
            raise self._wrong(key, f"is {text[:40]!r}, neither true nor false")
        return text == "true"

    def _argv(self, text: str, title: str, icon: str) -> tuple[str, ...]:
        argv: list[str] = []
        for word, is_quoted in self._words(text):
            if is_quoted:
                if re.search(r"%[^%]", word):
                    raise self._wrong("Exec", f"has a field code within quotes: {word[:40]!r}")
                argv.append(word.replace("%%", "%"))
            elif word == "%i":
                argv += ["--icon", icon] if icon else []
            elif word not in {f"%{code}" for code in _FILES + _ALONE + _OLD}:
                argv.append(self._expanded(word, title))
        if not argv or "=" in argv[0] or not argv[0]:
            raise self._wrong("Exec", "names no program")
        if len(argv) > _MOST_WORDS:
            raise self._wrong("Exec", f"has more than {_MOST_WORDS} words")
        return tuple(argv)

    def _expanded(self, word: str, title: str) -> str:
        """Put what they stand for in the place of field codes; no file is given to it."""

        def put(found: re.Match[str]) -> str:
            code = found[1]
            if code in {"c", "k", "%"}:
                return {"c": title, "k": f"/{PLACE}/{self._name}.desktop", "%": "%"}[code]
            if code and code in _FILES + _OLD:
                return ""
            if code and code in _ALONE + "i":
                raise self._wrong("Exec", f"has %{code} within a word")
            raise self._wrong("Exec", f"has %{code}, which is no field code")

        return re.sub(r"%(.?)", put, word)

    def _words(self, text: str) -> list[tuple[str, bool]]:
        """Split a command line by the rules of Exec, which are not a shell's."""
        words: list[tuple[str, bool]] = []
        at = 0
        while at < len(text):
            if text[at] == " ":
                at += 1
            elif text[at] == '"':
                word, at = self._quoted(text, at + 1)
                if at < len(text) and text[at] != " ":
                    raise self._wrong("Exec", "has a quote that ends within a word")
                words.append((word, True))
            else:
                end = text.find(" ", at)
                end = len(text) if end < 0 else end
                bad = next((char for char in text[at:end] if char in _RESERVED), "")
                if bad:
                    raise self._wrong("Exec", f"has {bad!r}, which has to be quoted")
                words.append((text[at:end], False))
                at = end
        return words

    def _quoted(self, text: str, at: int) -> tuple[str, int]:
        word: list[str] = []
        while at < len(text):
            char = text[at]
            if char == '"':
                return "".join(word), at + 1
            if char == "\\":
                at += 1
                char = text[at : at + 1]
                if char not in _QUOTED or not char:
                    raise self._wrong("Exec", f"has \\{char} within quotes")
            elif char in _QUOTED:
                raise self._wrong("Exec", f"has {char!r} within quotes, without a backslash")
            word.append(char)
            at += 1
        raise self._wrong("Exec", "has a quote that does not end")

    def _wrong(self, key: str, what: str) -> _Malformed:
        line = self._keys.get(key, (0, ""))[0]
        return _Malformed(f"line {line}: {key} {what}" if line else f"{key} {what}")
