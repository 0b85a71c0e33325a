# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which request may start, and where."""

from collections.abc import Callable
from typing import Any

from twisted.internet import defer

from pipeline.master.book import Book


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
