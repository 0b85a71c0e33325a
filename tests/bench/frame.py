# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a figure is taken: ours and a baseline in turn, the median of each, a row in a table.

A benchmark is a module ``bench_NAME.py`` beside this file with a function ``bench(scratch)`` that
yields rows. ``scratch`` is an empty directory that is removed afterwards.
"""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

Contender = Callable[[], float]
"""Does one repetition, with what it needs set up before, and tells the seconds that count."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure: seconds of ours and of the baseline; either may be None where there is none.

    ``reach`` says in words what is aimed at, ``reached`` whether it was (None: it is a report).
    ``note`` tells what a reader must know, such as a baseline that was not measured here.
    """

    name: str
    ours: float | None
    baseline: float | None = None
    against: str = ""
    reach: str = ""
    reached: bool | None = None
    note: str = ""
    rounds: int = 1

    @property
    def ratio(self) -> float | None:
        """How many times as long the baseline takes."""
        if self.ours is None or self.baseline is None or self.ours <= 0:
            return None
        return self.baseline / self.ours


def timed(work: Callable[[], object]) -> float:
    """Tell the seconds that a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def interleaved(*contenders: Contender, rounds: int = 5, warm: int = 1) -> tuple[float, ...]:
    """Run contenders in turn and tell the median seconds of each.

    In turn, so that what else the machine does hits all of them. The first ``warm`` rounds fill
    the caches and do not count.
    """
    times: list[list[float]] = [[] for _ in contenders]
    for number in range(warm + rounds):
        for contender, taken in zip(contenders, times, strict=True):
            seconds = contender()
            if number >= warm:
                taken.append(seconds)
    return tuple(statistics.median(taken) for taken in times)


def p95(values: Sequence[float]) -> float:
    """Tell what 95 of 100 are not above."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def table(rows: Sequence[Row]) -> str:
    """Write rows for a terminal."""
    head = ("", "ours", "baseline", "ratio", "reach", "")
    lines = [head, *map(_cells, rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(head))]
    texts = []
    for line, row in zip(lines, [None, *rows], strict=True):
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:4], widths[1:4], strict=True)]
        cells += [cell.ljust(width) for cell, width in zip(line[4:], widths[4:], strict=True)]
        texts.append("  ".join(cells).rstrip())
        for extra in (row.against and f"against {row.against}", row.note) if row else ():
            texts += [f"    {extra}"] if extra else []
    return "\n".join(texts)


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "" if row.ratio is None else f"{row.ratio:.1f} x"
    mark = {True: "reached", False: "NOT REACHED", None: ""}[row.reached]
    return (row.name, _seconds(row.ours), _seconds(row.baseline), ratio, row.reach, mark)


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f} s"


def write_json(rows: Iterable[Row], path: Path) -> None:
    """Write rows for programs; rows of other benchmarks that are there already stay."""
    new = [_plain(row) for row in rows]
    names = {row["name"] for row in new}
    old = json.loads(path.read_text())["rows"] if path.is_file() else []
    kept = [row for row in old if row["name"] not in names]
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"machine": _machine(), "rows": sorted(kept + new, key=lambda row: str(row["name"]))}
    path.write_text(json.dumps(content, indent=2) + "\n")


def _plain(row: Row) -> dict[str, object]:
    return {
        "name": row.name,
        "ours": row.ours,
        "baseline": row.baseline,
        "ratio": row.ratio,
        "against": row.against,
        "reach": row.reach,
        "reached": row.reached,
        "rounds": row.rounds,
        "note": row.note,
    }


def _machine() -> dict[str, object]:
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }
