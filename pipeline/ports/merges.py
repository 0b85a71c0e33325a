# SPDX-License-Identifier: LGPL-2.1-or-later
"""What composing remembers: directories that it merged, and layers that it made of a tree.

A database of SQLite that may be deleted at any time. Directories that only a merge has made lie
in it until a commit holds them, so that a prune of the repository does not take them.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.ports.files import full_disk, lock
from pipeline.words.errors import Trouble

_SCHEMA = 1
_BUSY_S = 60.0
_WAIT_S = 3600.0
_LARGEST = 512 * 1024**2
_TABLES = (
    "create table told (key text primary key, value text) without rowid",
    "create table directory (checksum blob primary key, body blob) without rowid",
)


class Merges:
    """Remembered values by key, and directory objects by checksum; made by ``opened``."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, key: str) -> Any | None:
        """Tell what was remembered under a key."""
        row = self._database.execute("select value from told where key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, key: str, value: Any) -> None:
        """Remember a value that JSON can hold."""
        self._database.execute("replace into told values (?, ?)", (key, json.dumps(value)))

    def directory(self, checksum: bytes) -> bytes | None:
        """Tell a directory object that was kept here."""
        row = self._database.execute(
            "select body from directory where checksum = ?", (checksum,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def keep(self, checksum: bytes, body: bytes) -> None:
        """Keep a directory object."""
        self._database.execute("insert or ignore into directory values (?, ?)", (checksum, body))

    def clear(self) -> None:
        """Forget all."""
        self._database.execute("delete from told")
        self._database.execute("delete from directory")

    def save(self) -> None:
        """Put what was remembered on the disk, for whatever comes after."""
        self._database.execute("commit")
        self._database.execute("begin")


@contextmanager
def opened(path: Path) -> Iterator[Merges]:
    """Open the memory; one that is damaged, of another version or too large is begun anew.

    What was remembered is saved at the end of the ``with``, also where that ends with an error.
    """
    with lock(path.with_suffix(".lock"), what="a compose", wait_s=_WAIT_S):
        yield from _opened(path)


def _opened(path: Path) -> Iterator[Merges]:
    if path.exists() and path.stat().st_size > _LARGEST:
        _remove(path)
    try:
        database = _open(path)
    except sqlite3.DatabaseError as error:
        if _is_of_machine(error):
            raise _trouble(error, path) from error
        _remove(path)
        database = _open(path)
    try:
        database.execute("begin")
        try:
            yield Merges(database)
        finally:
            database.execute("commit")
    except sqlite3.DatabaseError as error:
        if not _is_of_machine(error):
            _remove(path)
        raise _trouble(error, path) from error
    finally:
        database.close()


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
    try:
        database.execute("pragma journal_mode = wal")
        database.execute("pragma synchronous = off")
        if database.execute("pragma user_version").fetchone()[0] != _SCHEMA:
            database.execute("begin immediate")
            for table in ("told", "directory"):
                database.execute(f"drop table if exists {table}")
            for statement in _TABLES:
                database.execute(statement)
            database.execute(f"pragma user_version = {_SCHEMA}")
            database.execute("commit")
    except BaseException:
        database.close()
        raise
    return database


def _is_of_machine(error: sqlite3.DatabaseError) -> bool:
    """Tell an error that beginning anew would not mend."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    return code not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)


def _trouble(error: sqlite3.DatabaseError, path: Path) -> Trouble:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        return full_disk(path)
    return Trouble(f"{path}: {error}", hint="give the same command again")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
