# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a pair of results comes to: of a fork, and of a boot."""

import pytest

from pipeline.words.pairing import differing, paired
from pipeline.words.refs import Commit
from pipeline.words.verdict import BUG, SuiteResult, TestResult, Verdict

P, F, S = Verdict.PASSED, Verdict.FAILED, Verdict.SKIPPED
T, FLAKY = Verdict.TROUBLE, Verdict.FLAKY


def result(**verdicts: Verdict) -> SuiteResult:
    tests = tuple(
        TestResult(name=name, verdict=one, seconds=1.0, message="why" if one is F else "")
        for name, one in verdicts.items()
    )
    return SuiteResult(suite="x", tree="t", commit=Commit("0" * 64), verdict=P, tests=tests)


@pytest.mark.parametrize(
    ("fork", "cold", "differs", "verdict", "message"),
    [
        (P, P, False, P, ""),
        (F, F, False, P, ""),
        (S, S, False, P, ""),
        (P, F, True, FLAKY, "once passed in a fork, failed after a boot: why"),
        (S, P, True, FLAKY, "once skipped in a fork, passed after a boot"),
        (T, P, False, T, "trouble in a fork, passed after a boot"),
        (P, T, False, T, "passed in a fork, trouble after a boot"),
        (FLAKY, F, False, T, "flaky in a fork, failed after a boot: why"),
    ],
)
def test_a_pair(fork: Verdict, cold: Verdict, differs: bool, verdict: str, message: str) -> None:
    forks, colds = result(a=fork), result(a=cold)
    assert bool(differing(forks, colds)) is differs
    (one,) = paired("x", forks, colds, ())
    assert (one.name, one.verdict, one.message, one.seconds) == ("x/a", verdict, message, 2.0)
    assert one.cause == ""


def test_what_differs_twice_is_ours() -> None:
    (one,) = paired("x", result(a=F), result(a=P), ("a",))
    assert (one.verdict, one.cause) == (T, BUG)
    assert one.message == "twice failed in a fork, passed after a boot: why"


def test_what_has_no_result_in_one_place_is_not_decided() -> None:
    forks, colds = result(a=P, b=P), result(b=P, c=F)
    assert differing(forks, colds) == ()
    found = {one.name: (one.verdict, one.message) for one in paired("x", forks, colds, ())}
    assert found == {
        "x/a": (T, "passed in a fork, trouble after a boot: it had no result"),
        "x/b": (P, ""),
        "x/c": (T, "trouble in a fork, failed after a boot: it had no result"),
    }
