# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages of ours beside Buildbot's own, on the same port: a service with a ledger and one page."""

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import defer
from twisted.web.resource import Resource

from pipeline.master.book import Book


class Beside(BuildbotService):
    """Puts its page below its own name; the ledger is closed when it stops."""

    book: Book | None = None

    def page(self) -> Resource:
        """Make the page."""
        raise NotImplementedError

    def reconfigService(self, *, book: Book) -> Any:  # noqa: N802
        """Take up new settings."""
        self.book = book
        return defer.succeed(None)

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Put the page beside the others."""
        yield super().startService()
        self.master.www.apps.get("base").resource.putChild(self.name.encode(), self.page())

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Close the ledger."""
        yield super().stopService()
        if self.book is not None:
            self.book.close()
