# SPDX-License-Identifier: LGPL-2.1-or-later
"""Copy a ledger into an empty one, of whichever kind: one state of it, while others write.

Row by row, by the tables of this version: a copy of PostgreSQL's is a file of SQLite that needs no
server to be read, and the other way round, so that one may outgrow the other.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Table, func, insert, select, text
from sqlalchemy.sql.sqltypes import Integer

from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_tables import metadata, run
from pipeline.words.errors import BadInput

_ROWS = 1000


class OneState:
    """One state of a ledger; what is written later is not in it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def copy_to(self, url: str) -> None:
        """Copy all of it, or nothing; raises BadInput where there is something already."""
        target = Database(url)
        try:
            with target.writing() as into:
                _must_be_empty(into)
                for table in metadata.sorted_tables:
                    self._copy(table, into)
                    _count_on(table, into)
        finally:
            target.close()

    def _copy(self, table: Table, into: Connection) -> None:
        rows = self._connection.execution_options(yield_per=_ROWS).execute(select(table))
        for some in rows.mappings().partitions():
            into.execute(insert(table), [dict(row) for row in some])


@contextmanager
def one_state(url: str) -> Iterator[OneState]:
    """Hold one state of a ledger for the length of the ``with``: that of its beginning."""
    database = Database(url)
    try:
        with database.reading() as connection:
            # PostgreSQL settles what is seen at the first question.
            connection.execute(select(func.count()).select_from(run))
            yield OneState(connection)
    finally:
        database.close()


def must_be_empty(url: str) -> None:
    """Raise BadInput where there is something in a ledger, Trouble where it cannot be opened."""
    database = Database(url)
    try:
        with database.reading() as connection:
            _must_be_empty(connection)
    finally:
        database.close()


def _must_be_empty(connection: Connection) -> None:
    for table in metadata.sorted_tables:
        if connection.execute(select(table).limit(1)).first() is not None:
            name = connection.engine.url.render_as_string(hide_password=True)
            hint = "name an empty one: createdb NAME"
            raise BadInput("there is a ledger already", where=name, hint=hint)


def _count_on(table: Table, into: Connection) -> None:
    """Have PostgreSQL's counter go on behind the rows, whose numbers it has not given."""
    keys = list(table.primary_key.columns)
    if into.dialect.name != "postgresql" or len(keys) != 1 or type(keys[0].type) is not Integer:
        return
    last = into.execute(select(func.max(keys[0]))).scalar()
    if last is not None:
        counter = text("select setval(pg_get_serial_sequence(:table, :column), :last)")
        into.execute(counter, {"table": table.name, "column": keys[0].name, "last": last})
