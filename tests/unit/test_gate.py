# SPDX-License-Identifier: LGPL-2.1-or-later
"""Only a pass of every required suite opens a gate, and what holds it is said in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.gate import (
    NOTHING_REQUIRED,
    Flakes,
    GateResult,
    excused_suites,
    fails_run,
    judge,
    settled,
    suites_of_gate,
)
from pipeline.words.manifest import Need
from pipeline.words.suite import NO_BASELINE
from pipeline.words.verdict import Verdict

REQUIRED = {"smoke": Need.REQUIRED}


def test_a_required_suite_that_passed_opens_the_gate() -> None:
    assert judge(REQUIRED, {"smoke": Verdict.PASSED}).passed


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ({}, "smoke has no verdict yet"),
        ({"other": Verdict.PASSED}, "smoke has no verdict yet"),
        ({"smoke": Verdict.FAILED}, "smoke failed"),
        ({"smoke": Verdict.FLAKY}, "smoke is flaky: it passed and failed"),
        ({"smoke": Verdict.SKIPPED}, "smoke was skipped"),
        ({"smoke": Verdict.TROUBLE}, "smoke had trouble with our machines"),
    ],
)
def test_anything_but_a_pass_holds_a_commit_back(verdicts: dict[str, Verdict], reason: str) -> None:
    result = judge(REQUIRED, verdicts)
    assert not result.passed
    assert result.reasons == (reason,)


def test_the_first_line_of_a_suites_message_is_told() -> None:
    messages = {"smoke": "kernel panic\nmore of it"}
    result = judge(REQUIRED, {"smoke": Verdict.FAILED}, messages=messages)
    assert result.reasons == ("smoke failed: kernel panic",)


def test_a_suite_of_the_night_is_told_where_it_was_run_and_missed_nowhere() -> None:
    gate = {"smoke": Need.REQUIRED, "upgrade": Need.NIGHTLY}
    assert suites_of_gate(gate, is_nightly=False) == ("smoke",)
    assert suites_of_gate(gate, is_nightly=True) == ("smoke", "upgrade")
    assert judge(gate, {"smoke": Verdict.PASSED}) == GateResult(passed=True)
    found = judge(gate, {"smoke": Verdict.PASSED, "upgrade": Verdict.FAILED})
    assert (found.passed, found.notes) == (True, ("upgrade failed",))
    assert [one for one in Need if fails_run(one, is_nightly=False)] == [Need.REQUIRED]
    night = [one for one in Need if fails_run(one, is_nightly=True)]
    assert night == [Need.REQUIRED, Need.NIGHTLY]


def test_an_advisory_suite_is_told_and_blocks_nothing() -> None:
    gate = {"smoke": Need.REQUIRED, "login": Need.ADVISORY}
    result = judge(gate, {"smoke": Verdict.PASSED, "login": Verdict.FAILED})
    assert result.passed
    assert result.reasons == ()
    assert result.notes == ("login failed",)


@pytest.mark.parametrize("gate", [{}, {"smoke": Need.ADVISORY}])
def test_a_gate_that_requires_nothing_lets_nothing_pass(gate: dict[str, Need]) -> None:
    result = judge(gate, {"smoke": Verdict.PASSED})
    assert not result.passed
    assert result.reasons == (NOTHING_REQUIRED,)


def test_all_reasons_are_told_in_the_order_of_the_gate() -> None:
    gate = {"smoke": Need.REQUIRED, "login": Need.REQUIRED}
    result = judge(gate, {"login": Verdict.FAILED})
    assert result.reasons == ("smoke has no verdict yet", "login failed")


SUITES = st.sampled_from(["a", "b", "c", "d"])


@given(
    st.dictionaries(SUITES, st.sampled_from(Need)),
    st.dictionaries(SUITES, st.sampled_from(Verdict)),
)
def test_a_gate_opens_just_when_every_required_suite_passed(
    gate: dict[str, Need], verdicts: dict[str, Verdict]
) -> None:
    required = [suite for suite, need in gate.items() if need is Need.REQUIRED]
    wanted = bool(required) and all(verdicts.get(one) is Verdict.PASSED for one in required)
    result = judge(gate, verdicts)
    assert result.passed == wanted == (not result.reasons)


@given(st.dictionaries(SUITES, st.sampled_from(Verdict)), SUITES)
def test_no_verdict_but_a_pass_ever_helps(verdicts: dict[str, Verdict], suite: str) -> None:
    gate = dict.fromkeys("abcd", Need.REQUIRED)
    for worse in set(Verdict) - {Verdict.PASSED}:
        assert not judge(gate, {**verdicts, suite: worse}).passed


def test_a_flaky_suite_passes_within_its_budget_alone_and_that_is_noted() -> None:
    verdicts = {"smoke": Verdict.FLAKY}
    within = judge(REQUIRED, verdicts, flakes=Flakes(seen={"smoke": 2}, budget={"smoke": 2}))
    assert within.passed
    assert within.notes == ("smoke passed with 2 flaky, 2 allowed",)
    for seen in ({"smoke": 3}, {"smoke": 0}, {}):
        over = judge(REQUIRED, verdicts, flakes=Flakes(seen=seen, budget={"smoke": 2}))
        assert over.reasons == ("smoke is flaky: it passed and failed",)
    other = judge(
        REQUIRED, {"smoke": Verdict.FAILED}, flakes=Flakes(seen={"smoke": 1}, budget={"smoke": 9})
    )
    assert not other.passed


def test_what_was_excused_in_a_pass_is_noted() -> None:
    result = judge(REQUIRED, {"smoke": Verdict.PASSED}, messages={"smoke": "new and not well: b"})
    assert result.passed
    assert result.notes == ("smoke passed: new and not well: b",)


def test_a_suite_is_required_once_it_has_a_baseline() -> None:
    gate = {**REQUIRED, "upgrade": Need.ONCE_BASELINE}
    verdicts = {"smoke": Verdict.PASSED, "upgrade": Verdict.FAILED}
    assert judge(gate, verdicts).notes == ("upgrade failed",)
    assert judge(gate, verdicts).passed
    assert judge(gate, verdicts, baselines={"upgrade"}).reasons == ("upgrade failed",)
    assert settled(gate, {"upgrade"}) == dict.fromkeys(gate, Need.REQUIRED)
    assert settled(gate, ())["upgrade"] is Need.ADVISORY


def test_a_baseline_requires_nothing_that_was_advisory() -> None:
    gate = {"smoke": Need.ADVISORY}
    result = judge(gate, {"smoke": Verdict.PASSED}, baselines={"smoke"})
    assert result.reasons == (NOTHING_REQUIRED,)


TWO = {"smoke": Need.REQUIRED, "upgrade": Need.REQUIRED}
SKIPPED = {"smoke": Verdict.PASSED, "upgrade": Verdict.SKIPPED}


def test_an_upgrade_that_nothing_could_start_is_excused_and_told() -> None:
    excused = excused_suites(SKIPPED, {"upgrade": NO_BASELINE}, is_first=True)
    result = judge(TWO, SKIPPED, messages={"upgrade": "no baseline"}, excused=excused)
    assert (result.passed, result.notes) == (True, ("upgrade was skipped: no baseline",))


@pytest.mark.parametrize(
    ("verdicts", "causes", "is_first"),
    [
        (SKIPPED, {"upgrade": NO_BASELINE}, False),
        (SKIPPED, {"upgrade": ""}, True),
        (SKIPPED, {}, True),
        ({**SKIPPED, "upgrade": Verdict.FAILED}, {"upgrade": NO_BASELINE}, True),
        ({**SKIPPED, "upgrade": Verdict.TROUBLE}, {"upgrade": NO_BASELINE}, True),
        ({"upgrade": Verdict.SKIPPED, "smoke": Verdict.SKIPPED}, {"smoke": NO_BASELINE}, True),
    ],
)
def test_nothing_else_is_excused(
    verdicts: dict[str, Verdict], causes: dict[str, str], is_first: bool
) -> None:
    excused = excused_suites(verdicts, causes, is_first=is_first)
    assert excused == frozenset()
    assert not judge(TWO, verdicts, excused=excused).passed


def test_a_gate_of_which_nothing_passed_opens_for_nobody() -> None:
    gate = {"upgrade": Need.REQUIRED}
    verdicts = {"upgrade": Verdict.SKIPPED}
    excused = excused_suites(verdicts, {"upgrade": NO_BASELINE}, is_first=True)
    assert judge(gate, verdicts, excused=excused).reasons == (NOTHING_REQUIRED,)


def test_whoever_calls_a_suite_excused_that_failed_is_not_believed() -> None:
    verdicts = {"smoke": Verdict.FAILED, "upgrade": Verdict.FAILED}
    assert not judge(TWO, verdicts, excused={"smoke", "upgrade"}).passed
