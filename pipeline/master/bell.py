# SPDX-License-Identifier: LGPL-2.1-or-later
"""Have the reconciler look as soon as a command of somebody else's has written down a push.

The command touches a file; the kernel tells us. What is touched while no master is there needs no
bell: the reconciler looks at its start.
"""

from typing import Any

from buildbot.util.service import BuildbotService
from twisted.internet import inotify
from twisted.python import filepath

from pipeline.master.book import Book
from pipeline.master.reconciler import NAME as RECONCILER

NAME = "bell"


class Bell(BuildbotService):
    """Listens to the work directory's ``pushed``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._notifier: inotify.INotify | None = None

    def reconfigService(self, *, book: Book) -> None:  # noqa: N802
        """Begin to listen; a work directory is the same as long as its master lives."""
        if self._notifier is not None:
            return
        path = book.workdir.pushed
        path.touch()
        self._notifier = inotify.INotify()
        self._notifier.startReading()
        self._notifier.watch(
            filepath.FilePath(str(path)), mask=inotify.IN_ATTRIB, callbacks=[self._rung]
        )

    def stopService(self) -> Any:  # noqa: N802
        """Listen no more."""
        if self._notifier is not None:
            self._notifier.loseConnection()
            self._notifier = None
        return super().stopService()

    def _rung(self, _notifier: Any, _path: Any, _mask: int) -> None:
        reconciler = self.master.service_manager.namedServices.get(RECONCILER)
        if reconciler is not None:
            reconciler.look()
