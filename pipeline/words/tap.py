# SPDX-License-Identifier: LGPL-2.1-or-later
"""TAP, the Test Anything Protocol, versions 12 to 14 (testanything.org): what a test program says.

The program is hostile or broken at will. What is no TAP is passed over, as the specification
says; a stream whose numbers do not agree has a ``problem`` that names its line.
"""

import re
from dataclasses import dataclass

_PLAN = re.compile(r"1\.\.(\d{1,9})(?:\s*#\s*(.*))?\s*")
_POINT = re.compile(r"(?P<bad>not )?ok(?:[ \t]+(?P<number>\d{1,9})\b)?(?P<rest>(?:[ \t#-].*)?)")
_DIRECTIVE = re.compile(r"(?<!\\)#\s*(?P<word>skip|todo)\S*(?:\s+(?P<reason>.*))?", re.IGNORECASE)
_BAIL = re.compile(r"Bail out!\s*(.*)", re.IGNORECASE)
_MOST_POINTS = 100_000


@dataclass(frozen=True, kw_only=True)
class Point:
    """One line ``ok`` or ``not ok``; ``directive`` is ``skip``, ``todo`` or empty."""

    number: int
    ok: bool
    name: str = ""
    directive: str = ""
    reason: str = ""

    @property
    def is_failure(self) -> bool:
        """Tell whether it stands against the program: what is to be done may fail."""
        return not self.ok and self.directive != "todo"


@dataclass(frozen=True, kw_only=True)
class Tap:
    """A whole stream; ``planned`` is None where no plan came.

    ``skipped`` is why the program skipped all, ``bailed`` why it gave up; None where it did not.
    """

    points: tuple[Point, ...] = ()
    planned: int | None = None
    skipped: str | None = None
    bailed: str | None = None
    problem: str = ""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing of TAP came at all."""
        return self.planned is None and not self.points and self.bailed is None

    @property
    def failures(self) -> tuple[Point, ...]:
        """The points that stand against the program."""
        return tuple(point for point in self.points if point.is_failure)


def parse_tap(text: str) -> Tap:
    """Read a stream, to its end or to where the program gave up."""
    points: list[Point] = []
    planned: int | None = None
    skipped: str | None = None
    problem = ""
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.rstrip("\r")
        if line.startswith((" ", "\t")):
            continue  # a subtest, which its parent sums up, or a block of YAML
        bail = _BAIL.match(line)
        if bail:
            return Tap(
                points=tuple(points), planned=planned, bailed=bail[1].strip(), problem=problem
            )
        plan = _PLAN.fullmatch(line)
        if plan:
            if planned is not None:
                problem = problem or f"line {number}: a second plan, {line[:80]!r}"
                continue
            planned = int(plan[1])
            skipped = _skip_all(plan[2] or "") if planned == 0 else None
            continue
        found = _POINT.fullmatch(line)
        if found is None:
            continue
        due = points[-1].number + 1 if points else 1
        point = _point(found, due)
        if point.number != due:
            problem = problem or f"line {number}: test {point.number} where {due} is due"
        if len(points) >= _MOST_POINTS:
            return Tap(points=tuple(points), problem=f"line {number}: more tests than sense")
        points.append(point)
    return Tap(
        points=tuple(points),
        planned=planned,
        skipped=skipped,
        problem=problem or _counted(points, planned),
    )


def _point(found: "re.Match[str]", due: int) -> Point:
    rest = found["rest"]
    directive = _DIRECTIVE.search(rest)
    name = rest[: directive.start()] if directive else rest
    return Point(
        number=int(found["number"] or due),
        ok=not found["bad"],
        name=name.strip().removeprefix("-").strip(),
        directive=directive["word"].lower() if directive else "",
        reason=(directive["reason"] or "").strip() if directive else "",
    )


def _skip_all(comment: str) -> str:
    return re.sub(r"(?i)^skip\S*\s*", "", comment).strip()


def _counted(points: list[Point], planned: int | None) -> str:
    if planned is None:
        return f"no plan (1..N) came, of {len(points)} tests"
    if planned != len(points):
        return f"{planned} tests were planned, {len(points)} came"
    return ""
