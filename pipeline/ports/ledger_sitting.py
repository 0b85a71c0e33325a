# SPDX-License-Identifier: LGPL-2.1-or-later
"""One sitting at the ledger: verdicts read and promotions written, nobody else in between."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, func, insert, select, update

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_rows import PromotionRow, PromotionState, VerdictRow
from pipeline.words.manifest import Need
from pipeline.words.refs import Commit
from pipeline.words.run import RunEnding, place_of
from pipeline.words.verdict import Verdict


class Sitting:
    """What may be asked and written while the ledger is ours; see ``Ledger.deciding``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def verdicts(self, commit: Commit) -> dict[str, VerdictRow]:
        """Tell the newest attempt at each suite on a commit."""
        return newest_verdicts(self._connection, commit)

    def newest(self, osname: str, tree: str) -> PromotionRow | None:
        """Tell what a tree's ``buildmaster`` was last moved to, or is being moved to."""
        states = (PromotionState.BEGUN, PromotionState.DONE)
        rows = promotion_rows(self._connection, tree=tree, osname=osname, states=states, limit=1)
        return rows[0] if rows else None

    def baselines(self, osname: str, tree: str) -> frozenset[str]:
        """List the suites that have passed on a commit which a tree was promoted to."""
        return passed_on_promoted(self._connection, osname, tree)

    def kind_of(self, run: str) -> str:
        """Tell the kind of a run: nothing for one of a push or by hand, else ``try``."""
        question = select(tables.run.c.kind).where(tables.run.c.version == run)
        return str(self._connection.execute(question).scalar() or "")

    def new_batch(self) -> int:
        """Tell a number for rows that move together."""
        last = self._connection.execute(select(func.max(tables.promotion.c.batch))).scalar()
        return int(last or 0) + 1

    def write(
        self,
        *,
        batch: int,
        run: str,
        osname: str,
        tree: str,
        commit: Commit,
        previous: Commit | None,
        state: PromotionState,
        gate: Mapping[str, Need],
        flaky: Mapping[str, int] | None = None,
        reason: str = "",
    ) -> None:
        """Write one target's row of a batch."""
        now = time.time()
        row = {
            "batch": batch,
            "run": run,
            "place": place_of(run),
            "osname": osname,
            "tree": tree,
            "commit": commit,
            "previous": previous,
            "state": state,
            "gate": json.dumps(_gate_text(gate, flaky or {}), sort_keys=True),
            "reason": reason,
            "began": now,
            "ended": None if state is PromotionState.BEGUN else now,
        }
        ensure_run(self._connection, run)
        self._connection.execute(insert(tables.promotion).values(row))

    def settle(self, rows: Iterable[PromotionRow], state: PromotionState, reason: str = "") -> None:
        """Give rows that were begun their ending; without a reason, theirs stays."""
        table = tables.promotion
        chosen = table.c.id.in_([row.id for row in rows])
        values: dict[str, Any] = {"state": state, "ended": time.time()}
        values |= {"reason": reason} if reason else {}
        self._connection.execute(update(table).where(chosen).values(values))


def ensure_run(connection: Connection, version: str, started: float | None = None) -> None:
    """Make the run's row where it is missing: what it did must not be lost for want of one."""
    if exists(connection, tables.run, {"version": version}):
        return
    row = {
        "version": version,
        "place": place_of(version),
        "osname": "",
        "started": time.time() if started is None else started,
        "ending": RunEnding.RUNNING,
        "message": "",
        "kind": "",
    }
    connection.execute(insert(tables.run).values(row))


def exists(connection: Connection, table: Table, key: Mapping[str, Any]) -> bool:
    """Tell whether a row with these values is there."""
    question = select(table)
    for name, value in key.items():
        question = question.where(table.c[name] == value)
    return connection.execute(question.limit(1)).first() is not None


def newest_verdicts(connection: Connection, commit: Commit) -> dict[str, VerdictRow]:
    """Tell the newest attempt at each suite on a commit."""
    table = tables.verdict
    question = select(table).where(table.c.commit == commit).order_by(table.c.attempt)
    rows = map(verdict_row, connection.execute(question))
    return {row.suite: row for row in rows}


def passed_on_promoted(connection: Connection, osname: str, tree: str) -> frozenset[str]:
    """List the suites that have passed on a commit which a tree was promoted to."""
    verdict, moved = tables.verdict, tables.promotion
    question = (
        select(verdict.c.suite)
        .distinct()
        .join(moved, moved.c.commit == verdict.c.commit)
        .where(verdict.c.verdict == Verdict.PASSED, verdict.c.tree == tree)
        .where(moved.c.state == PromotionState.DONE)
        .where(moved.c.osname == osname, moved.c.tree == tree)
    )
    return frozenset(row.suite for row in connection.execute(question))


def verdict_row(row: Any) -> VerdictRow:
    """Read a row of the table."""
    values = {name: getattr(row, name) for name in VerdictRow.__dataclass_fields__}
    return VerdictRow(**{**values, "verdict": Verdict(row.verdict)})


def promotion_rows(
    connection: Connection,
    *,
    states: Sequence[PromotionState] = (),
    limit: int | None = None,
    **equal: str | None,
) -> list[PromotionRow]:
    """List promotions, newest first; ``equal`` names columns and what they must hold."""
    table = tables.promotion
    question = select(table).order_by(table.c.id.desc()).limit(limit)
    for name, value in equal.items():
        if value is not None:
            question = question.where(table.c[name] == value)
    if states:
        question = question.where(table.c.state.in_(states))
    return [_promotion_row(row) for row in connection.execute(question)]


def newest_promotions(connection: Connection) -> list[PromotionRow]:
    """List what each tree was last promoted to."""
    table = tables.promotion
    last = (
        select(func.max(table.c.id))
        .where(table.c.state == PromotionState.DONE)
        .group_by(table.c.osname, table.c.tree)
    )
    question = select(table).where(table.c.id.in_(last)).order_by(table.c.osname, table.c.tree)
    return [_promotion_row(row) for row in connection.execute(question)]


def _promotion_row(row: Any) -> PromotionRow:
    names = [name for name in PromotionRow.__dataclass_fields__ if name != "flaky"]
    values = {name: getattr(row, name) for name in names}
    gate, flaky = {}, {}
    for suite, told in json.loads(row.gate).items():
        # A word alone, where there is no budget and as older versions wrote it.
        need = told if isinstance(told, str) else told["need"]
        gate[suite] = Need(need)
        if not isinstance(told, str):
            flaky[suite] = int(told["flaky"])
    return PromotionRow(
        **{**values, "gate": gate, "flaky": flaky, "state": PromotionState(row.state)}
    )


def _gate_text(gate: Mapping[str, Need], flaky: Mapping[str, int]) -> dict[str, Any]:
    return {
        suite: {"need": need, "flaky": flaky[suite]} if flaky.get(suite) else need
        for suite, need in gate.items()
    }
