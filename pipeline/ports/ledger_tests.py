# SPDX-License-Identifier: LGPL-2.1-or-later
"""What each test of a suite came to, in the ledger: its history on one tree's line."""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_rows import PromotionState
from pipeline.ports.ledger_sitting import passed_on_promoted
from pipeline.words.history import KEPT, Past
from pipeline.words.refs import Commit
from pipeline.words.verdict import SuiteResult, Verdict

_LONGEST = 500
_MOST = 20_000
"""Rows that a look at a suite's history takes, newest first."""


def record_tests(connection: Connection, version: str, result: SuiteResult, attempt: int) -> None:
    """Record what each test of an attempt came to."""
    now = time.time()
    rows = [
        {
            "commit": result.commit,
            "suite": result.suite,
            "attempt": attempt,
            "run": version,
            "tree": result.tree,
            "name": one.name,
            "verdict": one.verdict,
            "cause": one.cause,
            "message": one.message[:_LONGEST],
            "seconds": one.seconds,
            "attempts": one.attempts,
            "failures": one.failures,
            "is_new": one.is_new,
            "known": one.known,
            "recorded": now,
        }
        for one in result.tests
    ]
    if rows:
        connection.execute(insert(tables.test), rows)


class TestLedger:
    """The results of tests."""

    __test__ = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, osname: str, tree: str, suite: str) -> dict[str, list[Past]]:
        """Tell what each test of a suite came to on a tree's line, newest first.

        Tries are of no line, and what was only repeated by name is none of it either.
        """
        table, run = tables.test, tables.run
        question = (
            select(table)
            .join(run, run.c.version == table.c.run)
            .where(table.c.tree == tree, table.c.suite == suite)
            .where(run.c.osname.in_((osname, "")), run.c.kind == "")
            .order_by(table.c.id.desc())
            .limit(_MOST)
        )
        found: dict[str, list[Past]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(question):
                found.setdefault(row.name, []).append(_past(row))
        return found

    def baseline(self, osname: str, tree: str, suite: str, *, but: str) -> dict[str, Verdict]:
        """Tell what the tests of a suite came to on the commit that a tree was promoted to last.

        Another commit than ``but``. What passed there once, passed: that is what promoted it.
        """
        moved, table = tables.promotion, tables.test
        last = (
            select(moved.c.commit)
            .where(moved.c.osname == osname, moved.c.tree == tree)
            .where(moved.c.state == PromotionState.DONE, moved.c.commit != but)
            .order_by(moved.c.id.desc())
            .limit(1)
        )
        with self._database.reading() as connection:
            commit = connection.execute(last).scalar()
            of = (table.c.commit == commit, table.c.suite == suite, table.c.tree == tree)
            found: dict[str, Verdict] = {}
            for row in connection.execute(select(table).where(*of).order_by(table.c.id)):
                if found.get(row.name) is not Verdict.PASSED:
                    found[row.name] = Verdict(row.verdict)
            return found

    def of(self, commit: str, suite: str) -> list[Mapping[str, Any]]:
        """List every result of a suite's tests on a commit, oldest first."""
        table = tables.test
        question = select(table).where(table.c.commit == commit, table.c.suite == suite)
        with self._database.reading() as connection:
            rows = connection.execute(question.order_by(table.c.id)).mappings()
            return [dict(row) for row in rows]

    def baselines(self, osname: str, tree: str) -> frozenset[str]:
        """List the suites that have passed on a commit which a tree was promoted to."""
        with self._database.reading() as connection:
            return passed_on_promoted(connection, osname, tree)

    def prune(self, *, dry: bool = False) -> int:
        """Remove all but the newest results of each test; tells how many.

        Those of commits that were promoted stay: what is new is told by them.
        """
        table, moved = tables.test, tables.promotion
        rank = func.row_number().over(
            partition_by=(table.c.tree, table.c.suite, table.c.name), order_by=table.c.id.desc()
        )
        promoted = select(moved.c.commit).where(moved.c.state == PromotionState.DONE)
        ranked = (
            select(table.c.id, rank.label("place"))
            .where(table.c.commit.not_in(promoted))
            .subquery()
        )
        old = select(ranked.c.id).where(ranked.c.place > KEPT)
        if dry:
            with self._database.reading() as connection:
                counted = select(func.count()).select_from(old.subquery())
                return int(connection.execute(counted).scalar() or 0)
        with self._database.writing() as connection:
            return connection.execute(delete(table).where(table.c.id.in_(old))).rowcount


def _past(row: Row[Any]) -> Past:
    return Past(
        commit=Commit(row.commit),
        verdict=Verdict(row.verdict),
        attempts=row.attempts,
        failures=row.failures,
        is_new=row.is_new,
    )
