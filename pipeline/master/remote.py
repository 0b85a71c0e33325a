# SPDX-License-Identifier: LGPL-2.1-or-later
"""Workers with homes of their own, as the master sees them: judged when they connect, set aside.

A worker that is not fit (another version, a failed self-test, too little disk, a lie) is paused,
and its page says why. What an operator paused stays so.
"""

from typing import TYPE_CHECKING, Any

from buildbot.plugins import worker
from twisted.internet import defer, threads
from twisted.python import log

from pipeline import __version__
from pipeline.master.book import Book
from pipeline.ports.remote_settings import RemoteWorker
from pipeline.ports.worker_book import WorkerBook
from pipeline.words.errors import Ending
from pipeline.words.fitness import FILE, Capabilities, properties, why_aside
from pipeline.words.records import from_json

ASIDE = "ostci: "
"""How a reason begins that is ours to take back."""


if TYPE_CHECKING:
    from buildbot.worker.base import AbstractWorker as _Worker
else:
    _Worker = object


class Judged(_Worker):
    """What makes a kind of Buildbot's workers one of ours with a home of its own."""

    told: Capabilities | None = None
    _paused: bool
    _pause_reason: str | None

    @defer.inlineCallbacks
    def reconfigService(  # noqa: N802
        self, name: str, password: str, *, of: RemoteWorker, book: Book, **kwargs: Any
    ) -> Any:
        """Take up new settings."""
        self.of = of
        self.notes = WorkerBook(book.workdir)
        yield super().reconfigService(name, password, **kwargs)
        if of.is_local:
            return
        # Buildbot has one port for all workers, which is for those of this machine alone.
        registry = self.master.workers.pb
        self.registration.pbReg = yield registry.updateRegistration(
            self.workername, self.password, book.settings.remote.endpoint
        )

    def checkConfig(  # noqa: N802
        self, name: str, password: str, *, of: RemoteWorker, book: Book, **kwargs: Any
    ) -> Any:
        """Check nothing more than Buildbot does."""
        del of, book
        return super().checkConfig(name, password, **kwargs)

    @defer.inlineCallbacks
    def attached(self, conn: Any) -> Any:
        """Judge it before it could be given anything."""
        self.told = _told(conn.info)
        if self.told is not None:
            self.properties.update(dict(properties(self.told)), "Worker")
        self.properties.setProperty("pool", str(self.of.pool), "Worker")
        notes = yield threads.deferToThread(self.notes.read, self.of.name)
        why = notes.aside or why_aside(self.told, __version__)
        ours = not self._paused or str(self._pause_reason or "").startswith(ASIDE)
        if ours:
            self._paused, self._pause_reason = bool(why), f"{ASIDE}{why}" if why else None
        if why:
            log.msg(f"worker {self.name} is set aside: {why}")
        yield super().attached(conn)


class RemoteSlot(Judged, worker.Worker):
    """A slot of a worker that is always there."""


def _told(info: Any) -> Capabilities | None:
    """Read what a worker says of itself; it may say anything."""
    try:
        return from_json(Capabilities, str(info.get(FILE, "")), where=FILE)
    except Ending:
        return None


def set_aside(master: Any, name: str, why: str) -> None:
    """Give all slots of a worker nothing more to do."""
    for slot in slots_of(master, name):
        if not slot.isPaused():
            log.msg(f"worker {slot.name} is set aside: {why}")
            slot.pause(f"{ASIDE}{why}"[:1000])


def slots_of(master: Any, name: str) -> list[Judged]:
    """Find the slots of a worker."""
    known = master.workers.workers.values()
    return [one for one in known if isinstance(one, Judged) and one.of.name == name]
