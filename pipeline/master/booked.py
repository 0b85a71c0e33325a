# SPDX-License-Identifier: LGPL-2.1-or-later
"""A service of the master that has a book of its own, and closes it when it stops."""

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import defer

from pipeline.master.book import Book


class Booked(BuildbotService):
    """What derived services begin when they start they end before this stops."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.book: Book | None = None

    def reconfigService(self, *, book: Book) -> Any:  # noqa: N802
        """Take up new settings."""
        self.book = book
        return defer.succeed(None)

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Let go of the ledger."""
        yield super().stopService()
        if self.book is not None:
            self.book.close()
