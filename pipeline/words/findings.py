# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is found wrong in a document, each with its place, collected until all is known.

One mistake is told once: what hangs on a value that is wrong already stays untold.
"""

import difflib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pipeline.words.errors import BadInput, Problem

if TYPE_CHECKING:  # a reader of YAML is not loaded for whoever wants no more than these words
    from pipeline.words.yaml_nodes import Document, Path

_LONGEST = 400
"""Characters of a message; what it quotes may be a whole text."""


class Wrong(ValueError):
    """One value is not what it has to be."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Findings:
    """The problems and warnings of one document."""

    def __init__(self, document: "Document") -> None:
        self.document = document
        self._problems = list(document.problems)
        self._warnings: list[Problem] = []
        self._wrong: set[Path] = set()
        self._left_out: dict[Path, list[int]] = {}

    def problem(
        self, path: Sequence[str | int], message: str, hint: str = "", *, key: bool = False
    ) -> None:
        """Note that what stands at a path is wrong; ``key`` means the key, not its value."""
        self.mark(path)
        self._problems.append(self._place(path, message, hint, key=key))

    def warning(
        self, path: Sequence[str | int], message: str, hint: str = "", *, key: bool = False
    ) -> None:
        """Note what is odd but can be worked with."""
        self._warnings.append(self._place(path, message, hint, key=key))

    def mark(self, path: Sequence[str | int]) -> None:
        """Count a path as wrong without a word, because its cause was told."""
        self._wrong.add(tuple(path))

    def is_wrong(self, *path: str | int) -> bool:
        """Tell whether what stands at a path, or anything around it, was told to be wrong."""
        return any(path[:end] in self._wrong for end in range(len(path) + 1))

    def has_wrong(self, path: Sequence[str | int]) -> bool:
        """Tell whether something within what stands at a path was told to be wrong."""
        return any(wrong[: len(path)] == tuple(path) for wrong in self._wrong)

    def leave_out(self, path: "Path") -> None:
        """Say that an entry was taken out of its list: those after it have moved up."""
        gone = self._left_out.setdefault(path[:-1], [])
        gone.append(_before(int(path[-1]), gone))
        gone.sort()

    def problems(self) -> tuple[Problem, ...]:
        """List the problems in the order of the text."""
        return in_text_order(self._problems)

    def warnings(self) -> tuple[Problem, ...]:
        """List the warnings in the order of the text."""
        return in_text_order(self._warnings)

    def raise_problems(self) -> None:
        """Raise BadInput with every problem in the order of the text, if there is any."""
        if self._problems:
            problems = in_text_order(self._problems)
            count = "1 error" if len(problems) == 1 else f"{len(problems)} errors"
            name = self.document.name
            raise BadInput(f"{count} in {name}", where=name, problems=problems)

    def _place(self, path: Sequence[str | int], message: str, hint: str, *, key: bool) -> Problem:
        if path and isinstance(path[-1], int) and not key:
            path = (*path[:-1], _before(path[-1], self._left_out.get(tuple(path[:-1]), [])))
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + "…"
        return Problem(place=self.document.place(path, key=key), message=message, hint=hint)


def _before(place: int, gone: Iterable[int]) -> int:
    """Tell where in the text an entry stood, now that those before it are gone."""
    for one in gone:
        if one <= place:
            place += 1
    return place


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that looks most like one that is not; empty where none does."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else ""


def one_of(word: str, known: Iterable[str], *, most: int = 12) -> str:
    """Suggest the nearest known word, or list them where there are few."""
    words = sorted(known)
    near = did_you_mean(word, words)
    return near or (f"there are: {', '.join(words)}" if 0 < len(words) <= most else "")


def in_text_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Sort problems by their places in one text, each once."""

    def position(problem: Problem) -> tuple[int, int]:
        *_, line, column = problem.place.split(":")
        return int(line), int(column)

    return tuple(sorted(dict.fromkeys(problems), key=position))
