# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger's pushes: recorded before anything else happens, and open until they have an ending.

A head and the pushes that its move became are written in one transaction, and only where the
head still is where the pushes begin: two that look at the same time record a push once.
"""

import json
import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_sitting import ensure_run
from pipeline.words.errors import BadInput
from pipeline.words.push import GONE, OPEN, NewPush, Push, PushState, Via
from pipeline.words.records import from_json, to_json
from pipeline.words.wish import Wish

_PUSH = tables.push
_HEAD = tables.head
_HAS_NO_RUN = (PushState.SUPERSEDED, PushState.REFUSED)
_STAYS = (PushState.SUPERSEDED, PushState.CANCELLED)
"""What a push stays, whatever the run comes to that somebody has still to stop."""


class PushLedger:
    """Heads and pushes of one ledger; see ``Ledger.pushes``. The order of ids is push order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Heads

    def heads(self) -> dict[tuple[str, str], str]:
        """Tell where every head (URL, branch) was seen last."""
        with self._database.reading() as connection:
            return {
                (row.url, row.branch): row.revision for row in connection.execute(select(_HEAD))
            }

    def note_head(
        self, url: str, branch: str, revision: str, pushes: Sequence[NewPush] = ()
    ) -> tuple[Push, ...]:
        """Record where a head is and the pushes that its move became, all or nothing.

        Nothing is recorded where it is known to be there already, or has moved to elsewhere than
        where the pushes begin since they were made up: whoever looks again sees it right.
        """
        begin = pushes[0].before if pushes else None
        with self._database.writing() as connection:
            if not _move(connection, url, branch, revision, begin):
                return ()
            now = time.time()
            return tuple(add_push(connection, push, now) for push in pushes)

    def note_back(
        self, url: str, branch: str, revision: str, pushes: Sequence[NewPush]
    ) -> tuple[Push, ...]:
        """Record that a head which was told to be gone is there, and the pushes of that; once."""
        key = (_HEAD.c.url == url) & (_HEAD.c.branch == branch + GONE)
        with self._database.writing() as connection:
            if not connection.execute(delete(_HEAD).where(key)).rowcount:
                return ()
            _move(connection, url, branch, revision)
            now = time.time()
            return tuple(add_push(connection, push, now) for push in pushes)

    def note_refused(self, push: NewPush, message: str, *, head: str = "") -> tuple[Push, ...]:
        """Record a push of which nothing can be made; once, as long as it stays where it is.

        That is noted as where ``head`` is; of what has none, under the component's name.
        """
        key = (push.url, head or f"{push.component}:refused")
        with self._database.writing() as connection:
            if not _move(connection, *key, push.after):
                return ()
            made = add_push(connection, push, time.time())
            values = {"state": PushState.REFUSED, "message": message, "ended": time.time()}
            connection.execute(_set(made.id).values(values))
            return (_one(connection, made.id),)

    def forget_refused(self, url: str, component: str) -> None:
        """Have the same push recorded again when it comes back: what is there now is good."""
        key = (_HEAD.c.url == url) & (_HEAD.c.branch == f"{component}:refused")
        with self._database.reading() as connection:
            if connection.execute(select(_HEAD.c.revision).where(key)).first() is None:
                return
        with self._database.writing() as connection:
            connection.execute(delete(_HEAD).where(key))

    # Writing

    def add(self, push: NewPush) -> Push:
        """Record a push that no head's move stands behind: by hand, of a base, of a manifest."""
        with self._database.writing() as connection:
            return add_push(connection, push, time.time())

    def begin_attempt(self, id: int, *, again: bool = False) -> int:
        """Record that its run begins, or begins once more; tells the attempt's number, from 1.

        Raises BadInput for a push that has its ending already, unless it is to be done ``again``;
        one that was superseded is in the run of another, and one that was refused in none.
        """
        with self._database.writing() as connection:
            push = _one(connection, id)
            if not push.is_open and (not again or push.state in _HAS_NO_RUN):
                raise BadInput(f"push {id} is {_why_over(push)}", hint="ostci pushes lists them")
            values = {
                "state": PushState.RUNNING,
                "attempts": push.attempts + 1,
                "attempted": time.time(),
                "ended": None,
            }
            connection.execute(_set(id).values(values))
            return push.attempts + 1

    def assign_run(self, id: int, version: str) -> None:
        """Record which run is the push's own."""
        with self._database.writing() as connection:
            _one(connection, id)
            ensure_run(connection, version)
            connection.execute(_set(id).values(run=version))

    def end(
        self,
        id: int,
        state: PushState,
        message: str = "",
        superseded_by: int | None = None,
        *,
        even_begun: bool = False,
    ) -> bool:
        """Give a push its ending, or back to those that wait; tells whether that was done.

        What is superseded must still be waiting, unless ``even_begun``, and stays so, whatever
        its run comes to. It composes nothing any more: those behind it need not wait for it.
        """
        values = {
            "state": state,
            "message": message,
            "superseded_by": superseded_by,
            "ended": None if state in OPEN else time.time(),
        }
        statement = _set(id).where(_PUSH.c.state.not_in(_STAYS))
        if state is PushState.SUPERSEDED and not even_begun:
            statement = statement.where(_PUSH.c.state == PushState.WAITING)
        with self._database.writing() as connection:
            push = _one(connection, id)
            is_done = bool(connection.execute(statement.values(values)).rowcount)
            if is_done and state is PushState.SUPERSEDED and push.run is not None:
                given_up = {"state": "given-up", "ended": time.time()}
                mine = (tables.ticket.c.run == push.run, tables.ticket.c.state == "waiting")
                connection.execute(update(tables.ticket).where(*mine).values(given_up))
            return is_done

    # Reading

    def get(self, id: int) -> Push:
        """Find a push; raises BadInput where there is none of that number."""
        with self._database.reading() as connection:
            return _one(connection, id)

    def waiting(self) -> list[Push]:
        """List what nobody has begun yet, in push order."""
        return self._list(select(_PUSH).where(_PUSH.c.state == PushState.WAITING))

    def open(self) -> list[Push]:
        """List what has no ending, in push order."""
        return self._list(select(_PUSH).where(_PUSH.c.state.in_(OPEN)))

    def newest(self, limit: int) -> list[Push]:
        """List the newest, in push order: the last is the newest."""
        return self._list(select(_PUSH).order_by(_PUSH.c.id.desc()).limit(limit))

    def of_run(self, version: str) -> list[Push]:
        """List the pushes that a run is the own run of."""
        return self._list(select(_PUSH).where(_PUSH.c.run == version))

    def is_run_awaited(self, version: str) -> bool:
        """Tell whether a run is of a push that has no ending yet, so that it is started again."""
        return any(push.is_open for push in self.of_run(version))

    def superseded(self) -> list[Push]:
        """List what gave way to newer ones, in push order."""
        return self._list(select(_PUSH).where(_PUSH.c.state == PushState.SUPERSEDED))

    def _list(self, question: Select[Any]) -> list[Push]:
        with self._database.reading() as connection:
            found = [read_push(row) for row in connection.execute(question)]
        return sorted(found, key=lambda push: push.id)


def _move(
    connection: Connection, url: str, branch: str, revision: str, begin: str | None = None
) -> bool:
    """Write down where a head is; tells whether that is news, and no news of elsewhere."""
    key = (_HEAD.c.url == url) & (_HEAD.c.branch == branch)
    known = connection.execute(select(_HEAD.c.revision).where(key)).scalar()
    if known == revision or (known is not None and begin is not None and begin != known):
        return False
    values = {"revision": revision, "seen": time.time()}
    if known is None:
        connection.execute(insert(_HEAD).values(url=url, branch=branch, **values))
    else:
        connection.execute(update(_HEAD).where(key).values(**values))
    return True


def add_push(connection: Connection, push: NewPush, now: float) -> Push:
    """Record a push within a transaction."""
    row = {
        "component": push.component,
        "url": push.url,
        "branch": push.branch,
        "before": push.before,
        "after": push.after,
        "commits": json.dumps(push.commits),
        "rewritten": push.rewritten,
        "via": push.via,
        "note": push.note,
        "received": now,
        "state": PushState.WAITING,
        "attempts": 0,
        "message": "",
        "wish": to_json(push.wish, indent=None) if push.wish != Wish() else "",
    }
    done = connection.execute(insert(_PUSH).values(row))
    assert done.inserted_primary_key is not None
    return _one(connection, int(done.inserted_primary_key[0]))


def _set(id: int) -> Any:
    return update(_PUSH).where(_PUSH.c.id == id)


def _one(connection: Connection, id: int) -> Push:
    row = connection.execute(select(_PUSH).where(_PUSH.c.id == id)).first()
    if row is None:
        raise BadInput(f"there is no push {id}", hint="ostci pushes lists them")
    return read_push(row)


def read_push(row: Any) -> Push:
    """Read a push from its row."""
    values = {name: getattr(row, name) for name in Push.__dataclass_fields__}
    values |= {"commits": tuple(json.loads(row.commits))}
    values |= {"via": Via(row.via), "state": PushState(row.state)}
    values["wish"] = from_json(Wish, row.wish) if row.wish else Wish()
    return Push(**values)


def _why_over(push: Push) -> str:
    if push.superseded_by is not None:
        return f"superseded by push {push.superseded_by}"
    if push.state is PushState.REFUSED:
        return f"refused: {push.message}"
    return f"over: {push.state}"
