# SPDX-License-Identifier: LGPL-2.1-or-later
"""The file of a known issue: YAML with few keys, all that is wrong with it told at once."""

import re
from datetime import date
from typing import Any

from pipeline.words.errors import BadInput, Problem
from pipeline.words.findings import Findings, did_you_mean
from pipeline.words.known_issue import KnownIssue
from pipeline.words.yaml_nodes import Mapping, read_nodes

KEYS = ("link", "until", "suites", "tests", "log", "journal")
LARGEST = 64 * 1024
"""Bytes of a file."""
_LONGEST = 1000
_MOST = 200
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_NESTED = re.compile(r"[*+}]\s*\)\s*[*+{]")


def parse_known_issue(data: bytes, place: str, name: str) -> KnownIssue:
    """Read a file; ``place`` is what it is called. Raises BadInput with every problem in it."""
    if len(data) > LARGEST:
        problem = Problem(place=f"{place}:1:1", message=f"larger than {LARGEST} bytes")
        raise BadInput("1 error in " + place, where=place, problems=(problem,))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        line, column = good.count("\n") + 1, len(good) - (good.rfind("\n") + 1) + 1
        problem = Problem(place=f"{place}:{line}:{column}", message="the text is not UTF-8")
        raise BadInput("1 error in " + place, where=place, problems=(problem,)) from error
    findings = Findings(read_nodes(text, place))
    root = findings.document.root
    if not isinstance(root, Mapping):
        findings.problem((), "wants keys and values", "link: https://…")
        findings.raise_problems()
        raise AssertionError("a problem was noted")
    for key in root.values:
        if key not in KEYS:
            findings.problem((key,), f"unknown key {key!r}", did_you_mean(key, KEYS), key=True)
    reader = _Reader(root.plain(), findings)
    found = KnownIssue(
        name=name,
        link=reader.text("link", "where it is worked on"),
        until=reader.day("until"),
        suites=reader.names("suites", ()),
        tests=reader.names("tests", ("*",)),
        log=reader.pattern("log"),
        journal=reader.pattern("journal"),
    )
    if not {"log", "journal"} & set(root.values):
        findings.problem((), "needs log or journal, a pattern of what the failure shows")
    findings.raise_problems()
    return found


class _Reader:
    """Takes one value after the other, and notes what is wrong with each."""

    def __init__(self, values: dict[str, Any], findings: Findings) -> None:
        self._values, self._findings = values, findings

    def text(self, key: str, what: str) -> str:
        if key not in self._values:
            self._findings.problem((), f"needs {key}, {what}")
            return ""
        value = self._values[key]
        if not isinstance(value, str) or not value.strip() or len(value) > _LONGEST:
            self._findings.problem((key,), f"{key} wants a text, {what}")
            return ""
        return value

    def day(self, key: str) -> date:
        value = self.text(key, "the last day on which it excuses, such as 2026-12-31")
        try:
            return date.fromisoformat(value) if _DATE.fullmatch(value) else self._no_day(key, value)
        except ValueError:
            return self._no_day(key, value)

    def _no_day(self, key: str, value: str) -> date:
        if value:
            self._findings.problem((key,), f"{value[:40]!r} is no day", "write YYYY-MM-DD")
        return date.min

    def names(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        if key not in self._values:
            if not default:
                self._findings.problem((), f"needs {key}, a list of names")
            return default
        value = self._values[key]
        given = [value] if isinstance(value, str) else value
        if not isinstance(given, list) or not given or len(given) > _MOST:
            self._findings.problem((key,), f"{key} wants a list of names")
            return default
        for place, one in enumerate(given):
            if not isinstance(one, str) or not one or len(one) > _LONGEST:
                where = (key, place) if isinstance(value, list) else (key,)
                self._findings.problem(where, "wants a name")
        return tuple(str(one) for one in given)

    def pattern(self, key: str) -> str:
        if key not in self._values:
            return ""
        value = self.text(key, "a regular expression of Python's re")
        try:
            compiled = re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            self._findings.problem((key,), f"{key} is no regular expression: {error}")
            return value
        if value and compiled.search(""):
            self._findings.problem((key,), f"{key} fits everything")
        if _NESTED.search(value):
            message = f"{key} repeats what repeats itself, which may take for ever"
            self._findings.problem((key,), message, "write it without a group in the group")
        return value
