# SPDX-License-Identifier: LGPL-2.1-or-later
"""Known issues: failures that somebody is at work on, and which do not count until a date."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase

MOST_SEARCHED = 4 * 1024**2
"""Characters of a log or journal that patterns are looked for in: its end."""
_LONGEST_LINE = 4096


@dataclass(frozen=True, kw_only=True)
class KnownIssue:
    """One of them; ``name`` is its file's.

    It is of failures whose log has a line with ``log``, and whose guest's journal has one with
    ``journal``, each a regular expression where it is not empty. ``suites`` and ``tests`` are
    shell patterns of names; ``until`` is the last day on which it excuses anything.
    """

    name: str
    link: str
    until: date
    suites: tuple[str, ...]
    log: str = ""
    journal: str = ""
    tests: tuple[str, ...] = ("*",)


def matching(
    issues: Sequence[KnownIssue], suite: str, test: str, log: str, journal: str
) -> KnownIssue | None:
    """Find what a failure is of; one that is over is told only where no other fits."""
    found = [one for one in issues if _fits(one, suite, test, log, journal)]
    return max(found, key=lambda one: one.until, default=None)


def _fits(issue: KnownIssue, suite: str, test: str, log: str, journal: str) -> bool:
    return (
        any(fnmatchcase(suite, one) for one in issue.suites)
        and any(fnmatchcase(test, one) for one in issue.tests)
        and (not issue.log or _has(issue.log, log))
        and (not issue.journal or _has(issue.journal, journal))
    )


def _has(pattern: str, text: str) -> bool:
    """Look for a pattern line by line, of a bounded length: the text is a guest's."""
    compiled = re.compile(pattern)
    lines = text[-MOST_SEARCHED:].split("\n")
    return any(compiled.search(line[:_LONGEST_LINE]) for line in lines)
