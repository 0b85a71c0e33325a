# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger and the runs' results, asked from threads: the reactor waits for no disk."""

from collections.abc import Callable
from typing import TypeVar

from twisted.internet import defer, threads

from pipeline.master.fair import Fair
from pipeline.ports.ledger import Ledger
from pipeline.ports.master_settings import MasterSettings
from pipeline.ports.workdir import Workdir

T = TypeVar("T")


class Book:
    """What the steps and services of one master know of its work directory."""

    def __init__(self, settings: MasterSettings) -> None:
        self.settings = settings
        self.workdir: Workdir = settings.workdir
        self._ledger = Ledger(settings.ledger_url)
        self.fair = Fair()

    def ask(self, question: Callable[[Ledger], T]) -> "defer.Deferred[T]":
        """Do something with the ledger in a thread; fails with what was raised there."""
        return threads.deferToThread(question, self._ledger)

    def close(self) -> None:
        """Let go of the database; the next question opens it again."""
        self._ledger.close()
