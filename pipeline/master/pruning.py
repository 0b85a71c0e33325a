# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drop what is old from Buildbot's database, at the start and every day: logs, then builds.

Buildbot's own janitor drops logs alone, by a builder and a worker more. Rows go in many short
transactions with pauses as long, in the threads of the database: builds and pages go on meanwhile.
What a run said and came to stays in its own directory and in the ledger.
"""

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection
from twisted.internet import defer, task
from twisted.python import log

from pipeline.master.booked import Booked
from pipeline.master.old_rows import OldRows, in_batches
from pipeline.master.reconciler import NAME as RECONCILER
from pipeline.master.scheduler import mark_of
from pipeline.ports.ledger import Ledger

NAME = "pruning"
_DAY_S = 86400


class Pruning(Booked):
    """Goes by ``keep_logs``, ``keep_builds`` (days) and ``keep_newest`` of the settings."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._loop: task.LoopingCall | None = None
        self._pruning: Any = defer.succeed(None)

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Begin with the first day."""
        yield super().startService()
        self._loop = task.LoopingCall(self._begin)
        self._loop.start(_DAY_S, now=True)

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Prune no more, when the transaction that goes on is over."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self.running = False
        yield self._pruning
        yield super().stopService()

    def _begin(self) -> Any:
        self._pruning = self._prune()
        return self._pruning

    @defer.inlineCallbacks
    def _prune(self) -> Any:
        """Drop it all; an error is told, and the next day tries again."""
        assert self.book is not None
        settings = self.book.settings
        rows = OldRows(self.master.db.model)
        now = int(time.time())
        before = now - settings.keep_builds * _DAY_S
        try:
            logs = yield self._drop_logs(rows, now - settings.keep_logs * _DAY_S)
            builds = yield self._drop_builds(rows, before)
            changes = yield self._all(rows.drop_changes, before)
            # A push that is being started may be of a stamp that nothing else is of any more.
            reconciler = self.master.service_manager.namedServices.get(RECONCILER)
            if reconciler is not None:
                yield reconciler.alone(lambda: self._all(rows.drop_sourcestamps, before))
        except defer.CancelledError:
            log.msg("what is old in Buildbot's database goes on to be dropped at the next start")
        except Exception as error:
            log.err(error, "what is old in Buildbot's database could not be dropped")
        else:
            days = f"{settings.keep_logs} and {settings.keep_builds} days"
            log.msg(f"{logs} logs, {builds} builds, {changes} changes were older than {days}")

    @defer.inlineCallbacks
    def _drop_logs(self, rows: OldRows, before: int) -> Any:
        count, after = 0, 0
        while after is not None:
            some, after = yield self._do(rows.drop_logs, after=after, before=before)
            count += some
        return count

    @defer.inlineCallbacks
    def _drop_builds(self, rows: OldRows, before: int) -> Any:
        assert self.book is not None
        newest = self.book.settings.keep_newest
        marks = yield self.book.ask(_unended)
        alive = yield self._do(rows.kept_alive, marks)
        count, after = 0, 0
        while after is not None:
            found, after = yield self._do(
                rows.old_buildsets, after=after, before=before, newest=newest
            )
            for some in in_batches([one for one in found if one not in alive]):
                count += yield self._do(rows.drop_buildsets, some)
        return count

    @defer.inlineCallbacks
    def _all(self, drop: Callable[[Connection, int], int], before: int) -> Any:
        count = 0
        while some := (yield self._do(drop, before)):
            count += some
        return count

    @defer.inlineCallbacks
    def _do(self, what: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Do it in one transaction, and leave the database to others for as long as it took."""
        if not self.running:
            raise defer.CancelledError  # the threads of the database may be gone already
        began = time.monotonic()
        found = yield self.master.db.pool.do_with_transaction(what, *args, **given)
        yield task.deferLater(self.master.reactor, time.monotonic() - began, lambda: None)
        return found


def _unended(ledger: Ledger) -> list[str]:
    """Tell the marks of pushes without an ending, or whose run has none."""
    pushes = {push.id for push in ledger.pushes.open()}
    for run in ledger.runs(unfinished=True):
        pushes |= {push.id for push in ledger.pushes.of_run(run.version)}
    return [mark_of(push) for push in pushes]
