# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start again whatever the ledger has without an ending and nobody works on.

This is the only way in which a run is started, so a push that was just found, one whose request was
lost with the master, and one that had trouble before all go the same way; and no push has two
requests at once, since one look is over before the next begins.
"""

import time
from collections.abc import Sequence
from typing import Any

from buildbot.data.resultspec import Filter
from buildbot.process.results import CANCELLED
from twisted.internet import defer

from pipeline.master.regular import Regular
from pipeline.master.scheduler import PUSHES, mark_of, push_of, stop_run_of
from pipeline.ports.ledger import Ledger
from pipeline.words.push import Push, PushState, to_start

NAME = "reconciler"


class Reconciler(Regular):
    """Looks at start, regularly, and whenever a push was written down."""

    what = "pushes could not be looked at"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stopped: set[int] = set()

    @defer.inlineCallbacks
    def _look(self) -> Any:
        if self.book is None or self.master.botmaster.shuttingDown:
            return
        scheduler = self.master.scheduler_manager.namedServices.get(PUSHES)
        if scheduler is None or not scheduler.running:
            return  # at the first start the builders are not there yet
        # In this order: what comes to its end in between is neither idle nor open.
        live = yield self._live()
        yield self._stop_given_up(frozenset(live) - {None})
        pushes = yield self.book.ask(lambda ledger: ledger.pushes.open())
        idle = [push for push in pushes if push.id not in live]
        idle = yield self._without_cancelled(idle, scheduler)
        due = to_start(idle, time.time(), self.book.settings.attempts)
        # What has used up its attempts gets a build, too: it gives the push and its run an ending.
        for push in sorted((*due.start, *due.exhausted), key=lambda one: one.id):
            yield scheduler.start(push)

    @defer.inlineCallbacks
    def _stop_given_up(self, live: frozenset[int]) -> Any:
        """Stop, once, the tries of merge requests that moved on or were closed."""
        assert self.book is not None
        self._stopped &= live
        ids = live - self._stopped
        for push in (yield self.book.ask(lambda ledger: ledger.requests.given_up(ids))):
            if (yield stop_run_of(self.master, push.id, push.message)):
                self._stopped.add(push.id)

    @defer.inlineCallbacks
    def _live(self) -> Any:
        going = yield self.master.data.get(("buildsets",), filters=[_complete(False)])
        return {push_of(one["external_idstring"]) for one in going}

    @defer.inlineCallbacks
    def _without_cancelled(self, idle: Sequence[Push], scheduler: Any) -> Any:
        """Give those their ending that somebody took out of the queue."""
        assert self.book is not None
        left = []
        for push in idle:
            if not (yield self._was_cancelled(push)):
                left.append(push)
            elif push.run is None:
                yield self.book.ask(_cancel(push.id))
            else:
                yield scheduler.start(push, cancelled=True)
        return left

    @defer.inlineCallbacks
    def _was_cancelled(self, push: Push) -> Any:
        marked = Filter("external_idstring", "eq", [mark_of(push.id)])
        found = yield self.master.data.get(("buildsets",), filters=[_complete(True), marked])
        newest = max(found, key=lambda one: int(one["bsid"]), default=None)
        return newest is not None and newest["results"] == CANCELLED


def _complete(value: bool) -> Filter:
    return Filter("complete", "eq", [value])


def _cancel(number: int) -> Any:
    def end(ledger: Ledger) -> None:
        ledger.pushes.end(number, PushState.DONE, "it was cancelled before it began")

    return end
