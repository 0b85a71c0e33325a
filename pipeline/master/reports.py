# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tell forges and people what became of pushes.

What is to be told is found by comparing the ledger with what was told before, never from the event
of a build alone: what ended while the master was down is told when it is up again. What was told
is in Buildbot's database: a kill between telling and noting tells twice, and where it was deleted
nothing of before is told any more.
Receivers are told in the background, one report after the other: no run waits for any of them.
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from buildbot.data.resultspec import Filter
from buildbot.reporters.utils import getURLForBuild
from buildbot.util.state import StateMixin
from twisted.internet import defer, reactor, task
from twisted.python import log

from pipeline.master.book import Book
from pipeline.master.receivers import Refused, Telling, make_receiver
from pipeline.master.regular import Regular
from pipeline.master.run_steps import BEGIN
from pipeline.master.scheduler import mark_of
from pipeline.ports.ledger import Ledger
from pipeline.words.attempts import ELSEWHERE
from pipeline.words.push import Push
from pipeline.words.report import Due, Report, due

NAME = "reports"
_TRIES = 3
_PAUSE_S = 5.0
_REMEMBERED = 500
"""So many of the newest pushes are looked at."""


class Reports(StateMixin, Regular):
    """Looks whenever a build is new, has begun or ends, and regularly."""

    what = "reports could not be made"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._following: list[Any] = []
        self._told: dict[int, str] | None = None
        self._telling: dict[int, str] = {}
        self.osname = ""
        self.lines: list[Line] = []

    def reconfigService(self, *, book: Book, osname: str = "") -> Any:  # noqa: N802
        """Take up new settings; what is being told goes on."""
        self.osname = osname
        self.lines = [Line(make_receiver(one)) for one in book.settings.receivers]
        return super().reconfigService(book=book)

    @property
    def failures(self) -> Mapping[str, int]:
        """Tell how many reports each receiver did not get, since the start."""
        return {line.name: line.failures for line in self.lines}

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Begin to follow builds."""
        for event in ("new", "finished"):
            follow = yield self.master.mq.startConsuming(self._happened, ("builds", None, event))
            self._following.append(follow)
        # When a build is new, its push still waits: it runs once the first step has said so.
        follow = yield self.master.mq.startConsuming(self._step, ("steps", None, "finished"))
        self._following.append(follow)
        yield super().startService()

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Stop; what is being told and not yet noted is told by the next start."""
        for follow in self._following:
            yield follow.stopConsuming()
        self._following = []
        yield super().stopService()

    def _happened(self, _key: Any, _message: Any) -> None:
        self.look()

    def _step(self, _key: Any, step: Mapping[str, Any]) -> None:
        if step["name"] == BEGIN:
            self.look()

    @defer.inlineCallbacks
    def _look(self) -> Any:
        if self.book is None or not self.lines:
            return
        pushes, endings = yield self.book.ask(_facts)
        if self._told is None:
            self._told = yield self._read(pushes, endings)
        for one in due(pushes, endings, {**self._told, **self._telling}):
            report = yield self._report(one)
            self._telling[one.push.id] = one.said
            done = [line.tell(report) for line in self.lines if line.receiver.wants(report)]
            defer.gatherResults(done).addCallback(self._note, one).addErrback(
                lambda why: log.err(why)
            )

    @defer.inlineCallbacks
    def _read(self, pushes: Sequence[Push], endings: Mapping[str, str]) -> Any:
        text = yield self.getState("told", "")
        if text:
            return {int(number): said for number, said in json.loads(text).items()}
        # The first start: what ended before is no news.
        old = due([push for push in pushes if not push.is_open], endings, {})
        told = {one.push.id: str(one.said) for one in old}
        yield self.setState("told", json.dumps(told))
        return told

    @defer.inlineCallbacks
    def _note(self, _done: Any, one: Due) -> Any:
        assert self._told is not None
        self._told[one.push.id] = str(one.said)
        if self._telling.get(one.push.id) == one.said:
            del self._telling[one.push.id]
        for number in sorted(self._told)[:-_REMEMBERED]:
            del self._told[number]
        yield self.setState("told", json.dumps(self._told))

    @defer.inlineCallbacks
    def _report(self, one: Due) -> Any:
        assert self.book is not None
        page = yield self._page(one.push)
        root = shlex.quote(str(self.book.workdir.root))
        repeat = f"ostci -C {root} run --push {one.push.id}"
        return Report(due=one, osname=self.osname, page=page, repeat=repeat)

    @defer.inlineCallbacks
    def _page(self, push: Push) -> Any:
        """Find the page of the push's newest build; of one that has none, the list of runs."""
        marked = [Filter("external_idstring", "eq", [mark_of(push.id)])]
        buildsets = yield self.master.data.get(("buildsets",), filters=marked)
        for buildset in sorted(buildsets, key=lambda found: -int(found["bsid"])):
            mine = [Filter("buildsetid", "eq", [buildset["bsid"]])]
            for request in (yield self.master.data.get(("buildrequests",), filters=mine)):
                builds = yield self.master.data.get(
                    ("buildrequests", request["buildrequestid"], "builds")
                )
                if builds:
                    last = max(builds, key=lambda found: int(found["number"]))
                    return getURLForBuild(self.master, last["builderid"], last["number"])
        return f"{self.master.config.buildbotURL}#/builders"


class Line:
    """The reports for one receiver, one after the other; what it does not take is told once."""

    def __init__(self, receiver: Telling) -> None:
        self.receiver = receiver
        self.name = receiver.name
        self.failures = 0
        self._turn = defer.DeferredLock()
        self._is_dead = False

    def tell(self, report: Report) -> "defer.Deferred[Any]":
        """Tell it when those before are told; never fails, and gives up after a few tries."""
        told: defer.Deferred[Any] = self._turn.run(self._tell, report)
        return told

    @defer.inlineCallbacks
    def _tell(self, report: Report) -> Any:
        # One that has just not answered is not waited for again and again.
        tries = 1 if self._is_dead else _TRIES
        for number in range(1, tries + 1):
            try:
                yield self.receiver.tell(report)
            except Exception as error:
                if number < tries and not isinstance(error, Refused):
                    yield task.deferLater(reactor, _PAUSE_S * number, lambda: None)
                    continue
                self._failed(error)
                return
            if self._is_dead:
                log.msg(f"reports reach {self.name} again")
            self._is_dead = False
            return

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        if not self._is_dead:
            words = f"{type(error).__name__}: {error}"
            log.msg(f"a report did not reach {self.name}, which is told this once: {words}")
        self._is_dead = True


def _facts(ledger: Ledger) -> tuple[list[Push], dict[str, str]]:
    pushes = ledger.pushes.newest(_REMEMBERED)
    runs = {push.run for push in pushes if push.run}
    return pushes, {**ledger.endings(runs), **dict.fromkeys(ledger.elsewhere(runs), ELSEWHERE)}
