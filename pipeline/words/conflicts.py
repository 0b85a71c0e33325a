# SPDX-License-Identifier: LGPL-2.1-or-later
"""Paths that two layers of a tree both want, and what is said of them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.words.errors import Failed

_SHOWN = 5


class Meeting(StrEnum):
    """What one layer has where another has something else."""

    DIRECTORY = "a directory"
    FILE = "a file"
    SYMLINK = "a symbolic link"


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Two owners of one path; ``second`` lies over ``first``."""

    path: str
    first: str
    second: str
    was: Meeting = Meeting.FILE
    now: Meeting = Meeting.FILE

    @property
    def is_of_kind(self) -> bool:
        """Tell whether they differ in what they are, not only in what they hold."""
        return self.was is not self.now

    def __str__(self) -> str:
        if self.is_of_kind:
            return f"{self.path}: {self.was} of {self.first}, {self.now} of {self.second}"
        return f"{self.path}: {self.first} and {self.second} differ"


def refuse(conflicts: Sequence[Conflict], what: str, *, where: str, hint: str = "") -> None:
    """Raise Failed that names conflicts, a few for each pair of owners; nothing where none."""
    if not conflicts:
        return
    raise Failed(f"{what}: {'; '.join(told(conflicts))}", where=where, hint=hint)


def told(conflicts: Iterable[Conflict], shown: int = _SHOWN) -> list[str]:
    """Describe conflicts, the first few of each pair of owners and a count of the others."""
    pairs: dict[tuple[str, str], list[Conflict]] = defaultdict(list)
    for one in sorted(conflicts, key=lambda one: (one.first, one.second, one.path)):
        pairs[one.first, one.second].append(one)
    lines = []
    for (first, second), of_pair in pairs.items():
        lines += [str(one) for one in of_pair[:shown]]
        if len(of_pair) > shown:
            lines.append(f"{len(of_pair) - shown} more paths of {first} and {second}")
    return lines
