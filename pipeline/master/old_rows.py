# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rows of Buildbot's database that are old enough to go, and what hangs on them.

A buildset goes whole: its requests, their builds, and these builds' steps, logs and properties.
SQLite's foreign keys are switched off by Buildbot, so each table is named here, children first.
Every function is one short transaction; whoever calls comes again until nothing is left.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from sqlalchemy import Connection, delete, exists, func, or_, select, update

LOGS = 200
"""Logs in one transaction; a log has up to some megabytes."""
_PAGE = 500
_AT_ONCE = 25
"""Buildsets in one transaction: some hundred rows of steps and properties."""


class OldRows:
    """The tables of one database; ``model`` is Buildbot's."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def drop_logs(
        self, connection: Connection, *, after: int, before: int
    ) -> tuple[int, int | None]:
        """Empty some logs of steps that began before, and mark them as Buildbot's janitor does.

        Tells how many, and from where to go on; None: the others are younger. ``after`` is an id.
        """
        logs, steps, chunks = self._model.logs, self._model.steps, self._model.logchunks
        some = (
            select(logs.c.id, logs.c.type, steps.c.started_at)
            .join(steps, steps.c.id == logs.c.stepid)
            .where(logs.c.id > after)
            .order_by(logs.c.id)
            .limit(LOGS)
        )
        rows = list(connection.execute(some))
        old = [row for row in rows if row.started_at is not None and row.started_at < before]
        full = [row.id for row in old if row.type != "d"]
        connection.execute(delete(chunks).where(chunks.c.logid.in_(full)))
        connection.execute(update(logs).where(logs.c.id.in_(full)).values(type="d"))
        # Numbers are given in the order of time, but for what begins at once.
        return len(full), rows[-1].id if old else None

    def kept_alive(self, connection: Connection, marks: Iterable[str]) -> frozenset[int]:
        """Tell the buildsets that go on or have one of these marks, and all they asked for."""
        sets = self._model.buildsets
        first = select(sets.c.id).where(sets.c.complete == 0)
        found = set(connection.execute(first).scalars())
        for some in _pages(sorted(marks)):
            marked = select(sets.c.id).where(sets.c.external_idstring.in_(some))
            found |= set(connection.execute(marked).scalars())
        newest = found
        while newest:
            builds = self._builds_of(connection, newest)
            asked_for: set[int] = set()
            for some in _pages(builds):
                children = select(sets.c.id).where(sets.c.parent_buildid.in_(some))
                asked_for |= set(connection.execute(children).scalars())
            newest = asked_for - found
            found |= newest
        return frozenset(found)

    def old_buildsets(
        self, connection: Connection, *, after: int, before: int, newest: int
    ) -> tuple[list[int], int | None]:
        """List some buildsets that were over before, and from where to go on; None: no more.

        Those with one of the ``newest`` builds of any builder are left out. ``after`` is an id.
        """
        sets = self._model.buildsets
        old = (
            select(sets.c.id)
            .where(sets.c.complete == 1, sets.c.complete_at < before, sets.c.id > after)
            .order_by(sets.c.id)
            .limit(_PAGE)
        )
        found = list(connection.execute(old).scalars())
        requests, builds = self._model.buildrequests, self._model.builds
        mine = (
            select(requests.c.buildsetid, builds.c.builderid, builds.c.number)
            .join(builds, builds.c.buildrequestid == requests.c.id)
            .where(requests.c.buildsetid.in_(found))
        )
        rows = list(connection.execute(mine))
        first = {
            builder: self._first_kept(connection, builder, newest)
            for builder in {row.builderid for row in rows}
        }
        kept = {row.buildsetid for row in rows if row.number >= first[row.builderid]}
        return [one for one in found if one not in kept], found[-1] if found else None

    def _first_kept(self, connection: Connection, builder: int, newest: int) -> int:
        """Tell the number from which builds stay: the last one always, numbers go on from it."""
        builds = self._model.builds
        question = (
            select(builds.c.number)
            .where(builds.c.builderid == builder)
            .order_by(builds.c.number.desc())
            .offset(max(1, newest) - 1)
            .limit(1)
        )
        return int(connection.execute(question).scalar() or 0)

    def drop_buildsets(self, connection: Connection, ids: Collection[int]) -> int:
        """Drop buildsets with all that hangs on them; tells how many builds went."""
        model = self._model
        requests = self._ids(connection, model.buildrequests, "buildsetid", ids)
        builds = self._ids(connection, model.builds, "buildrequestid", requests)
        steps = self._ids(connection, model.steps, "buildid", builds)
        logs = self._ids(connection, model.logs, "stepid", steps)
        results = self._ids(connection, model.test_result_sets, "buildid", builds)
        for name in ("parent_buildid", "rebuilt_buildid"):
            column = model.buildsets.c[name]
            for some in _pages(builds):
                lost = update(model.buildsets).where(column.in_(some)).values({name: None})
                connection.execute(lost)
        for table, name, of in (
            (model.logchunks, "logid", logs),
            (model.logs, "id", logs),
            (model.test_results, "test_result_setid", results),
            (model.test_result_sets, "id", results),
            (model.steps, "id", steps),
            (model.build_properties, "buildid", builds),
            (model.build_data, "buildid", builds),
            (model.builds, "id", builds),
            (model.buildrequest_claims, "brid", requests),
            (model.buildrequests, "id", requests),
            (model.buildset_properties, "buildsetid", ids),
            (model.buildset_sourcestamps, "buildsetid", ids),
            (model.buildsets, "id", ids),
        ):
            for some in _pages(of):
                connection.execute(delete(table).where(table.c[name].in_(some)))
        return len(builds)

    def drop_changes(self, connection: Connection, before: int) -> int:
        """Drop some changes from before that no buildset is of; tells how many."""
        model = self._model
        changes, used = model.changes, model.buildset_sourcestamps
        old = (
            select(changes.c.changeid)
            .where(
                changes.c.when_timestamp < before,
                ~exists().where(used.c.sourcestampid == changes.c.sourcestampid),
            )
            .limit(_PAGE)
        )
        found = list(connection.execute(old).scalars())
        lost = update(changes).where(changes.c.parent_changeids.in_(found))
        connection.execute(lost.values(parent_changeids=None))
        of_change = (model.change_files, model.change_properties, model.change_users)
        for table in (*of_change, model.scheduler_changes, changes):
            connection.execute(delete(table).where(table.c.changeid.in_(found)))
        return len(found)

    def drop_sourcestamps(self, connection: Connection, before: int) -> int:
        """Drop some source stamps from before that nothing is of; tells how many.

        Those without a revision stay. There are few, and whoever adds a change or a buildset
        looks first whether there is such a stamp: one of a push that is new must not go then.
        """
        model = self._model
        stamps = model.sourcestamps
        old = (
            select(stamps.c.id)
            .where(
                stamps.c.created_at < before,
                func.coalesce(stamps.c.revision, "") != "",
                ~or_(
                    exists().where(model.buildset_sourcestamps.c.sourcestampid == stamps.c.id),
                    exists().where(model.changes.c.sourcestampid == stamps.c.id),
                ),
            )
            .limit(_PAGE)
        )
        found = list(connection.execute(old).scalars())
        connection.execute(delete(stamps).where(stamps.c.id.in_(found)))
        return len(found)

    def _builds_of(self, connection: Connection, buildsets: Collection[int]) -> list[int]:
        requests = self._ids(connection, self._model.buildrequests, "buildsetid", buildsets)
        return self._ids(connection, self._model.builds, "buildrequestid", requests)

    def _ids(
        self, connection: Connection, table: Any, column: str, of: Collection[int]
    ) -> list[int]:
        found: list[int] = []
        for some in _pages(of):
            question = select(table.c.id).where(table.c[column].in_(some))
            found += connection.execute(question).scalars()
        return found


def in_batches(ids: Collection[int]) -> Iterator[list[int]]:
    """Share buildsets out among transactions."""
    return _pages(ids, _AT_ONCE)


def _pages(found: Collection[Any], size: int = _PAGE) -> Iterator[list[Any]]:
    everything = list(found)
    for start in range(0, len(everything), size):
        yield everything[start : start + size]
