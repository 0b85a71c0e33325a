# SPDX-License-Identifier: LGPL-2.1-or-later
"""How many tests a suite had, in a few words."""

import pytest

from pipeline.words.refs import commit
from pipeline.words.verdict import SuiteResult, TestResult, Verdict

PASSED, FAILED, SKIPPED = Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ([PASSED], "1 test"),
        ([PASSED] * 10, "10 tests"),
        ([SKIPPED, PASSED, FAILED, PASSED], "4 tests: 1 failed, 2 passed, 1 skipped"),
        ([], "0 tests"),
    ],
)
def test_verdicts_are_counted_where_they_differ(verdicts: list[Verdict], said: str) -> None:
    tests = tuple(
        TestResult(name=f"test_{number}", verdict=verdict)
        for number, verdict in enumerate(verdicts)
    )
    result = SuiteResult(
        suite="smoke", tree="x86_64-a", commit=commit("a" * 64), verdict=PASSED, tests=tests
    )
    assert result.counts == said
