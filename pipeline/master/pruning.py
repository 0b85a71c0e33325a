# SPDX-License-Identifier: LGPL-2.1-or-later
"""Drop the logs of old builds from Buildbot's database, at the start and every day.

Buildbot's own janitor does the same by a builder and a worker more, and a button to start it.
What a run said stays in its own directory, until ``ostci clean``.
"""

import time
from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import defer, task
from twisted.python import log

NAME = "pruning"
_DAY_S = 86400


class Pruning(BuildbotService):
    """``keep_logs`` is in days."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keep_logs = 0
        self._loop: task.LoopingCall | None = None

    def reconfigService(self, *, keep_logs: int) -> Any:  # noqa: N802
        """Take up new settings; the next day goes by them."""
        self.keep_logs = keep_logs
        return defer.succeed(None)

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Begin with the first day."""
        yield super().startService()
        self._loop = task.LoopingCall(self._prune)
        self._loop.start(_DAY_S, now=True)

    def stopService(self) -> Any:  # noqa: N802
        """Prune no more."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        return super().stopService()

    @defer.inlineCallbacks
    def _prune(self) -> Any:
        """Drop them; an error is told, and the next day tries again."""
        before = int(time.time()) - self.keep_logs * _DAY_S
        try:
            gone = yield self.master.db.logs.deleteOldLogChunks(before)
        except Exception as error:
            log.err(error, "old logs could not be dropped")
        else:
            log.msg(f"{gone} pieces of logs were older than {self.keep_logs} days")
