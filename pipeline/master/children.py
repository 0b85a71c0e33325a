# SPDX-License-Identifier: LGPL-2.1-or-later
"""Trigger builds of other builders, each as soon as what it stands on is done.

Every child has a page and a history of its own (Buildbot's virtual builders) on a constant number
of real builders. What stands on a child that failed is not triggered and named as blocked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

from buildbot.plugins import steps
from buildbot.process.properties import Properties
from buildbot.process.results import (
    EXCEPTION,
    RETRY,
    SUCCESS,
    WARNINGS,
    statusToString,
    worst_status,
)
from buildbot.reporters.utils import getURLForBuildrequest
from twisted.internet import defer
from twisted.python.failure import Failure

from pipeline.master.book import Book
from pipeline.master.fair import PRIORITY
from pipeline.master.policies import TRY
from pipeline.master.steps import stopped_result
from pipeline.master.titled import TITLE, title_of_build
from pipeline.words.push import TRIES

LONGEST_NAME = 70


@dataclass(frozen=True, kw_only=True)
class Child:
    """A build to trigger: by which scheduler, under which name, after which others.

    Whatever becomes of one that ``is_advisory``, it is at most a warning to those who wait for it.
    """

    name: str
    scheduler: str
    properties: Mapping[str, Any]
    after: tuple[str, ...] = ()
    tags: tuple[str, ...] = field(default=())
    is_advisory: bool = False


class Children(steps.Trigger):
    """Trigger ``children`` in the order that they allow, and wait for all of them."""

    def __init__(self, *, children: Sequence[Child], book: Book, **kwargs: Any) -> None:
        self.children = tuple(children)
        self.book = book
        self.outcome: dict[str, int] = {}
        self.blocked: list[str] = []
        self.running_now: set[str] = set()
        schedulers = sorted({child.scheduler for child in children})
        kwargs.setdefault("warnOnWarnings", True)
        super().__init__(
            schedulerNames=schedulers, waitForFinish=True, updateSourceStamp=False, **kwargs
        )

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Trigger each when its time has come; the worst of all results is this step's."""
        self.running = True
        self.triggeredNames = [child.name for child in self.children]
        ended: defer.DeferredQueue[tuple[str, Any]] = defer.DeferredQueue()
        results: list[tuple[bool, Any]] = []
        try:
            yield self._go(ended, results)
        except defer.CancelledError:
            return stopped_result(self)  # the worker is lost: there is nothing to wait for
        yield self._addBuildUrls(results)
        if self.blocked:
            yield self.addCompleteLog("blocked", "\n".join(self.blocked) + "\n")
        if self.ended or self.master.botmaster.shuttingDown:
            return stopped_result(self)
        worst = SUCCESS
        for result in self.outcome.values():
            # A child that somebody stopped is the run's ending, but no stop of the run itself.
            worst = worst_status(worst, EXCEPTION if result == RETRY else result)
        return worst

    @defer.inlineCallbacks
    def _go(
        self, ended: "defer.DeferredQueue[tuple[str, Any]]", results: list[tuple[bool, Any]]
    ) -> Any:
        known = {child.name: child for child in self.children}
        sorter = TopologicalSorter(
            {child.name: [one for one in child.after if one in known] for child in self.children}
        )
        sorter.prepare()
        while sorter.is_active():
            for name in sorter.get_ready():
                if self.ended or self._stands_on_failure(known[name], known):
                    self.blocked.append(name)
                    sorter.done(name)
                    continue
                self.running_now.add(name)
                yield self._trigger(known[name], ended)
            if not self.running_now:
                continue
            self.waitForFinishDeferred = ended.get()
            name, result = yield self.waitForFinishDeferred
            self.running_now.discard(name)
            results.append((not isinstance(result, Failure), result))
            if isinstance(result, Failure):
                self.outcome[name] = EXCEPTION
                yield self.addLogWithFailure(result, f"{name} ")
            elif known[name].is_advisory:
                self.outcome[name] = SUCCESS if result[0] == SUCCESS else WARNINGS
            else:
                self.outcome[name] = result[0]
                yield self._note_bug(name, result)
            self.updateSummary()
            sorter.done(name)

    @defer.inlineCallbacks
    def _note_bug(self, name: str, result: tuple[int, Mapping[Any, int]]) -> Any:
        """Make a bug of ours in a child one of the run: trying again does not mend it."""
        code, requests = result
        if code != EXCEPTION:
            return
        for request in requests.values():
            builds = yield self.master.data.get(("buildrequests", request, "builds"))
            for build in builds:
                found = yield self.master.data.get(("builds", build["buildid"], "properties"))
                if "bug" in found:
                    self.setProperty("bug", name, self.name)

    def _stands_on_failure(self, child: Child, known: Mapping[str, Child]) -> bool:
        return any(
            one in self.blocked or self.outcome.get(one, SUCCESS) not in (SUCCESS, WARNINGS)
            for one in child.after
            if one in known
        )

    @defer.inlineCallbacks
    def _trigger(self, child: Child, ended: "defer.DeferredQueue[tuple[str, Any]]") -> Any:
        properties = Properties()
        properties.update((yield self.build.render(dict(child.properties))), "run")
        if child.name != child.scheduler:
            name = child.name if len(child.name) <= LONGEST_NAME else f"{child.name[:69]}…"
            properties.setProperty("virtual_builder_name", name, "run")
            properties.setProperty("virtual_builder_tags", list(child.tags), "run")
        number = self.getProperty("push")
        for name, value in (("push", number), (TITLE, title_of_build(self))):
            properties.setProperty(name, value, "run")
        pushes = yield self.book.ask(
            lambda ledger: (ledger.pushes.get(number), ledger.pushes.open())
        )
        asker, priority = self.book.fair.begin(*pushes)
        properties.setProperty(PRIORITY, priority, "run")
        if self.getProperty("via") in TRIES:
            properties.setProperty(TRY, True, "run")
        scheduler = self.getSchedulerByName(child.scheduler)
        ids, done = scheduler.trigger(
            waited_for=True,
            sourcestamps=self.prepareSourcestampListForTrigger(),
            set_props=properties,
            parent_buildid=self.build.buildid,
            parent_relationship=self.parent_relationship,
        )

        def over(result: Any) -> None:
            self.book.fair.end(asker)
            ended.put((child.name, result))

        done.addBoth(over)
        _, requests = yield ids
        for request in requests.values():
            self.brids.append(request)
            if self.ended:
                # It was stopped before there was a request that could have been cancelled.
                reason = {"reason": "parent build was interrupted"}
                yield self.master.data.control("cancel", reason, ("buildrequests", request))
            yield self.addURL(
                f"{child.name} #{request}", getURLForBuildrequest(self.master, request)
            )

    @defer.inlineCallbacks
    def _addBuildUrls(self, results: Sequence[tuple[bool, Any]]) -> Any:  # noqa: N802
        yield self.addBuildUrls([(good, result) for good, result in results if good])

    def getCurrentSummary(self) -> dict[str, str]:  # noqa: N802
        """Say how many of the children are done, and which run."""
        told = f"{len(self.outcome)} of {len(self.children)} done"
        running = ", ".join(sorted(self.running_now)[:4])
        return {"step": f"{self.name}: {told}" + (f"; {running}" if running else "")}

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802
        """Say how the children ended."""
        told = []
        for result in sorted(set(self.outcome.values())):
            names = sorted(name for name, one in self.outcome.items() if one == result)
            some = "" if result == SUCCESS else f" ({', '.join(names[:4])})"
            told.append(f"{len(names)} {statusToString(result)}{some}")
        if self.blocked:
            told.append(f"{len(self.blocked)} blocked")
        return {"step": f"{self.name}: {', '.join(told) or 'nothing'}"}
