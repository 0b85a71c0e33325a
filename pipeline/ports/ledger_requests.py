# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger's merge requests: what hooks told of them, and which of their heads were tried.

A head and its try are written in one transaction, which ends the try of the head before it, too:
of each request one is tried, of each head one try is made.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from pipeline.ports import ledger_tables as tables
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_pushes import add_push, read_push
from pipeline.words.push import OPEN, NewPush, Push, PushState, Via
from pipeline.words.request import EVERY, MOST_OPEN, Known, Told, words_of

_REQUEST = tables.request
_PUSH = tables.push
GIVEN_UP = (PushState.SUPERSEDED, PushState.CANCELLED)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Tries that were recorded, and those that came to their end by that."""

    begun: tuple[Push, ...] = ()
    given_up: tuple[Push, ...] = ()


class RequestLedger:
    """The merge requests of one ledger; see ``Ledger.requests``."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, url: str) -> dict[str, Known]:
        """Tell what is known of a repository's requests, by ref."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_REQUEST).where(_REQUEST.c.url == url))
            return {row.ref: _known(row) for row in rows}

    def every(self) -> dict[str, dict[str, Known]]:
        """Tell what is known of all requests, by URL and ref."""
        found: dict[str, dict[str, Known]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(select(_REQUEST)):
                found.setdefault(row.url, {})[row.ref] = _known(row)
        return found

    def going(self, url: str) -> frozenset[str]:
        """List the refs of requests of which a try has no ending."""
        with self._database.reading() as connection:
            return frozenset(push.branch for push in _going(connection, url))

    def every_going(self) -> dict[str, frozenset[str]]:
        """List the same of all repositories, by URL."""
        found: dict[str, set[str]] = {}
        with self._database.reading() as connection:
            for push in _going(connection):
                found.setdefault(push.url, set()).add(push.branch)
        return {url: frozenset(refs) for url, refs in found.items()}

    def given_up(self, ids: frozenset[int]) -> list[Push]:
        """List those of the pushes that are tries of requests which are wanted no more."""
        if not ids:
            return []
        mine = (_PUSH.c.via == Via.REQUEST, _PUSH.c.state.in_(GIVEN_UP), _PUSH.c.id.in_(ids))
        with self._database.reading() as connection:
            return [read_push(row) for row in connection.execute(select(_PUSH).where(*mine))]

    def note_told(self, url: str, told: Told, *, even_new: bool) -> tuple[bool, tuple[Push, ...]]:
        """Record what a hook said; tells whether it was no older than what is known.

        Tells also the tries that ended because a request was closed. One that nothing is known of
        is recorded where ``even_new``. A hook that is sent once more changes nothing.
        """
        with self._database.writing() as connection:
            known = _find(connection, url, told.ref)
            if known is None and not even_new:
                return True, ()
            known = known or Known(ref=told.ref)
            if told.when < known.told:
                return False, ()
            ended: list[Push] = []
            if not told.is_open:
                message = f"{words_of(told.ref)} was closed"
                ended = _end(connection, url, told.ref, PushState.CANCELLED, message)
            now = replace(
                known,
                # What was not tried to its end is tried when it is opened again.
                head="" if ended else known.head,
                is_open=told.is_open,
                is_member=told.is_member,
                author=told.author,
                target=told.target,
                page=told.page,
                told=told.when,
            )
            _put(connection, url, now)
            return True, tuple(ended)

    def note_first(self, url: str, heads: Mapping[str, str]) -> None:
        """Record the requests that were there before us; none of them is tried as it is."""
        with self._database.writing() as connection:
            for ref, head in {**heads, EVERY: ""}.items():
                if _find(connection, url, ref) is None:
                    _put(connection, url, Known(ref=ref, head=head))

    def note_gone(self, url: str, ref: str) -> tuple[Push, ...]:
        """Forget a request that its server has no more, and end its try."""
        with self._database.writing() as connection:
            connection.execute(delete(_REQUEST).where(_is(url, ref)))
            message = f"{words_of(ref)} is gone from its server"
            return tuple(_end(connection, url, ref, PushState.CANCELLED, message))

    def begin(self, push: NewPush) -> Begun:
        """Record the try of a request's head, and end that of the head before it.

        Nothing is recorded where this head was tried meanwhile, or the request closed, or too many
        others of its repository are being tried.
        """
        url, ref = push.url, push.branch
        with self._database.writing() as connection:
            known = _find(connection, url, ref) or Known(ref=ref)
            others = {one.branch for one in _going(connection, url)} - {ref}
            if known.head == push.after or not known.is_open or len(others) >= MOST_OPEN:
                return Begun()
            before = [one for one in _going(connection, url) if one.branch == ref]
            if before:
                ids = ", ".join(f"{one.id}" for one in before)
                push = replace(push, note=f"{push.note}, in the place of push {ids}")
            made = add_push(connection, push, time.time())
            message = f"{words_of(ref)} has moved on: push {made.id} tries that"
            _put(connection, url, replace(known, head=push.after))
            ended = _end(connection, url, ref, PushState.SUPERSEDED, message, by=made.id)
            return Begun(begun=(made,), given_up=tuple(ended))


def _known(row: Any) -> Known:
    return Known(**{name: getattr(row, name) for name in Known.__dataclass_fields__})


def _is(url: str, ref: str) -> Any:
    return (_REQUEST.c.url == url) & (_REQUEST.c.ref == ref)


def _find(connection: Connection, url: str, ref: str) -> Known | None:
    row = connection.execute(select(_REQUEST).where(_is(url, ref))).first()
    return None if row is None else _known(row)


def _put(connection: Connection, url: str, known: Known) -> None:
    values = {name: getattr(known, name) for name in Known.__dataclass_fields__}
    values["seen"] = time.time()
    if connection.execute(update(_REQUEST).where(_is(url, known.ref)).values(values)).rowcount:
        return
    connection.execute(insert(_REQUEST).values(url=url, **values))


def _going(connection: Connection, url: str = "") -> list[Push]:
    question = select(_PUSH).where(_PUSH.c.via == Via.REQUEST, _PUSH.c.state.in_(OPEN))
    question = question.where(_PUSH.c.url == url) if url else question
    return [read_push(row) for row in connection.execute(question.order_by(_PUSH.c.id))]


def _end(
    connection: Connection, url: str, ref: str, state: PushState, message: str, *, by: int = 0
) -> list[Push]:
    """End the tries of a request, but for the one that another gives way to."""
    ending = [one for one in _going(connection, url) if one.branch == ref and one.id != by]
    values = {"state": state, "message": message, "ended": time.time(), "superseded_by": by or None}
    for one in ending:
        connection.execute(update(_PUSH).where(_PUSH.c.id == one.id).values(values))
    return [replace(one, state=state, message=message, superseded_by=by or None) for one in ending]
