# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which failures count, and that no excuse opens what should be shut."""

from dataclasses import replace
from datetime import date

from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.history import Past
from pipeline.words.known_issue import KnownIssue
from pipeline.words.refs import Commit
from pipeline.words.standing import Background, stand
from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

P, F, FL, S, T = (
    Verdict.PASSED,
    Verdict.FAILED,
    Verdict.FLAKY,
    Verdict.SKIPPED,
    Verdict.TROUBLE,
)
TODAY = date(2026, 11, 28)
ISSUE = KnownIssue(
    name="slow-clock",
    link="https://bugs.example.org/1",
    until=date(2026, 12, 1),
    suites=("smoke",),
    log="clock went back",
)


def result(**verdicts: Verdict) -> SuiteResult:
    tests = tuple(
        TestResult(name=name, verdict=one, message=f"{name} is bad" if one in (F, FL) else "")
        for name, one in verdicts.items()
    )
    bad = next((one for one in tests if one.verdict in (F, FL)), None)
    return SuiteResult(
        suite="smoke",
        tree="x86_64-a",
        commit=Commit("a" * 64),
        verdict=suite_verdict([one.verdict for one in tests]),
        tests=tests,
        message=f"{bad.name}: {bad.message}" if bad else "",
        cause="test" if bad else "",
    )


def old(**verdicts: Verdict) -> Background:
    return Background(baseline=verdicts, passes=3, today=TODAY)


def test_a_new_test_that_fails_only_warns() -> None:
    found = stand(result(a=P, b=F), old(a=P))
    assert (found.verdict, found.cause) == (P, "")
    assert found.message == "new and not well: b"
    assert found.tests[1].verdict is F and found.tests[1].is_new
    assert found.notes == (
        "b failed: it is new and only warns, after 0 passes in a row of 3: b is bad",
    )


def test_it_counts_once_it_has_passed_often_enough() -> None:
    pasts = [Past(commit=Commit(f"{n:064x}"), verdict=P, attempts=1, is_new=True) for n in range(3)]
    background = replace(old(a=P), history={"b": pasts})
    assert stand(result(a=P, b=F), background).verdict is F
    assert stand(result(a=P, b=F), replace(background, history={"b": pasts[1:]})).verdict is P


def test_a_failing_test_under_another_name_opens_no_gate() -> None:
    found = stand(result(b=P, renamed=F), old(a=P, b=P))
    assert found.verdict is F
    assert not found.tests[1].is_new
    assert found.notes == ("new tests are not excused: a passed before and did not run",)


def test_a_suite_of_new_tests_alone_is_not_excused() -> None:
    found = stand(result(b=F, c=P), old(a=F))
    assert (found.verdict, found.message) == (F, "b: b is bad")
    assert "nothing that counts has passed, so that no failure is excused" in found.notes


def test_before_anything_was_promoted_all_tests_count() -> None:
    found = stand(result(a=P, b=F), Background(passes=3))
    assert found.verdict is F and not any(one.is_new for one in found.tests)


def test_a_failure_of_a_known_issue_is_told_and_does_not_count() -> None:
    bad = result(a=P, b=F)
    bad = replace(bad, tests=(bad.tests[0], replace(bad.tests[1], log="x\nthe clock went back")))
    known = replace(old(a=P, b=P), issues=(ISSUE,))
    found = stand(bad, known)
    assert (found.verdict, found.tests[1].verdict) == (P, F)
    assert found.tests[1].known == "slow-clock"
    assert found.message == "not well for known issues: b"
    assert found.notes == ("b failed: known issue slow-clock (https://bugs.example.org/1)",)


def test_one_that_is_over_counts_again_and_is_told() -> None:
    bad = result(a=P, b=F)
    bad = replace(bad, tests=(bad.tests[0], replace(bad.tests[1], log="clock went back")))
    found = stand(bad, replace(old(a=P, b=P), issues=(ISSUE,), today=date(2026, 12, 2)))
    assert found.verdict is F
    assert found.notes == (
        "b: the known issue slow-clock (https://bugs.example.org/1) is to be over since "
        "2026-12-01, so that it counts",
    )


def test_a_known_issue_is_of_its_suites_tests_and_of_both_its_patterns() -> None:
    bad = result(a=P, b=F)
    bad = replace(bad, tests=(bad.tests[0], replace(bad.tests[1], log="clock went back")))

    def verdict(said: str = "", **changes: object) -> Verdict:
        issue = replace(ISSUE, **changes)  # type: ignore[arg-type]
        background = replace(old(a=P, b=P), issues=(issue,), journal=said)
        return stand(bad, background).verdict

    assert verdict() is P
    assert verdict(suites=("upgrade",)) is F
    assert verdict(tests=("a*",)) is F
    assert verdict(tests=("b*",)) is P
    assert verdict(journal="usb .* reset") is F
    assert verdict("x\nusb 1-1: reset\n", journal="usb .* reset") is P


def test_what_else_is_bad_is_what_is_told() -> None:
    found = stand(result(a=P, new=F, b=F), old(a=P, b=P))
    assert (found.verdict, found.message) == (F, "b: b is bad")


def test_trouble_is_never_excused() -> None:
    assert stand(result(a=P, b=F, c=T), old(a=P)).verdict is T


def test_what_a_worker_said_of_itself_is_judged_again() -> None:
    lying = replace(result(a=P, b=F), verdict=P, message="")
    assert stand(lying, old(a=P, b=P)).verdict is F
    twice = stand(stand(result(a=P, b=F), old(a=P)), old(a=P))
    assert twice == stand(result(a=P, b=F), old(a=P))


NAMES = some.sampled_from("abcdef")
SUITES = some.dictionaries(NAMES, some.sampled_from([P, F, FL, S]), min_size=1)


@given(SUITES, some.dictionaries(NAMES, some.sampled_from([P, F, S])), some.booleans())
def test_a_suite_passes_only_where_what_passed_before_does(
    now: dict[str, Verdict], before: dict[str, Verdict], is_known: bool
) -> None:
    issues = (replace(ISSUE, log="a is bad"),) if is_known else ()
    found = stand(result(**now), Background(baseline=before, passes=3, issues=issues, today=TODAY))
    if found.verdict is not P:
        return
    for name, verdict in now.items():
        if verdict in (F, FL):
            assert (is_known and name == "a") or before.get(name) is not P
            assert before, "nothing is excused without a baseline"
            assert P in now.values() or FL in now.values()
