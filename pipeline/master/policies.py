# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which request may start, and where."""

import random
from collections.abc import Callable
from typing import Any

from twisted.internet import defer

from pipeline.master.book import Book
from pipeline.ports.remote_settings import RemoteSettings
from pipeline.words.fitness import Pool

TRY = "try"
"""The property of a request that is of a try, or of what a try asked for."""


@defer.inlineCallbacks
def parent_alive(builder: Any, _worker: Any, request: Any) -> Any:
    """Refuse, and cancel, what a build asked for that is over: the master was killed meanwhile.

    The run that was started again asks anew for what it needs.
    """
    master = builder.master
    buildset = yield master.data.get(("buildsets", request.bsid))
    parent = buildset["parent_buildid"]
    if parent is None:
        return True
    build = yield master.data.get(("builds", parent))
    if build is not None and not build["complete"]:
        return True
    reason = {"reason": "the build that asked for it is over"}
    yield master.data.control("cancel", reason, ("buildrequests", request.id))
    return False


def first_slot_for_oldest(book: Book, first: str) -> Callable[[Any, Any, Any], Any]:
    """Keep one slot for the oldest push: else newer ones could hold all, waiting for its turn."""

    @defer.inlineCallbacks
    def may_start(_builder: Any, worker: Any, request: Any) -> Any:
        if worker.worker.workername != first:
            return True
        pushes = yield book.ask(lambda ledger: ledger.pushes.open())
        oldest = min((push.id for push in pushes if not push.is_try), default=None)
        return oldest is None or request.properties.getProperty("push") == oldest

    return may_start


def last_slot_first(first: str) -> Callable[[Any, Any, Any], Any]:
    """Choose any other slot before the one that is kept for the oldest push."""

    def choose(_builder: Any, workers: list[Any], _request: Any) -> Any:
        others = [one for one in workers if one.worker.workername != first]
        return (others or workers or [None])[0]

    return choose


def may_do(remote: RemoteSettings) -> Callable[[Any, Any, Any], Any]:
    """Keep a request from workers of the wrong pool, and from those that had it before.

    What was lost or had trouble is done again elsewhere, as long as there is another worker.
    """

    @defer.inlineCallbacks
    def may_start(builder: Any, worker: Any, request: Any) -> Any:
        if not (yield parent_alive(builder, worker, request)):
            return False
        slot = worker.worker.workername
        mine = remote.worker_of(slot)
        if mine is None:
            return True
        is_try = bool(request.properties.getProperty(TRY))
        if mine.pool is Pool.TRY and not is_try:
            return False
        builds = yield builder.master.data.get(("buildrequests", request.id, "builds"))
        had = set()
        for build in builds:
            before = yield builder.master.data.get(("workers", build["workerid"]))
            had.add(_owner(remote, before["name"]))
        if mine.name not in had:
            return True
        fit = [one.worker for one in builder.workers if not one.worker.isPaused()]
        others = {_owner(remote, one.workername) for one in fit}
        return not others - had

    return may_start


def _owner(remote: RemoteSettings, slot: str) -> str:
    found = remote.worker_of(slot)
    return "" if found is None else found.name


def remote_first(remote: RemoteSettings) -> Callable[[Any, Any, Any], Any]:
    """Choose workers on other machines first: this one has the master to carry, too."""

    def is_away(slot: str) -> bool:
        owner = remote.worker_of(slot)
        return owner is not None and not owner.is_local

    def choose(_builder: Any, workers: list[Any], _request: Any) -> Any:
        away = [one for one in workers if is_away(one.worker.workername)]
        return random.choice(away or workers) if workers else None

    return choose
