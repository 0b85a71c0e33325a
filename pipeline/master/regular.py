# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service that looks at the ledger at its start, regularly and when it is told to."""

from collections.abc import Callable
from typing import Any

from twisted.internet import defer, task
from twisted.python import log

from pipeline.master.book import Book
from pipeline.master.booked import Booked


class Regular(Booked):
    """Derived services have ``_look`` and say in ``what`` what it does, for the log."""

    what = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = defer.DeferredLock()
        self._loop: task.LoopingCall | None = None

    def reconfigService(self, *, book: Book) -> Any:  # noqa: N802
        """Take up new settings."""
        self.book = book
        if self._loop is not None and self._loop.running:
            self._loop.stop()
            self._begin()
        return defer.succeed(None)

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Begin to look, once the master is there."""
        yield super().startService()
        self._begin()

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Stop looking, when the look that goes on is over."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        yield self._lock.run(defer.succeed, None)
        yield super().stopService()

    def _begin(self) -> None:
        assert self.book is not None
        self._loop = task.LoopingCall(self.look)
        self._loop.start(self.book.settings.reconcile, now=True)

    @defer.inlineCallbacks
    def look(self) -> Any:
        """Look once, one look at a time; an error is told, and the next look tries again.

        One that waits for its turn sees all that is there by then: no other waits behind it.
        """
        if self._lock.locked and self._lock.waiting:
            return
        try:
            yield self._lock.run(self._look)
        except Exception as error:
            log.err(error, f"{self.what}; the next look tries again")

    def alone(self, what: Callable[[], Any]) -> Any:
        """Do something while nothing is looked at."""
        return self._lock.run(what)

    def _look(self) -> Any:
        raise NotImplementedError
