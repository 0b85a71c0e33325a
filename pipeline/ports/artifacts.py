# SPDX-License-Identifier: LGPL-2.1-or-later
"""Artifacts by recipe and key.

What is true stands in the repository (``key_refs``). Beside it lies an index in SQLite, for
answers in microseconds. It may be deleted or damaged at any time: it is made again from the
repository, and brought up to date when the directory of those refs was changed, by whomever.
Several processes and threads may use one.
"""

import json
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.ports.files import full_disk, lock, unique_name
from pipeline.ports.key_refs import KeyRefs, commit_metadata
from pipeline.ports.ostree import Repo
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Trouble
from pipeline.words.records import to_json
from pipeline.words.refs import Commit, Key, Part, RefName, component_ref, key_ref

__all__ = ["Artifacts", "commit_metadata"]

T = TypeVar("T")
_SCHEMA = 1
"""Raise it when a table or ``Artifact`` changes."""
_BUSY_S = 60.0
RACY_NS = 2_000_000_000
"""A directory's time tells nothing of changes so soon after the one it is of."""
_MOST = 5000
_TABLES = """
create table artifact (
    key text primary key, recipe text, component text, arch text, seen integer,
    body blob, check_sum integer
);
create index of_recipe on artifact (recipe);
create index of_component on artifact (component, arch, seen);
create table current (component text, arch text, key text, primary key (component, arch));
create table place (directory text primary key, changed integer);
"""
_ENVIRONMENT = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)
"""What is no damage: making the index anew would not help."""


class Artifacts:
    """The artifacts of a repository; the index is opened when first used."""

    def __init__(self, repo: Repo, index: Path) -> None:
        self._repo = repo
        self._refs = KeyRefs(repo)
        self._index = index
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._seen: dict[str, int] = {}

    # Reading

    def find(self, recipe: Key) -> tuple[Artifact, ...]:
        """Find the artifacts of a recipe that are here whole, newest first."""
        found = self._look("where recipe = ? order by seen desc", recipe)
        return tuple(one for one in found if self._refs.is_whole(one))

    def by_key(self, key: Key) -> Artifact | None:
        """Find the artifact of a key; None where it is not here whole."""
        found = self._look("where key = ?", key)
        return next((one for one in found if self._refs.is_whole(one)), None)

    def latest(self, component: str, arch: str) -> Artifact | None:
        """Find what a component was last built as, or kept as; None where it is not here whole."""
        where = (
            "left join current using (component, arch) where component = ? and arch = ?"
            " order by artifact.key = current.key desc, seen desc"
        )
        found = self._look(where, component, arch)
        return next((one for one in found if self._refs.is_whole(one)), None)

    def everything(self) -> tuple[Artifact, ...]:
        """List what the index knows, newest first, also artifacts whose commits are lost."""
        return tuple(self._select(f"order by seen desc limit {_MOST}", ()))

    # Writing

    def record(self, artifact: Artifact, *, osname: str) -> Artifact:
        """Set an artifact's refs and remember it; it is then the current one of its component.

        Its commits carry ``commit_metadata``. One without files gets an empty commit, because
        what is on no ref would be forgotten; so take the artifact that is returned.
        """
        if not artifact.commits:
            artifact = self._with_empty_commit(artifact)
        refs = {key_ref(osname, artifact.key, part): at for part, at in artifact.commits.items()}
        self._repo.set_refs(refs)
        self._write(lambda db: _insert(db, artifact, time.time_ns()))
        self.set_current([artifact], osname=osname)
        return artifact

    def set_current(self, artifacts: Iterable[Artifact], *, osname: str) -> None:
        """Say which artifacts a run kept or built: the components' refs move to them.

        Refs of parts that a component no longer has are removed.
        """
        chosen = tuple(artifacts)
        rows = [(one.component, one.arch, one.key) for one in chosen]
        # Two runs at once: the parts of a component stay those of one of its artifacts, and the
        # index says the same one.
        with self._repo.locked("the components' refs"):
            self._set_component_refs(chosen, osname)
            self._write(lambda db: db.executemany("replace into current values (?, ?, ?)", rows))

    def _set_component_refs(self, chosen: Sequence[Artifact], osname: str) -> None:
        refs: dict[RefName, Commit] = {}
        stale = []
        for artifact in chosen:
            for part in Part:
                ref = component_ref(osname, artifact.component, artifact.arch, part)
                if part in artifact.commits:
                    refs[ref] = artifact.commits[part]
                elif self._repo.resolve(ref) is not None:
                    stale.append(ref)
        self._repo.set_refs(refs)
        for ref in stale:
            self._repo.set_ref(ref, None)

    def rebuild_index(self) -> int:
        """Make the index anew from the repository; tells how many artifacts are there."""
        with self._lock:
            self._drop()
            row = self._asked(lambda db: db.execute("select count(*) from artifact").fetchone())
        return int(row[0])

    def close(self) -> None:
        """Close the index; using it opens it again."""
        with self._lock:
            if self._database is not None:
                self._database.close()
                self._database = None

    def _with_empty_commit(self, artifact: Artifact) -> Artifact:
        empty = self._repo.path / "tmp" / f"empty-{unique_name()}"
        empty.mkdir()
        metadata = commit_metadata(artifact, [Part.RUNTIME])
        try:
            commit = self._repo.commit_dir(empty, subject=artifact.component, metadata=metadata)
        finally:
            empty.rmdir()
        return replace(artifact, commits={Part.RUNTIME: commit})

    # The index

    def _look(self, where: str, *values: str) -> list[Artifact]:
        """Ask the index; where it knows nothing, bring it up to date and ask again."""
        found = self._select(where, values)
        if not found and self._refs.places() != self._seen:
            self._write(self._update)
            found = self._select(where, values)
        return found

    def _select(self, where: str, values: Sequence[str]) -> list[Artifact]:
        def select(db: sqlite3.Connection) -> list[Artifact]:
            question = f"select body, check_sum, artifact.key from artifact {where}"
            return [_parse(*row) for row in db.execute(question, values)]

        return self._asked(select)

    def _asked(self, question: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the index; a damaged one is made anew, once."""
        with self._lock:
            try:
                return question(self._open())
            except (sqlite3.DatabaseError, Trouble) as error:
                self._raise_if_not_damage(error)
                self._repo.log.detail(f"{self._index} is made anew: {error}", about="artifacts")
            self._drop()
            return question(self._open())

    def _raise_if_not_damage(self, error: sqlite3.DatabaseError | Trouble) -> None:
        # The low byte is the kind of error, the others tell more of it.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise full_disk(self._index) from error
        if code in _ENVIRONMENT:
            raise Trouble(
                f"{self._index} cannot be used: {error}",
                hint=f"rm {self._index}; it is made anew",
            ) from error

    def _write(self, change: Callable[[sqlite3.Connection], object]) -> None:
        def write(db: sqlite3.Connection) -> None:
            with _transaction(db):
                change(db)

        self._asked(write)

    def _open(self) -> sqlite3.Connection:
        if self._database is None:
            with self._alone():
                db = sqlite3.connect(
                    self._index, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
                )
                try:
                    self._prepare(db)
                except BaseException:
                    db.close()
                    raise
            self._database = db
        return self._database

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from opening the index while it is made or removed."""
        with lock(Path(f"{self._index}.lock"), what="the index of artifacts", wait_s=_BUSY_S):
            yield

    def _prepare(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("pragma user_version").fetchone()
        # The index can be made anew: only the repository must not be lost.
        db.execute("pragma synchronous = normal")
        if version == _SCHEMA:
            self._seen = dict(db.execute("select directory, changed from place"))
            if self._seen == self._refs.places():
                return
        else:
            db.execute("pragma journal_mode = wal")
        with _transaction(db):
            if version != _SCHEMA:
                _make_tables(db)
            self._update(db)

    def _update(self, db: sqlite3.Connection) -> None:
        """Take into the index what the refs say, and out of it what they no longer do."""
        now = time.time_ns()
        places = self._refs.places()
        here = self._refs.keys(places)
        indexed = {key for (key,) in db.execute("select key from artifact")}
        gone = [(key,) for key in indexed - here.keys()]
        db.executemany("delete from artifact where key = ?", gone)
        for key in here.keys() - indexed:
            artifact = self._refs.read(key, here[key])
            if artifact is not None:
                seen = max(path.stat().st_mtime_ns for path in here[key].values())
                _insert(db, artifact, seen)
        if db.execute("select 1 from current limit 1").fetchone() is None:
            rows = self._refs.current(places)
            db.executemany("replace into current values (?, ?, ?)", rows)
        self._seen = {place: at if now - at > RACY_NS else 0 for place, at in places.items()}
        db.execute("delete from place")
        db.executemany("insert into place values (?, ?)", self._seen.items())

    def _drop(self) -> None:
        """Remove the index; it is made anew when next asked."""
        self.close()
        with self._alone():
            for suffix in ("", "-wal", "-shm", "-journal"):
                Path(f"{self._index}{suffix}").unlink(missing_ok=True)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("begin immediate")
    try:
        yield
    except BaseException:
        db.execute("rollback")
        raise
    db.execute("commit")


def _make_tables(db: sqlite3.Connection) -> None:
    for table in ("artifact", "current", "place"):
        db.execute(f"drop table if exists {table}")
    for statement in filter(str.strip, _TABLES.split(";")):
        db.execute(statement)
    db.execute(f"pragma user_version = {_SCHEMA}")


def _insert(db: sqlite3.Connection, artifact: Artifact, seen: int) -> None:
    body = to_json(artifact, indent=None).encode()
    row = (artifact.key, artifact.recipe, artifact.component, artifact.arch, seen, body)
    db.execute("replace into artifact values (?, ?, ?, ?, ?, ?, ?)", (*row, zlib.crc32(body)))


def _parse(body: bytes, check_sum: int, key: str) -> Artifact:
    """Read a row; raises Trouble for one that is damaged.

    What has the sum is what ``_insert`` wrote of an artifact, so its types are not looked at.
    """
    if zlib.crc32(body) != check_sum:
        raise Trouble("damaged", where=key)
    told = json.loads(body)
    told["commits"] = {Part(part): commit for part, commit in told["commits"].items()}
    return Artifact(**told)
