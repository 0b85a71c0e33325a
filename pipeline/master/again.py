# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page's *Rebuild*: the run of the same push once more, written into the ledger.

Buildbot itself would copy the request, and a run would go its way beside the ledger. The button
cannot be hidden, so it does what people expect of it: with the build of a run, or of a part of it,
the push is forced again; with that of a component, this one is built in any case.
"""

from collections.abc import Sequence
from typing import Any

from buildbot.www.authz.authz import Forbidden
from twisted.internet import defer

from pipeline.master.booked import Booked
from pipeline.master.reconciler import NAME as RECONCILER
from pipeline.master.scheduler import requests_of
from pipeline.ports.ledger import Ledger
from pipeline.words.again import again
from pipeline.words.errors import BadInput
from pipeline.words.push import Push

NAME = "again"
_MOST = 1000


class Again(Booked):
    """Answers in the place of Buildbot's own action, as long as it runs."""

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Take the action's place; all addresses of a build have one endpoint."""
        yield super().startService()
        self._endpoint().actionRebuild = self._rebuild

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Give it back."""
        vars(self._endpoint()).pop("actionRebuild", None)
        yield super().stopService()

    def _endpoint(self) -> Any:
        endpoint, _ = self.master.data.getEndpoint(("builds", 1))
        return endpoint

    @defer.inlineCallbacks
    def _rebuild(self, args: Any, kwargs: Any) -> Any:
        assert self.book is not None
        build = yield self._endpoint().get(None, kwargs)
        if build is None:
            raise Forbidden(b"there is no such build")
        found = yield self.master.data.get(("builds", build["buildid"], "properties"))
        number = found.get("push", (None,))[0]
        if type(number) is not int:
            raise Forbidden(b"this build is of no push; rebuild the run that it was a part of")
        # The build of a run has its push's component, too.
        is_part = found.get("virtual_builder_name", ("",))[0].startswith("component/")
        rebuild = [str(found["component"][0])] if is_part else []
        by = str(args.get("owner") or "")
        try:
            push = yield self.book.ask(lambda ledger: _write(ledger, number, by, rebuild))
        except BadInput as error:
            told = f"{error.what}: {error.hint}" if error.hint else error.what
            raise Forbidden(told.encode()) from error
        reconciler = self.master.service_manager.namedServices.get(RECONCILER)
        if reconciler is not None:
            yield reconciler.look()
        # The page leads to the request that the reconciler has made.
        return (yield requests_of(self.master, push.id))


def _write(ledger: Ledger, number: int, by: str, rebuild: Sequence[str]) -> Push:
    push = ledger.pushes.get(number)
    return ledger.pushes.add(again(push, ledger.pushes.newest(_MOST), by=by, rebuild=rebuild))
