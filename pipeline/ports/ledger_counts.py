# SPDX-License-Identifier: LGPL-2.1-or-later
"""How much of what the ledger holds, counted by the database itself."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Column, Connection, func, select

from pipeline.ports import ledger_tables as tables
from pipeline.words.push import OPEN


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Figures of one moment; times are in seconds since 1970 (UTC).

    ``verdicts`` are by suite and verdict; ``oldest_open`` is when the push was received that has
    been without an ending for longest, None where there is none.
    """

    runs: Mapping[str, int]
    pushes: Mapping[str, int]
    verdicts: Mapping[tuple[str, str], int]
    oldest_open: float | None
    ended: tuple[str, ...]
    """The newest runs that have an ending, oldest first."""


def read_counts(connection: Connection, *, newest: int = 200) -> Counts:
    """Count it all, as one state of the database has it."""
    push, run, verdict = tables.push, tables.run, tables.verdict
    suites = select(verdict.c.suite, verdict.c.verdict, func.count())
    oldest = select(func.min(push.c.received)).where(push.c.state.in_(OPEN))
    last = select(run.c.version).where(run.c.ended.is_not(None)).order_by(run.c.place.desc())
    return Counts(
        runs=_by(connection, run.c.ending),
        pushes=_by(connection, push.c.state),
        verdicts={
            (suite, word): count
            for suite, word, count in connection.execute(
                suites.group_by(verdict.c.suite, verdict.c.verdict)
            )
        },
        oldest_open=connection.execute(oldest).scalar(),
        ended=tuple(reversed([row.version for row in connection.execute(last.limit(newest))])),
    )


def _by(connection: Connection, column: "Column[str]") -> Mapping[str, int]:
    rows = connection.execute(select(column, func.count()).group_by(column))
    return {str(row[0]): int(row[1]) for row in rows}
