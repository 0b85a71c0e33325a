# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ask for the run of the night when its time has come; one that was missed is asked for once."""

import time
from typing import Any

from twisted.internet import defer
from twisted.python import log

from pipeline.master.reconciler import NAME as RECONCILER
from pipeline.master.regular import Regular
from pipeline.ports.ledger import Ledger
from pipeline.words.nightly import HEAD, due_night, night_push
from pipeline.words.push import NIGHTLY, Push

NAME = "nightly"


class Nightly(Regular):
    """Looks at the clock as often as the reconciler at pushes; without a ``nightly``, never."""

    what = "the run of the night could not be asked for"
    _night = ""

    @defer.inlineCallbacks
    def _look(self) -> Any:
        if self.book is None or not self.book.settings.nightly:
            return
        night = due_night(self.book.settings.nightly, time.time())
        if night == self._night:
            return
        made = yield self.book.ask(lambda ledger: ask_for(ledger, night))
        self._night = night
        for push in made:
            log.msg(f"push {push.id} is {push.note}")
            reconciler = self.master.service_manager.namedServices.get(RECONCILER)
            if reconciler is not None:
                reconciler.look()


def ask_for(ledger: Ledger, night: str) -> tuple[Push, ...]:
    """Record the push of a night, unless it is recorded; the first that is ever due is none."""
    pushes = ledger.pushes
    before = pushes.heads().get((NIGHTLY, HEAD), "")
    if before >= night:
        return ()  # also where the clock was set back
    made = night_push(night, before, pushes.open())
    return pushes.note_head(NIGHTLY, HEAD, night, [made] if made else [])
