# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same tests in forks of a boot and after a boot: each has to come to the same.

One that changes its verdict between the two is a bug of ours, and says nothing of the commit.
"""

from collections.abc import Collection
from dataclasses import replace

from pipeline.words.external import SUITE as EXTERNALS
from pipeline.words.installed import SUITE as INSTALLED
from pipeline.words.verdict import BUG, SuiteResult, TestResult, Verdict

PAIRS = "pairs"
"""The suite that does it."""
PAIRED = (INSTALLED, EXTERNALS)
"""The suites whose tests have forks."""
_NOWHERE = TestResult(name="", verdict=Verdict.TROUBLE, message="it had no result")
_UNDECIDED = (Verdict.TROUBLE, Verdict.FLAKY)


def differing(forks: SuiteResult, cold: SuiteResult) -> tuple[str, ...]:
    """List the tests that have another verdict in a fork than after a boot.

    Of those that had trouble in the one or the other nothing is known.
    """
    after = {one.name: one.verdict for one in cold.tests}
    return tuple(
        one.name
        for one in forks.tests
        if one.name in after
        and one.verdict is not after[one.name]
        and not {one.verdict, after[one.name]} & {*_UNDECIDED}
    )


def paired(
    suite: str, forks: SuiteResult, cold: SuiteResult, again: Collection[str]
) -> tuple[TestResult, ...]:
    """Make a result of each pair, named ``SUITE/TEST``.

    ``again`` are those of ``differing`` that differed once more when they were repeated both ways:
    a test that does not is unsteady by itself, and ``flaky``.
    """
    found = {one.name: one for one in forks.tests}
    after = {one.name: one for one in cold.tests}
    names = sorted({*found, *after})
    differ = {*differing(forks, cold)}
    return tuple(
        _paired(
            f"{suite}/{name}",
            found.get(name, _NOWHERE),
            after.get(name, _NOWHERE),
            differs=name in differ,
            differs_again=name in again,
        )
        for name in names
    )


def _paired(
    name: str, fork: TestResult, cold: TestResult, *, differs: bool, differs_again: bool
) -> TestResult:
    seconds = round(fork.seconds + cold.seconds, 3)
    told = f"{fork.verdict} in a fork, {cold.verdict} after a boot"
    why = next((one.message for one in (fork, cold) if one.message), "")
    told = f"{told}: {why}" if why else told
    made = TestResult(name=name, verdict=Verdict.PASSED, seconds=seconds)
    if differs_again:
        return replace(made, verdict=Verdict.TROUBLE, message=f"twice {told}", cause=BUG)
    if differs:
        return replace(made, verdict=Verdict.FLAKY, message=f"once {told}")
    if {fork.verdict, cold.verdict} & {*_UNDECIDED}:
        return replace(made, verdict=Verdict.TROUBLE, message=told)
    return made
