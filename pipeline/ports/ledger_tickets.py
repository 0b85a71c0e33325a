# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tickets: composes of one line (an osname, or one of its manifests) in the order of pushes.

A run takes its ticket when it begins and gives it up when it has composed or ends without. Whose
turn it is, is known here; how long somebody waits for it, and who is passed over, is not.
"""

import time

from sqlalchemy import Select, insert, select, update

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_sitting import ensure_run, exists
from pipeline.words.run import place_of

_WAITING = "waiting"
_GIVEN_UP = "given-up"


class TicketLedger:
    """The tickets of one ledger; see ``Ledger.tickets``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def take(self, version: str, line: str) -> None:
        """Take a run's place in a line; once taken, kept."""
        key = {"run": version, "line": line}
        with self._database.writing() as connection:
            ensure_run(connection, version)
            if not exists(connection, tables.ticket, key):
                row = {**key, "state": _WAITING, "taken": time.time()}
                connection.execute(insert(tables.ticket).values(row))

    def renew(self, version: str, line: str) -> str | None:
        """Take a place that was given up again, for a run that is to go on.

        Not where a later run has composed: then that one's version is told.
        """
        table = tables.ticket
        mine = (table.c.run == version, table.c.line == line)
        self.take(version, line)
        with self._database.writing() as connection:
            newer = connection.execute(_composed_after(version, line)).scalar()
            if newer is None:
                connection.execute(update(table).where(*mine).values(state=_WAITING, ended=None))
        return None if newer is None else str(newer)

    def first_in_line(self, line: str) -> str | None:
        """Tell the run whose turn it is."""
        waiting = (
            select(tables.run.c.version)
            .join(tables.ticket, tables.ticket.c.run == tables.run.c.version)
            .where(tables.ticket.c.line == line, tables.ticket.c.state == _WAITING)
            .order_by(tables.run.c.place)
            .limit(1)
        )
        with self._database.reading() as connection:
            first = connection.execute(waiting).scalar()
        return None if first is None else str(first)

    def give_up(self, version: str, line: str) -> None:
        """Let the next one have its turn: this run has composed, failed, or was stopped."""
        table = tables.ticket
        mine = (table.c.run == version, table.c.line == line, table.c.state == _WAITING)
        with self._database.writing() as connection:
            values = {"state": _GIVEN_UP, "ended": time.time()}
            connection.execute(update(table).where(*mine).values(values))


def _composed_after(version: str, line: str) -> Select[tuple[str]]:
    return (
        select(tables.run.c.version)
        .join(tables.tree, tables.tree.c.run == tables.run.c.version)
        .where(tables.run.c.osname == line, tables.run.c.place > place_of(version))
        # What is tried stands in no line.
        .where(tables.run.c.kind == "")
        .order_by(tables.run.c.place)
        .limit(1)
    )
