# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pages of ours beside Buildbot's own, on the same port: a service with a ledger and one page."""

from typing import Any

from twisted.internet import defer
from twisted.web.resource import Resource

from pipeline.master.booked import Booked


class Beside(Booked):
    """Puts its page below its own name."""

    def page(self) -> Resource:
        """Make the page."""
        raise NotImplementedError

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Put the page beside the others."""
        yield super().startService()
        self.master.www.apps.get("base").resource.putChild(self.name.encode(), self.page())
