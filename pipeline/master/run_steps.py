# SPDX-License-Identifier: LGPL-2.1-or-later
"""The steps of a run: one Buildbot build goes the whole way of one push.

``Begin`` asks the ledger whether there is anything left to do and puts the others after itself.
What a build of Buildbot's means to a push is decided in one place, ``End``.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from buildbot.plugins import util
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import (
    CANCELLED,
    EXCEPTION,
    FAILURE,
    RETRY,
    SKIPPED,
    SUCCESS,
    WARNINGS,
)
from twisted.internet import defer

from pipeline.master.book import Book
from pipeline.master.children import Child, Children
from pipeline.master.links import run_url, verdict_url
from pipeline.master.run_facts import (
    children_of_plan,
    children_of_trees,
    goes_on,
    note_build,
    run_record,
    subject_of,
)
from pipeline.master.steps import Ostci
from pipeline.ports.ledger import Ledger
from pipeline.words.errors import BadInput, Failed
from pipeline.words.push import Push, PushState, Via
from pipeline.words.run import RunEnding, RunRecord

BEGIN = "begin"
RUN = util.Property("run")
PUSH = util.Property("push")
_MARGIN_S = 300
"""A command gives up waiting for its turn this long before it would be stopped."""


def run_steps(book: Book, *, is_try: bool = False) -> list[BuildStep]:
    """Write the way of a push that has attempts left; that of a try ends before it is promoted."""
    settings = book.settings
    wait = str(max(1, settings.longest - _MARGIN_S))
    last: BuildStep = Children(children=[_PROMOTE], book=book, name="promote")
    if is_try:
        last = Ostci(["judge", "--end", "--run", RUN, "--wait", wait, "--json"], settings=settings)
    return [
        Resolve(["resolve", "--push", PUSH, "--wait", wait, "--json"], book=book),
        Plan(["plan", "--run", RUN, "--json"], book=book),
        Collect(["build", "--run", RUN, "--wait", wait, "--json"], book=book),
        Compose(["compose", "--run", RUN, "--wait", wait, "--json"], book=book),
        last,
        End(["end", RUN], book=book),
    ]


_PROMOTE = Child(name="promote", scheduler="promote", properties={"run": RUN})


class Begin(BuildStep):
    """Count the attempt in the ledger; add the way of the push, unless it came to its end."""

    def __init__(self, *, book: Book, **kwargs: Any) -> None:
        self.book = book
        self.told = ""
        super().__init__(name=BEGIN, haltOnFailure=True, **kwargs)

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Decide what this build is for."""
        number = self.getProperty("push")
        if type(number) is not int:
            self.told = "no push was named"
            return FAILURE
        push = yield self.book.ask(lambda ledger: ledger.pushes.get(number))
        self._note(push)
        yield self.build.call_it(push)
        if not push.is_open:
            if push.is_given_up and push.run and (yield self._goes_on(push.run)):
                # The master was killed before it could stop the build that had begun it.
                self.told = f"push {push.id} is {push.state}: {push.message}"
                self.build.addStepsAfterCurrentStep([End(["end", RUN], book=self.book)])
                return CANCELLED
            again = f"ostci -C {self.book.workdir.root} run --push {push.id}"
            self.told = f"push {push.id} is {push.state} already; to go its way again: {again}"
            return SKIPPED
        if self.getProperty("cancelled", False):
            # It has a run already, which gets its ending, too.
            yield self.book.ask(lambda ledger: ledger.pushes.begin_attempt(number))
            self.told = f"push {push.id} was taken out of the queue"
            self.build.addStepsAfterCurrentStep([End(["end", RUN], book=self.book)])
            return CANCELLED
        if push.attempts >= self.book.settings.attempts:
            self.told = f"push {push.id}: all {push.attempts} attempts are used up"
            self.setProperty("given-up", True, "begin")
            self.build.addStepsAfterCurrentStep([End(["end", RUN], book=self.book)])
            return EXCEPTION
        attempt = yield self.book.ask(lambda ledger: ledger.pushes.begin_attempt(number))
        self.setProperty("attempt", attempt, "begin")
        self.told = f"push {push.id} of {push.component}, attempt {attempt}"
        self.build.addStepsAfterCurrentStep(run_steps(self.book, is_try=push.is_try))
        return SUCCESS

    @defer.inlineCallbacks
    def _goes_on(self, version: str) -> Any:
        """Tell whether a run has no ending yet."""
        record = yield self.book.ask(lambda _: run_record(self.book.workdir, version))
        return record is not None and record.ending in (RunEnding.RUNNING, RunEnding.OPEN)

    def _note(self, push: Push) -> None:
        for name in ("component", "after", "before", "branch", "via"):
            self.setProperty(name, str(getattr(push, name)), "push")
        if push.run:
            self.setProperty("run", push.run, "push")

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802
        """Say which push it is."""
        return {"step": self.told} if self.told else dict(super().getResultSummary())


class _Booked(Ostci):
    """A command of a run that looks into the ledger or the run's directory afterwards."""

    def __init__(self, words: Sequence[object], *, book: Book, **kwargs: Any) -> None:
        self.book = book
        super().__init__(words, settings=book.settings, **kwargs)


class Resolve(_Booked):
    """Make the push's run, or find the one that it has."""

    @defer.inlineCallbacks
    def ended(self, result: int) -> Any:
        """Note the run; what could not be resolved has one, too."""
        number = self.getProperty("push")
        push = yield self.book.ask(lambda ledger: ledger.pushes.get(number))
        if push.run:
            self.setProperty("run", push.run, "resolve")
            page = yield self.build.getUrl()
            record, subject = yield self.book.ask(lambda _: self._facts(push, page))
            self.setProperty("snapshot", record.snapshot if record else "", "resolve")
            yield self.build.call_it(push, subject)
            yield self.addURL(f"run {push.run}", run_url(self.settings, push.run, ""))
        elif result == SUCCESS:
            self.said.said = f"push {number} has no run though it was resolved"
            return EXCEPTION
        return result

    def _facts(self, push: Push, page: str) -> tuple[RunRecord | None, str]:
        run = str(push.run)
        if self.book.workdir.is_run(run):
            note_build(self.book.workdir, run, page)
        return run_record(self.book.workdir, run), subject_of(self.book.workdir, run, push)


class Plan(_Booked):
    """Ask what is to be built, and let it be built."""

    def ended(self, result: int) -> Any:
        """Add the builds; nothing is added where everything is kept."""
        if result == SUCCESS:
            children = children_of_plan(json.loads(self.stdout), self.getProperty("run"))
            if children:
                # What failed is told by the command that collects, in more words.
                step = Children(
                    children=children,
                    book=self.book,
                    name="components",
                    flunkOnFailure=False,
                    haltOnFailure=False,
                )
                self.build.addStepsAfterCurrentStep([step])
        return defer.succeed(result)


class Collect(_Booked):
    """Bring together what the components' builds left; builds what nobody built."""

    @defer.inlineCallbacks
    def ended(self, result: int) -> Any:
        """Go on with a warning where the manifest lets last good artifacts stand in."""
        if self.code == Failed.exit_code:
            run = self.getProperty("run")
            if (yield self.book.ask(lambda _: goes_on(self.book.workdir, run))):
                return WARNINGS
        return result


class Compose(_Booked):
    """Make the trees when it is the run's turn, and let them be booted."""

    @defer.inlineCallbacks
    def ended(self, result: int) -> Any:
        """Add disks and suites, and note the commits."""
        if result == SUCCESS:
            run = self.getProperty("run")
            is_nightly = self.getProperty("via") == Via.NIGHTLY
            children, commits = yield self.book.ask(
                lambda ledger: children_of_trees(
                    self.book.workdir, ledger, run, is_nightly=is_nightly
                )
            )
            self.setProperty("commits", dict(commits), "compose")
            for tree, commit in commits.items():
                url = run_url(self.settings, run, "trees.json")
                yield self.addURL(f"{tree} {commit[:12]}", url)
            if children:
                # A tree that failed is held back by promotion, which says why.
                step = Children(
                    children=children, book=self.book, name="machines", haltOnFailure=False
                )
                self.build.addStepsAfterCurrentStep([step])
        return result


class End(_Booked):
    """Give the run and its push their ending, unless the push is to be started again."""

    def __init__(self, words: Sequence[object], *, book: Book, **kwargs: Any) -> None:
        self.told = ""
        super().__init__(words, book=book, name="end", alwaysRun=True, **kwargs)

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Look at how the build went, and write that down."""
        outcome = self.build.results
        settings = self.book.settings
        if outcome == RETRY or self.master.botmaster.shuttingDown:
            self.told = "the push goes on when a worker is there again"
            return SUCCESS
        over = self.getProperty("given-up", False) or self.getProperty("bug")
        if outcome == EXCEPTION and not over:
            attempt = self.getProperty("attempt", 0)
            if attempt < settings.attempts:
                self.told = f"attempt {attempt} of {settings.attempts} failed; it is started again"
                return SUCCESS
        version = self.getProperty("run")
        if version and not (yield self._has_passed(version, outcome)):
            result = yield self._end_run(version, outcome)
            if self.stopped:
                return RETRY
            if result != SUCCESS and (yield self._attempts_left()):
                # Its last words are why.
                return EXCEPTION
        yield self._end_push(version, outcome)
        return SUCCESS

    @defer.inlineCallbacks
    def _has_passed(self, version: str, outcome: int) -> Any:
        """Tell whether the last stage has given the run its ending: a command less."""
        if outcome not in (SUCCESS, WARNINGS):
            return False
        record = yield self.book.ask(lambda _: run_record(self.book.workdir, version))
        return record is not None and record.ending is RunEnding.PASSED

    @defer.inlineCallbacks
    def _end_run(self, version: str, outcome: int) -> Any:
        settings = self.book.settings
        wait = ("--wait", str(max(1, min(settings.silent, settings.longest) // 2)))
        if outcome == CANCELLED:
            cancelled = "an operator" if self.getProperty("cancelled", False) else "somebody"
            who = str(self.build.stopped_reason or cancelled)
            self.words = ["cancel", version, "--by", f"Buildbot: {who}"[:200], *wait]
        else:
            self.words = ["end", version, *wait]
        result = yield super().run()
        # A run that came to its end before it was cancelled keeps that.
        over = outcome == CANCELLED and self.code == BadInput.exit_code
        return SUCCESS if over else result

    @defer.inlineCallbacks
    def _attempts_left(self) -> Any:
        number = self.getProperty("push")
        push = yield self.book.ask(lambda ledger: ledger.pushes.get(number))
        return push.attempts < self.book.settings.attempts

    @defer.inlineCallbacks
    def _end_push(self, version: str | None, outcome: int) -> Any:
        number = self.getProperty("push")
        record = None
        if version:
            record = yield self.book.ask(lambda _: run_record(self.book.workdir, version))
        state, message = _state_of(outcome, self.getProperty("bug", ""))
        if record is not None and record.ending not in (RunEnding.RUNNING, RunEnding.OPEN):
            message = record.message or message
            self.setProperty("ending", str(record.ending), "end")

        def end(ledger: Ledger) -> None:
            ledger.pushes.end(number, state, message)

        yield self.book.ask(end)
        self.told = f"push {number} is {state}" + (f": {message}" if message else "")
        promoted = record.promoted if record is not None else {}
        for tree, commit in promoted.items():
            yield self.addURL(f"verdicts of {tree}", verdict_url(self.settings, commit))
        told = f"promoted {', '.join(promoted)}" if promoted else self.getProperty("ending", "")
        self.build.said = message or told or str(state)

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802
        """Say what became of the push."""
        return {"step": self.told[:400]} if self.told else dict(super().getResultSummary())


_MESSAGES: Mapping[int, str] = {CANCELLED: "it was cancelled", FAILURE: "it failed"}


def _state_of(outcome: int, bug: str) -> tuple[PushState, str]:
    if outcome == EXCEPTION:
        told = f"a bug of ours in {bug}" if bug else "all its attempts ended in trouble"
        return PushState.TROUBLE, told
    return PushState.DONE, _MESSAGES.get(outcome, "")
