# SPDX-License-Identifier: LGPL-2.1-or-later
"""What several attempts at a suite come to together."""

from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.attempts import ELSEWHERE, blamed, counted, merged, repeatable, wanted
from pipeline.words.refs import Commit
from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

F, P, S, T = Verdict.FAILED, Verdict.PASSED, Verdict.SKIPPED, Verdict.TROUBLE


def suite(*verdicts: Verdict, cause: str = "", message: str = "") -> SuiteResult:
    tests = tuple(
        TestResult(
            name=f"t{n}",
            verdict=verdict,
            message=f"{message} {n}" if message else "",
            cause=cause if verdict is F else "",
        )
        for n, verdict in enumerate(verdicts)
    )
    return SuiteResult(
        suite="smoke",
        tree="x86_64-a",
        commit=Commit("a" * 64),
        verdict=suite_verdict(verdicts),
        tests=tests,
        cause=cause,
        message=message,
        seconds=10.0,
        evidence="test/x86_64-a/smoke",
    )


def test_what_fails_twice_has_failed() -> None:
    found = merged(suite(P, F, message="once"), suite(P, F, message="twice", cause="panic"))
    assert (found.verdict, found.message, found.cause) == (F, "twice", "panic")
    assert (found.attempts, found.seconds) == (2, 20.0)


def test_what_fails_once_and_passes_once_is_flaky() -> None:
    found = merged(suite(P, F, message="bad", cause="hang"), suite(P, P))
    assert (found.verdict, found.cause) == (Verdict.FLAKY, "hang")
    assert found.message == "passed when repeated: bad"
    assert found.tests[1].message == "passed when repeated: bad 1"
    other = merged(suite(F, P, message="bad"), suite(F, F, message="bad"))
    assert [test.verdict for test in other.tests] == [F, Verdict.FLAKY]
    assert other.tests[1].message == "failed when repeated: bad 1"
    assert other.verdict is F


def test_a_repetition_of_what_failed_alone_keeps_what_the_others_said() -> None:
    again = suite(P)
    found = merged(suite(F, P, S), again)
    assert [test.verdict for test in found.tests] == [Verdict.FLAKY, P, S]


def test_what_could_not_be_told_the_first_time_is_told_by_the_second() -> None:
    found = merged(suite(F, S, S), suite(F, P, F, message="now"))
    assert [test.verdict for test in found.tests] == [F, P, F]


def test_trouble_says_nothing_of_a_failure() -> None:
    first = suite(F, message="bad")
    assert merged(first, suite(T)) is first


def test_what_fails_on_the_baseline_as_well_is_of_elsewhere_and_stays_failed() -> None:
    found = blamed(suite(F, P, F, message="bad"), suite(F, F, F), name="20261128.1")
    assert (found.verdict, found.cause) == (F, ELSEWHERE)
    assert found.message == "fails on 20261128.1 as well: bad"


def test_a_failure_that_the_baseline_does_not_show_is_the_changes_own() -> None:
    result = suite(F, P, F, message="bad", cause="panic")
    same = {"cause": "panic"}
    for baseline in (suite(F, F, P, **same), suite(P, P, P), suite(T), suite()):
        assert blamed(result, baseline, name="x") is result
    # A machine that was too busy to boot the baseline in time says nothing of a panic.
    for baseline in (suite(F, P, F, cause="deadline"), suite(F, F, F, cause="hang")):
        assert blamed(result, baseline, name="x") is result


def test_one_test_of_a_suite_is_not_repeated_nor_what_passed() -> None:
    assert repeatable(suite(F))
    assert not repeatable(suite(P))
    assert not repeatable(suite(T))
    one = SuiteResult(
        suite="smoke/t0", tree="t", commit=Commit("a" * 64), verdict=F, tests=suite(F).tests
    )
    assert not repeatable(one)


def test_what_was_flaky_once_stays_so_and_is_counted() -> None:
    found = suite(P, F, message="bad")
    for again in (suite(P, F, message="bad"), suite(P, P), suite(P, P), suite(F, P)):
        found = merged(found, again)
    assert [(one.verdict, one.attempts, one.failures) for one in found.tests] == [
        (Verdict.FLAKY, 5, 1),
        (Verdict.FLAKY, 5, 2),
    ]
    assert (found.verdict, found.attempts) == (Verdict.FLAKY, 5)
    assert found.message == "passed when repeated: bad"


def test_what_failed_every_time_is_repeated_as_often_as_is_wanted() -> None:
    result = suite(F, P, F)
    assert wanted(result, {}, done=0) == ("t0", "t2")
    assert wanted(result, {}, done=1) == ()
    assert wanted(result, {"t0": 0, "t2": 3}, done=0) == ("t2",)
    assert wanted(result, {"t0": 0, "t2": 3}, done=2) == ("t2",)
    assert wanted(result, {"t0": 0, "t2": 3}, done=3) == ()
    assert counted(result.tests[0]).failures == 1


verdicts = some.lists(some.sampled_from([F, P, S]), min_size=1, max_size=6)


@given(verdicts, verdicts)
def test_nothing_passes_that_failed_and_nothing_is_lost(a: list[Verdict], b: list[Verdict]) -> None:
    first, again = suite(*a), suite(*b)
    found = merged(first, again)
    assert {test.name for test in found.tests} >= {test.name for test in first.tests}
    if F in a:
        assert found.verdict in (F, Verdict.FLAKY)
    if F in a and found.verdict is F:
        assert any(test.verdict is F for test in found.tests)
