# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a suite until it is known whose fault a failure is: again, and on what was promoted last.

The evidence of every attempt is kept: the last one's in the suite's directory, the others' in
``attempt-1`` and so on and ``promoted`` below it. How often a test is repeated, and which failures
count, is known by whoever has the ledger.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, goes_on_from_checkpoints, run_suite
from pipeline.words.attempts import (
    ELSEWHERE,
    blamed,
    counted,
    failing,
    merged,
    repeatable,
    wanted,
)
from pipeline.words.desktop_entry import SUITE as APPS
from pipeline.words.errors import Trouble
from pipeline.words.external import SUITE as EXTERNALS
from pipeline.words.installed import SUITE
from pipeline.words.suite import FROM_PROMOTED, SWITCH
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import SuiteResult, Verdict

Promoted = Callable[[Tree], tuple[Tree, Disk] | None]
"""Finds the tree of that name that was promoted last, and its disk."""
BASELINE = "promoted"
Repeats = Callable[[SuiteResult], Mapping[str, int]]
"""Tells how often each failed test of a result is repeated, at most, by its history."""
Judge = Callable[[SuiteResult], SuiteResult]
"""Says which failures of a result count."""


def _once(_result: SuiteResult) -> Mapping[str, int]:
    return {}


def _as_it_is(result: SuiteResult) -> SuiteResult:
    return result


@dataclass(frozen=True, kw_only=True)
class Attempts:
    """How suites are run here, and what they can be compared with."""

    cache: Path
    tmp: Path
    log: Log
    promoted: Promoted
    repeats: Repeats = _once
    judge: Judge = _as_it_is

    def hear(self, request: TestRequest) -> SuiteResult:
        """Run a suite; one that failed is repeated, and then run on what was promoted last.

        Raises as ``run_suite`` where the first attempt does.
        """
        result = self._run(request)
        if not repeatable(result):
            return self.judge(result)
        result = self.judge(self._repeated(request, result))
        # What was promoted last cannot be upgraded from itself: that would fail, too.
        if result.verdict is not Verdict.FAILED or result.suite in {*FROM_PROMOTED, SWITCH}:
            return result
        return self._compared(request, result)

    def _repeated(self, request: TestRequest, first: SuiteResult) -> SuiteResult:
        """Repeat what failed until it passes or has failed as often as its history wants."""
        result = replace(first, tests=tuple(counted(one) for one in first.tests))
        repeats = self.repeats(first)
        done = 0
        while names := wanted(result, repeats, done=done):
            told = "failed" if done == 0 else "failed again"
            self.log.fact(f"{first.suite} {told}: once more", about=first.tree)
            done += 1
            again = self._again(replace(request, only=_worth(result, names)), done)
            if again is None:
                return result
            result = merged(result, again)
        if done == 0:
            self.log.fact(f"{first.suite} fails always: not repeated", about=first.tree)
        elif failing(result) and goes_on_from_checkpoints(request):
            # What fails of a checkpoint alone is no failure of the commit.
            self.log.fact(f"{first.suite} failed again: now after a boot", about=first.tree)
            cold = replace(request, only=_worth(result, failing(result)), forks=False)
            again = self._again(cold, done + 1)
            result = merged(result, again) if again else result
        return result

    def _again(self, request: TestRequest, number: int) -> SuiteResult | None:
        """Repeat a suite, the evidence of what was before kept as ``attempt-NUMBER``."""
        aside = self.tmp / f"{request.tree.name}-{request.suite}"
        remove_tree(aside)
        aside.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(request.into, aside)
        again = self._unless_trouble(request)
        earlier = sorted(aside.glob("attempt-*"))
        request.into.mkdir(parents=True, exist_ok=True)
        for path in earlier:
            shutil.move(path, request.into / path.name)
        shutil.move(aside, request.into / f"attempt-{number}")
        return again

    def _compared(self, request: TestRequest, result: SuiteResult) -> SuiteResult:
        """Run what failed on the tree that was promoted last: it may have been there before."""
        try:
            found = self.promoted(request.tree)
        except Trouble as trouble:
            self.log.warning(f"no disk of what was promoted last: {trouble}", about=result.tree)
            return result
        if found is None:
            return result
        tree, disk = found
        name = f"{tree.version or tree.commit[:12]}, promoted last,"
        self.log.fact(f"{result.suite} failed again: now on {name}", about=result.tree)
        into = request.into / BASELINE
        baseline = self._unless_trouble(
            replace(request, tree=tree, disk=disk, only=_worth(result, failing(result)), into=into)
        )
        judged = blamed(result, baseline, name=name) if baseline else result
        if judged.cause == ELSEWHERE:
            self.log.warning(judged.message, about=result.tree)
        return judged

    def _run(self, request: TestRequest) -> SuiteResult:
        return run_suite(request, cache=self.cache, tmp=self.tmp, log=self.log)

    def _unless_trouble(self, request: TestRequest) -> SuiteResult | None:
        """Repeat a suite; None where our machines do not let us, and nothing new is known."""
        try:
            return self._run(request)
        except Trouble as trouble:
            self.log.warning(f"not repeated: {trouble}", about=request.tree.name)
            return None


def _worth(result: SuiteResult, names: tuple[str, ...]) -> tuple[str, ...]:
    """List the tests that are repeated, empty for all: those of one boot cost no more together."""
    return names if result.suite in (SUITE, EXTERNALS, APPS) else ()
