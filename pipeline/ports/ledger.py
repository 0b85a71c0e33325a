# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger: what must not be lost and what is asked often.

Runs, snapshots, trees and what is in them, every attempt at a suite, and promotions. It knows
nothing of gates or refs: ``deciding`` gives whoever does a look and a pen under one lock.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from sqlalchemy import Connection, Select, Table, func, insert, select, update

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_counts import Counts, read_counts
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_pushes import PushLedger
from pipeline.ports.ledger_requests import RequestLedger
from pipeline.ports.ledger_rows import PromotionRow, PromotionState, RunRow, TreeRow, VerdictRow
from pipeline.ports.ledger_sitting import (
    Sitting,
    ensure_run,
    newest_promotions,
    newest_verdicts,
    promotion_rows,
    verdict_row,
)
from pipeline.ports.ledger_tests import TestLedger, record_tests
from pipeline.ports.ledger_tickets import TicketLedger
from pipeline.words.attempts import ELSEWHERE
from pipeline.words.refs import Commit
from pipeline.words.run import RunEnding
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult, Verdict

__all__ = ["Ledger", "PromotionRow", "PromotionState", "RunRow", "Sitting", "TreeRow", "VerdictRow"]

_PROMOTED = (PromotionState.BEGUN, PromotionState.DONE)


class Ledger:
    """One ledger by its URL, such as ``sqlite:////path/ledger.sqlite``; opened when first used."""

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def _database(self) -> Database:
        return Database(self.url)

    @property
    def pushes(self) -> PushLedger:
        """The pushes, and the heads they came from."""
        return PushLedger(self._database)

    @property
    def requests(self) -> RequestLedger:
        """What is known of merge requests, and the tries of them."""
        return RequestLedger(self._database)

    @property
    def tests(self) -> TestLedger:
        """What each test of a suite came to."""
        return TestLedger(self._database)

    @property
    def tickets(self) -> TicketLedger:
        """The places of runs in the order of composes."""
        return TicketLedger(self._database)

    def close(self) -> None:
        """Close it; using it opens it again."""
        if "_database" in self.__dict__:
            self._database.close()
            del self.__dict__["_database"]

    # Writing

    def begin_run(self, version: str, osname: str, started: float, *, kind: str = "") -> None:
        """Record a run before it does anything; one that is there is running again.

        What was once of a ``kind`` stays so.
        """
        with self._database.writing() as connection:
            ensure_run(connection, version, started)
            values = {"osname": osname, "ending": RunEnding.RUNNING, "ended": None, "message": ""}
            if kind:
                values["kind"] = kind
            connection.execute(_update(tables.run, {"version": version}).values(values))

    def end_run(self, version: str, ending: str, message: str = "") -> None:
        """Record how a run ended."""
        with self._database.writing() as connection:
            ensure_run(connection, version)
            values = {"ending": ending, "ended": time.time(), "message": message}
            connection.execute(_update(tables.run, {"version": version}).values(values))

    def record_snapshot(self, version: str, digest: str) -> None:
        """Record what a run was resolved to."""
        with self._database.writing() as connection:
            ensure_run(connection, version)
            connection.execute(_update(tables.run, {"version": version}).values(snapshot=digest))
            known = select(tables.snapshot.c.digest).where(tables.snapshot.c.digest == digest)
            if connection.execute(known).first() is None:
                row = {"digest": digest, "run": version, "recorded": time.time()}
                connection.execute(insert(tables.snapshot).values(row))

    def record_tree(self, version: str, tree: Tree, components: Mapping[str, str]) -> None:
        """Record a composed tree and the revision of each component in it."""
        values = {
            "arch": tree.arch,
            "target": tree.target,
            "commit": tree.commit,
            "content": tree.content,
            "snapshot": tree.snapshot,
            "unchanged": tree.unchanged,
            "recorded": time.time(),
        }
        with self._database.writing() as connection:
            ensure_run(connection, version)
            _put(connection, tables.tree, {"run": version, "tree": tree.name}, values)
            for component, revision in components.items():
                key = {"commit": tree.commit, "component": component}
                _put(connection, tables.tree_component, key, {"revision": revision})

    def record_suite(self, version: str, result: SuiteResult) -> int:
        """Record one more attempt at a suite on a commit; tells its number, from 1."""
        table = tables.verdict
        with self._database.writing() as connection:
            ensure_run(connection, version)
            last = select(func.max(table.c.attempt)).where(
                table.c.commit == result.commit, table.c.suite == result.suite
            )
            attempt = int(connection.execute(last).scalar() or 0) + 1
            row = {
                "commit": result.commit,
                "suite": result.suite,
                "attempt": attempt,
                "run": version,
                "tree": result.tree,
                "verdict": result.verdict,
                "cause": result.cause,
                "message": result.message,
                "seconds": result.seconds,
                "evidence": result.evidence,
                "recorded": time.time(),
                "flaky": result.flaky,
            }
            connection.execute(insert(table).values(row))
            record_tests(connection, version, result, attempt)
            return attempt

    @contextmanager
    def deciding(self) -> Iterator[Sitting]:
        """Read verdicts and write promotions with nobody else writing in between."""
        with self._database.writing() as connection:
            yield Sitting(connection)

    # Reading

    def counts(self) -> Counts:
        """Count what is here, for figures."""
        with self._database.reading() as connection:
            return read_counts(connection)

    def verdicts(self, commit: str) -> dict[str, Verdict]:
        """Tell the newest verdict of each suite on a commit."""
        with self._database.reading() as connection:
            found = newest_verdicts(connection, Commit(commit))
        return {suite: row.verdict for suite, row in found.items()}

    def attempts(self, commit: str) -> list[VerdictRow]:
        """List every attempt at every suite on a commit, oldest first."""
        table = tables.verdict
        question = select(table).where(table.c.commit == commit).order_by(table.c.id)
        with self._database.reading() as connection:
            return [verdict_row(row) for row in connection.execute(question)]

    def tree(self, commit: str) -> TreeRow | None:
        """Find the newest record of a tree by its commit."""
        table = tables.tree
        question = select(table).where(table.c.commit == commit)
        with self._database.reading() as connection:
            rows = _tree_rows(connection, question.order_by(*_newest_tree_first()))
        return rows[0] if rows else None

    def trees_with(self, component: str, revision: str | None = None) -> list[TreeRow]:
        """List trees that contain a component, at revisions that begin so; newest first."""
        inside = tables.tree_component
        question = (
            select(tables.tree, inside.c.component, inside.c.revision)
            .join(inside, inside.c.commit == tables.tree.c.commit)
            .where(inside.c.component == component)
            .order_by(*_newest_tree_first())
        )
        if revision:
            question = question.where(inside.c.revision.startswith(revision, autoescape=True))
        with self._database.reading() as connection:
            return _tree_rows(connection, question)

    def components(self, commit: str) -> dict[str, str]:
        """Tell the revision of each component in a tree."""
        table = tables.tree_component
        question = select(table.c.component, table.c.revision).where(table.c.commit == commit)
        with self._database.reading() as connection:
            rows = connection.execute(question.order_by(table.c.component))
            return {row.component: row.revision for row in rows}

    def promotions(
        self,
        tree: str | None = None,
        *,
        run: str | None = None,
        commit: str | None = None,
        states: Sequence[PromotionState] = (),
        limit: int | None = None,
    ) -> list[PromotionRow]:
        """List promotions, newest first: what moved, what was held, what was too old."""
        equal = {"tree": tree, "run": run, "commit": commit}
        with self._database.reading() as connection:
            return promotion_rows(connection, states=states, limit=limit, **equal)

    def promoted(self) -> list[PromotionRow]:
        """Tell what each tree was last promoted to: where its ``buildmaster`` has to be."""
        with self._database.reading() as connection:
            return newest_promotions(connection)

    def endings(self, versions: Iterable[str]) -> dict[str, str]:
        """Tell how each of these runs ended; ``running`` for one that has not."""
        table = tables.run
        question = select(table.c.version, table.c.ending).where(table.c.version.in_(versions))
        with self._database.reading() as connection:
            return {row.version: row.ending for row in connection.execute(question)}

    def elsewhere(self, versions: Iterable[str]) -> list[str]:
        """Tell which of these runs failed by what failed before them, and by nothing else."""
        table = tables.verdict
        ended = select(tables.run.c.version).where(
            tables.run.c.version.in_(versions), tables.run.c.ending == RunEnding.FAILED
        )
        question = select(table).where(table.c.run.in_(ended)).order_by(table.c.id)
        newest: dict[tuple[str, str, str], str] = {}
        with self._database.reading() as connection:
            for row in connection.execute(question):
                is_good = row.verdict in (Verdict.PASSED, Verdict.SKIPPED)
                newest[row.run, row.commit, row.suite] = "" if is_good else row.cause or row.verdict
        causes: dict[str, set[str]] = {}
        for (run, _, _), cause in newest.items():
            causes.setdefault(run, set()).update({cause} if cause else ())
        return sorted(run for run, found in causes.items() if found == {ELSEWHERE})

    def runs(self, *, unfinished: bool = False) -> list[RunRow]:
        """List runs, newest first; ``unfinished``: those without an ending."""
        table = tables.run
        question = select(table).order_by(table.c.place.desc())
        if unfinished:
            question = question.where(table.c.ending == RunEnding.RUNNING)
        names = RunRow.__dataclass_fields__
        with self._database.reading() as connection:
            rows = connection.execute(question).mappings()
            return [RunRow(**{name: row[name] for name in names}) for row in rows]


# Helpers


def _update(table: Table, key: Mapping[str, Any]) -> Any:
    statement = update(table)
    for name, value in key.items():
        statement = statement.where(table.c[name] == value)
    return statement


def _put(
    connection: Connection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Insert a row or replace the one with the same key, in SQL that every database knows."""
    if connection.execute(_update(table, key).values(values)).rowcount == 0:
        connection.execute(insert(table).values({**key, **values}))


def _newest_tree_first() -> tuple[Any, ...]:
    return tables.tree.c.recorded.desc(), tables.tree.c.run.desc(), tables.tree.c.tree


def _tree_rows(connection: Connection, question: Select[Any]) -> list[TreeRow]:
    rows = list(connection.execute(question).mappings())
    promoted = _promoted(connection)
    names = ("run", "tree", "commit", "content", "snapshot", "recorded", "component", "revision")
    found = []
    for row in rows:
        known = {name: row[name] for name in names if name in row}
        verdicts = newest_verdicts(connection, row["commit"])
        found.append(
            TreeRow(
                **known,
                verdicts={suite: one.verdict for suite, one in verdicts.items()},
                promoted=(row["tree"], row["commit"]) in promoted,
            )
        )
    return found


def _promoted(connection: Connection) -> set[tuple[str, str]]:
    table = tables.promotion
    question = select(table.c.tree, table.c.commit).where(table.c.state.in_(_PROMOTED))
    return {(row.tree, row.commit) for row in connection.execute(question)}
