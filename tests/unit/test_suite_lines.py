# SPDX-License-Identifier: LGPL-2.1-or-later
"""What suites came to, as a person reads it after all were heard."""

from pipeline.cli.suite_lines import suite_lines, summary
from pipeline.words.refs import commit
from pipeline.words.verdict import SuiteResult, TestResult, Verdict

PASSED, FAILED, SKIPPED = Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED


def result(suite: str, verdict: Verdict, *tests: TestResult, message: str = "") -> SuiteResult:
    return SuiteResult(
        suite=suite,
        tree="x86_64-a",
        commit=commit("a" * 64),
        verdict=verdict,
        seconds=2.5,
        message=message,
        tests=tests,
    )


def test_each_suite_has_a_line_and_each_failure_one_below_it() -> None:
    good = TestResult(name="glib/a.test", verdict=PASSED)
    bad = TestResult(name="glib/b.test", verdict=FAILED, message="it broke")
    lines = suite_lines(
        [
            result("smoke", PASSED, good),
            result("installed", FAILED, bad, good, message="glib/b.test: it broke"),
            result("apps", SKIPPED, message="x86_64-a has no graphical session"),
        ]
    )
    assert list(lines) == [
        "x86_64-a smoke      passed      2.5 s  1 test",
        "x86_64-a installed  failed      2.5 s  2 tests: 1 failed, 1 passed",
        "  failed glib/b.test: it broke",
        "x86_64-a apps       skipped     2.5 s  x86_64-a has no graphical session",
    ]


def test_of_hundreds_that_fail_the_first_are_told() -> None:
    tests = (TestResult(name=f"t{number}", verdict=FAILED, message="no") for number in range(25))
    lines = [*suite_lines([result("installed", FAILED, *tests)])]
    assert len(lines) == 22
    assert lines[-1] == "  and 5 more"


def test_a_stage_of_many_suites_is_summed_up() -> None:
    one, other = result("smoke", PASSED), result("apps", SKIPPED)
    assert summary([one]) == "x86_64-a smoke passed"
    assert summary([one, other, one]) == "3 suites: 2 passed, 1 skipped"
