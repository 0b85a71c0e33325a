# SPDX-License-Identifier: LGPL-2.1-or-later
"""What several attempts at a suite mean together: is it the code, chance, or what was there before.

A failure counts when it repeats. What fails once and passes once is flaky. What fails on the
last promoted tree as well is no fault of the change under test.
"""

from collections.abc import Mapping
from dataclasses import replace

from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

ELSEWHERE = "elsewhere"
"""The cause of a failure that the last promoted tree shows, too."""
_DECIDED = (Verdict.PASSED, Verdict.FAILED)


def merged(first: SuiteResult, again: SuiteResult) -> SuiteResult:
    """Sum up a suite that failed and what came of its repetition, of all its tests or of some.

    A repetition that had trouble says nothing: the failure stands, as it is.
    """
    if again.verdict in (Verdict.TROUBLE, Verdict.SKIPPED):
        return first
    repeated = {test.name: test for test in again.tests}
    tests = tuple(_merged(test, repeated.get(test.name)) for test in first.tests)
    known = {test.name for test in first.tests}
    tests += tuple(test for test in again.tests if test.name not in known)
    verdict = suite_verdict([test.verdict for test in tests])
    result = replace(
        again,
        suite=first.suite,
        verdict=verdict,
        tests=tests,
        seconds=round(first.seconds + again.seconds, 3),
        evidence=first.evidence,
        attempts=first.attempts + 1,
    )
    if verdict is Verdict.FLAKY:
        told = "passed when repeated: "
        message = f"{told}{first.message.removeprefix(told)}"
        return replace(result, cause=first.cause, message=message)
    return result


def _merged(first: TestResult, again: TestResult | None) -> TestResult:
    if again is None or again.verdict not in _DECIDED:
        return first
    if first.verdict not in (*_DECIDED, Verdict.FLAKY):
        return counted(again)
    first, again = counted(first), counted(again)
    attempts = first.attempts + again.attempts
    failures = first.failures + again.failures
    if first.verdict is Verdict.FLAKY:
        return replace(first, attempts=attempts, failures=failures)
    if first.verdict is again.verdict:
        return replace(again, attempts=attempts, failures=failures)
    failed = first if first.verdict is Verdict.FAILED else again
    how = "passed when repeated" if failed is first else "failed when repeated"
    message = f"{how}: {failed.message}" if failed.message else how
    return replace(
        failed, verdict=Verdict.FLAKY, message=message, attempts=attempts, failures=failures
    )


def counted(test: TestResult) -> TestResult:
    """Count the failure of a test that was run once."""
    if test.attempts == 1 and test.verdict is Verdict.FAILED:
        return replace(test, failures=1)
    return test


def wanted(result: SuiteResult, repeats: Mapping[str, int], *, done: int) -> tuple[str, ...]:
    """List the tests that have failed every time and are to be repeated once more.

    ``repeats`` says how often each of them is, once where it does not; ``done`` is how often the
    suite was repeated already.
    """
    return tuple(one for one in failing(result) if repeats.get(one, 1) > done)


def failing(result: SuiteResult) -> tuple[str, ...]:
    """List the tests that failed."""
    return tuple(test.name for test in result.tests if test.verdict is Verdict.FAILED)


def blamed(result: SuiteResult, baseline: SuiteResult, *, name: str) -> SuiteResult:
    """Say of a failure that it was there before, where each test of it fails on the baseline.

    For the same cause: a boot may fail in many ways. ``name`` is what the baseline is called. The
    verdict stays: what fails is not promoted.
    """
    bad = _causes(result)
    if not bad or not bad <= _causes(baseline):
        return result
    message = f"fails on {name} as well: {result.message}"
    return replace(result, cause=ELSEWHERE, message=message)


def _causes(result: SuiteResult) -> set[tuple[str, str]]:
    return {(one.name, one.cause) for one in result.tests if one.verdict is Verdict.FAILED}


def repeatable(result: SuiteResult) -> bool:
    """Tell whether a repetition could say more: not of a suite of which one test was wanted."""
    return result.verdict is Verdict.FAILED and bool(failing(result)) and "/" not in result.suite
