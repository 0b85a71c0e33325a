# SPDX-License-Identifier: LGPL-2.1-or-later
"""``/metrics`` of the page, for Prometheus: the ledger's figures, and Buildbot's of the moment.

What was gathered is given to everybody for a few seconds, so that no number of askers is work for
the database; builds that begin or end make it old at once.
"""

import os
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from buildbot.data.resultspec import Filter
from twisted.internet import defer
from twisted.python import log
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from pipeline import __version__
from pipeline.master.beside import Beside
from pipeline.master.reports import NAME as REPORTS
from pipeline.master.run_facts import run_record
from pipeline.ports.known_accelerator import known_accelerator
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_counts import Counts
from pipeline.words.metrics import CONTENT_TYPE, Family, Samples, by, exposition, one

NAME = "metrics"
_AGE_S = 5.0
_OPEN_RUNS = ("running", "open")


class Metrics(Beside):
    """Gathers figures when it is asked, and counts stages of runs that end from the start on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._following: list[Any] = []
        self._text = ""
        self._gathered = float("-inf")
        self._lock = defer.DeferredLock()
        self._counted: set[str] | None = None
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._stages: Counter[str] = Counter()

    def page(self) -> Resource:
        """Make the page."""
        return _Page(self)

    @defer.inlineCallbacks
    def startService(self) -> Any:  # noqa: N802
        """Follow builds."""
        yield super().startService()
        for event in ("new", "finished"):
            follow = yield self.master.mq.startConsuming(self._outdate, ("builds", None, event))
            self._following.append(follow)

    @defer.inlineCallbacks
    def stopService(self) -> Any:  # noqa: N802
        """Stop to follow builds."""
        for follow in self._following:
            yield follow.stopConsuming()
        self._following = []
        yield super().stopService()

    def _outdate(self, _key: Any, _message: Any) -> None:
        self._gathered = float("-inf")

    def text(self) -> "defer.Deferred[str]":
        """Tell it all; one at a time gathers, and the others get the same."""
        told: defer.Deferred[str] = self._lock.run(self._fresh)
        return told

    @defer.inlineCallbacks
    def _fresh(self) -> Any:
        if time.monotonic() - self._gathered > _AGE_S:
            self._gathered = time.monotonic()  # before: what happens meanwhile makes it old
            try:
                self._text = yield self._gather()
            except BaseException:
                self._gathered = float("-inf")
                raise
        return self._text

    @defer.inlineCallbacks
    def _gather(self) -> Any:
        assert self.book is not None
        told = yield self.book.ask(self._of_ledger)
        now = yield self._of_buildbot()
        return exposition((*told, *now))

    # In a thread

    def _of_ledger(self, ledger: Ledger) -> list[Family]:
        assert self.book is not None
        counts = ledger.counts()
        self._count_stages(counts)
        room = os.statvfs(self.book.workdir.root)
        promoted = {row.tree: row.ended or row.began for row in ledger.promoted()}
        found = known_accelerator()
        stages: Samples = {
            (suffix, (("stage", name),)): float(found_of[name])
            for name in sorted(self._stages)
            for suffix, found_of in (("_sum", dict(self._seconds)), ("_count", dict(self._stages)))
        }
        ended = {name: count for name, count in counts.runs.items() if name not in _OPEN_RUNS}
        verdicts: Samples = {
            ("", (("suite", suite), ("verdict", word))): float(count)
            for (suite, word), count in sorted(counts.verdicts.items())
        }
        waiting = {name: counts.pushes.get(name, 0) for name in ("waiting", "running")}
        return [
            _gauge("build_info", "The version of ostci.", by("version", {__version__: 1})),
            _gauge("pushes_open", "Pushes without an ending.", by("state", waiting)),
            _gauge(
                "oldest_open_push_timestamp_seconds",
                "When the push was received that has been open for longest; absent without any.",
                one(counts.oldest_open) if counts.oldest_open is not None else {},
            ),
            Family(
                name="ostci_runs_total",
                kind="counter",
                help="Runs by how they ended.",
                samples=by("ending", ended),
            ),
            Family(
                name="ostci_verdicts_total",
                kind="counter",
                help="Attempts at suites by their verdict.",
                samples=verdicts,
            ),
            Family(
                name="ostci_stage_seconds",
                kind="summary",
                help="How long stages of runs took that ended since the master started.",
                samples=stages,
            ),
            _gauge(
                "last_promoted_timestamp_seconds",
                "When buildmaster last moved, by tree.",
                by("tree", promoted),
            ),
            _gauge(
                "disk_free_bytes",
                "Room on the disk of the work directory.",
                one(room.f_bavail * room.f_frsize),
            ),
            _gauge(
                "disk_size_bytes",
                "Size of the disk of the work directory.",
                one(room.f_blocks * room.f_frsize),
            ),
            _gauge(
                "accelerator_slowness",
                "How much longer machines take than with KVM, by what they run with.",
                by("kind", dict([found])) if found else {},
            ),
        ]

    def _count_stages(self, counts: Counts) -> None:
        """Add the stages of runs that ended since the last look; before the first none count."""
        assert self.book is not None
        new = () if self._counted is None else set(counts.ended) - self._counted
        self._counted = set(counts.ended)
        for version in new:
            record = run_record(self.book.workdir, version)
            for name, stage in record.stages.items() if record else ():
                self._seconds[name] += stage.seconds
                self._stages[name] += 1

    # In the reactor

    @defer.inlineCallbacks
    def _of_buildbot(self) -> Any:
        running = [Filter("complete", "eq", [False])]
        builds = yield self.master.data.get(("builds",), filters=running)
        waiting = [Filter("complete", "eq", [False]), Filter("claimed", "eq", [False])]
        requests = yield self.master.data.get(("buildrequests",), filters=waiting)
        workers = yield self.master.data.get(("workers",))
        builders = {
            self.master.botmaster.builders[name]._builderid: name
            for name in self.master.botmaster.builderNames
        }
        zero = dict.fromkeys(self.master.botmaster.builderNames, 0)
        connected = sum(1 for worker in workers if worker["connected_to"])
        return [
            _gauge(
                "builds_running",
                "Builds under way.",
                by("builder", {**zero, **_count(builds, builders)}),
            ),
            _gauge(
                "build_requests_waiting",
                "Builds that wait for a worker.",
                by("builder", {**zero, **_count(requests, builders)}),
            ),
            _gauge("workers", "Workers of the settings.", one(len(workers))),
            _gauge("workers_connected", "Workers that are there.", one(connected)),
            Family(
                name="ostci_report_failures_total",
                kind="counter",
                help="Reports that a receiver did not get since the master started.",
                samples=by("receiver", self._report_failures()),
            ),
        ]

    def _report_failures(self) -> Mapping[str, int]:
        reports = self.master.service_manager.namedServices.get(REPORTS)
        return reports.failures if reports is not None else {}


def _gauge(name: str, help: str, samples: Any) -> Family:
    return Family(name=f"ostci_{name}", kind="gauge", help=help, samples=samples)


def _count(found: Any, builders: Mapping[int, str]) -> Mapping[str, int]:
    """Count by the real builder; a build on a virtual one has that in a property only."""
    return Counter(builders[one["builderid"]] for one in found if one["builderid"] in builders)


class _Page(Resource):
    """Answers with the text."""

    isLeaf = True  # noqa: N815

    def __init__(self, metrics: Metrics) -> None:
        super().__init__()
        self._metrics = metrics

    def render_GET(self, request: Request) -> int:  # noqa: N802
        """Answer when it is gathered."""
        gone: list[bool] = []
        request.notifyFinish().addErrback(lambda _: gone.append(True))

        def answer(text: str) -> None:
            if not gone:
                request.setHeader("Content-Type", CONTENT_TYPE)
                request.write(text.encode())
                request.finish()

        def fail(why: Any) -> None:
            log.err(why, "metrics could not be gathered")
            if not gone:
                request.setResponseCode(503)
                request.finish()

        self._metrics.text().addCallbacks(answer, fail)
        return NOT_DONE_YET
