# SPDX-License-Identifier: LGPL-2.1-or-later
"""The database under the ledger: opened, brought up to date, and its errors put into words.

SQLite in its write-ahead mode, every commit flushed to the disk; or PostgreSQL.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, OperationalError

from pipeline.ports.files import full_disk, lock
from pipeline.ports.ledger_tables import HEAD
from pipeline.words.errors import BadInput, Ending, Trouble

_BUSY_S = 60.0
_READING = "ledger_reading"
# Any number that no other user of advisory locks in the same database takes.
_ADVISORY = 0x6F73_7463
_ENVIRONMENT = {
    sqlite3.SQLITE_BUSY: "another process held it for too long",
    sqlite3.SQLITE_LOCKED: "another process held it for too long",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "reading or writing it failed",
    sqlite3.SQLITE_PERM: "it must not be written to",
    sqlite3.SQLITE_READONLY: "it must not be written to",
    sqlite3.SQLITE_CORRUPT: "it is damaged",
    sqlite3.SQLITE_NOTADB: "it is damaged",
}


class Database:
    """One database and the transactions on it; may be shared by threads."""

    def __init__(self, url: str) -> None:
        self.url = make_url(url)
        self.path = Path(self.url.database or "") if self._is_sqlite else None
        self._engine = self._make_engine()
        if self._is_sqlite:
            event.listen(self._engine, "connect", _prepare)
            event.listen(self._engine, "begin", _begin)
        with self._told():
            _bring_up_to_date(self._engine, self.path)

    @property
    def _is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    def _make_engine(self) -> Engine:
        if self._is_sqlite:
            return create_engine(self.url, connect_args={"timeout": _BUSY_S})
        try:
            # A server that was started again is asked over a new connection.
            return create_engine(self.url, pool_pre_ping=True)
        except ModuleNotFoundError as error:
            what = f"a ledger in PostgreSQL needs {error.name}"
            raise Trouble(what, where=self._name, hint="pip install psycopg2-binary") from error

    @property
    def _name(self) -> str:
        return self.url.render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See one state of the database for the length of the ``with``."""
        with self._told(), self._engine.connect() as connection:
            seen = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ"}
            connection = connection.execution_options(**{_READING: True}, **seen)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Be the only one that writes; all of it is kept at the end of the ``with``, or nothing."""
        with self._told(), self._engine.begin() as connection:
            if not self._is_sqlite:
                _be_alone(connection)
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            ending = self._ending(error)
            if ending is None:
                raise
            raise ending from error

    def _ending(self, error: DBAPIError) -> Ending | None:
        if self.path is None:
            if isinstance(error, OperationalError) or error.connection_invalidated:
                told = " ".join(str(error.orig).split())
                hint = f"psql '{self._name.replace('+psycopg2', '')}'"
                return Trouble(f"the ledger cannot be used: {told}", where=self._name, hint=hint)
            return None
        # The low byte is the kind of error, the others tell more of it.
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            return full_disk(self.path)
        if code not in _ENVIRONMENT:
            return None
        return Trouble(
            f"the ledger cannot be used, {_ENVIRONMENT[code]}: {error.orig}",
            where=str(self.path),
            hint=f"ls -l {self.path}*; df {self.path.parent}",
        )


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    """Set up a connection of SQLite; transactions are begun by us, not by the driver."""
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None
    connection.execute("pragma foreign_keys = on")
    connection.execute("pragma journal_mode = wal")
    # What it holds must not be lost with the power either.
    connection.execute("pragma synchronous = full")


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes later would fail where another wrote between.
    how = "deferred" if connection.get_execution_options().get(_READING) else "immediate"
    connection.exec_driver_sql(f"begin {how}")


def _bring_up_to_date(engine: Engine, path: Path | None) -> None:
    if _revision(engine) == HEAD:
        return
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        alone = lock(Path(f"{path}.lock"), what="opening the ledger", wait_s=_BUSY_S)
    with alone if path is not None else nullcontext(), engine.begin() as connection:
        if path is None:
            _be_alone(connection)
        _upgrade(connection, str(path or engine.url.render_as_string(hide_password=True)))


def _be_alone(connection: Connection) -> None:
    """Wait for others that write to PostgreSQL, as SQLite does by itself, and as long."""
    connection.execute(text(f"set local lock_timeout = {int(_BUSY_S * 1000)}"))
    connection.execute(text(f"select pg_advisory_xact_lock({_ADVISORY})"))


def _upgrade(connection: Connection, name: str) -> None:
    # Loaded only for a database that is not of this version: it takes a while.
    from pipeline.ports.ledger_migrations import scripts, upgrade

    if inspect(connection).has_table("buildrequests"):
        what = "this is the database of Buildbot: the ledger needs one of its own"
        raise BadInput(what, where=name, hint="createdb ostci")
    found = _revision_of(connection)
    known = {one.revision for one in scripts().walk_revisions()}
    if found is not None and found not in known:
        raise Trouble(
            f"the ledger is of a newer ostci ({found}; this one knows {HEAD})",
            where=name,
            hint="use the newer ostci, or the copy that was made before its first start",
        )
    upgrade(connection)


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        connection = connection.execution_options(**{_READING: True})
        return _revision_of(connection)


def _revision_of(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("select version_num from alembic_version")).scalar()
