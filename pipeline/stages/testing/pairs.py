# SPDX-License-Identifier: LGPL-2.1-or-later
"""The suite ``pairs``: what a tree's own tests come to in forks, compared with after a boot.

It proves us, not the tree, so that it is no part of all suites; the run of the night has it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from pipeline.ports.log import Log
from pipeline.words.counting import count_of
from pipeline.words.errors import BadInput
from pipeline.words.pairing import PAIRED, PAIRS, differing, paired
from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

_FORKS, _COLD, _AGAIN = "in-forks", "after-a-boot", "again"
"""Below the evidence of each suite, what each of its runs left."""


class Run(Protocol):
    """Runs a suite, or ``only`` some of its tests; ``place`` is where its evidence goes."""

    def __call__(
        self, suite: str, place: str, *, forks: bool, only: Sequence[str]
    ) -> SuiteResult: ...


def run_pairs(test: str, run: Run, *, nothing: SuiteResult, log: Log) -> SuiteResult:
    """Run the suites whose tests have forks both ways, or one test of them, ``SUITE/TEST``.

    ``nothing`` is the result of a suite of which nothing is known yet. Raises BadInput for a test
    that is in none of these, and as ``run`` does.
    """
    name, _, rest = test.partition("/")
    if test and name not in PAIRED:
        hint = f"such as {PAIRS}/{PAIRED[0]}"
        raise BadInput(f"{name} is none of {', '.join(PAIRED)}", hint=hint)
    pairs: list[TestResult] = []
    for suite in (name,) if test else PAIRED:
        wanted = f"{suite}/{rest}" if rest else suite
        forks, cold = _both_ways(wanted, suite, run, log=log)
        names = differing(forks, cold)
        again: tuple[str, ...] = ()
        if names:
            log.fact(f"{count_of(len(names), 'test')} of {suite} differ: once more both ways")
            place = f"{suite}/{_AGAIN}"
            again = differing(*_both_ways(wanted, place, run, only=names, log=log))
        pairs += paired(suite, forks, cold, again)
        nothing = replace(nothing, ran=cold.ran or nothing.ran)
    return _summed(nothing, tuple(pairs))


def _both_ways(
    suite: str, place: str, run: Run, *, only: Sequence[str] = (), log: Log
) -> tuple[SuiteResult, SuiteResult]:
    """Run a suite in forks and after a boot; one that is empty is not run twice."""
    with log.step(f"{suite} in forks"):
        forks = run(suite, f"{place}/{_FORKS}", forks=True, only=only)
    if forks.verdict is Verdict.SKIPPED and not forks.tests:
        return forks, forks
    with log.step(f"{suite} after a boot"):
        return forks, run(suite, f"{place}/{_COLD}", forks=False, only=only)


def _summed(nothing: SuiteResult, tests: tuple[TestResult, ...]) -> SuiteResult:
    if not tests:
        told = f"{nothing.tree} has no tests that have forks"
        return replace(nothing, verdict=Verdict.SKIPPED, message=told)
    worst = suite_verdict([one.verdict for one in tests])
    told = next((f"{one.name}: {one.message}" for one in tests if one.verdict is worst), "")
    return replace(
        nothing,
        verdict=worst,
        tests=tests,
        message=told if worst is not Verdict.PASSED else "",
        cause=next((one.cause for one in tests if one.cause), ""),
    )
