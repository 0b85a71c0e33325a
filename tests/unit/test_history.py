# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the history of a test decides, over thousands of histories."""

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.history import HOPELESS, MOST_REPEATS, Past, counts, in_a_row, lost, repeats
from pipeline.words.refs import Commit
from pipeline.words.verdict import Verdict

P, F, FL, S, T = (
    Verdict.PASSED,
    Verdict.FAILED,
    Verdict.FLAKY,
    Verdict.SKIPPED,
    Verdict.TROUBLE,
)
HERE = Commit("f" * 64)


def commit(number: int) -> Commit:
    return Commit(f"{number:064x}")


def past(verdict: Verdict, number: int = 0, *, attempts: int = 1, is_new: bool = False) -> Past:
    failures = {F: attempts, FL: attempts - 1}.get(verdict, 0)
    return Past(
        commit=commit(number), verdict=verdict, attempts=attempts, failures=failures, is_new=is_new
    )


def history(*verdicts: Verdict, is_new: bool = False) -> list[Past]:
    """Make a history, newest first, each on a commit of its own."""
    return [
        past(one, n, attempts=2 if one is FL else 1, is_new=is_new)
        for n, one in enumerate(verdicts)
    ]


def test_a_test_without_a_history_is_repeated_once() -> None:
    assert repeats([]) == 1
    assert repeats(history(*[P] * 40)) == 1
    assert repeats(history(F, P, P)) == 1


def test_one_that_flakes_is_repeated_more_the_more_it_does() -> None:
    rarely = repeats(history(*[P] * 19, FL))
    often = repeats(history(P, FL, P, FL))
    assert (rarely, often) == (2, 5)
    assert repeats(history(*[FL] * 10)) == MOST_REPEATS


def test_one_that_fails_always_is_not_repeated() -> None:
    assert repeats(history(F, F, F, FL, P)) == 0
    assert repeats(history(F, F, P)) == 1
    # On one commit, however often: nobody has changed anything since.
    assert repeats([past(F, 1) for _ in range(9)]) == 1
    # What was not decided is no word for or against.
    assert repeats(history(F, S, F, T, F)) == 0


VERDICTS = some.sampled_from([P, F, FL, S, T])
HISTORIES = some.lists(
    some.builds(
        lambda verdict, number, attempts: past(verdict, number, attempts=attempts),
        VERDICTS,
        some.integers(0, 8),
        some.integers(1, 6),
    ),
    max_size=60,
)


@given(HISTORIES)
def test_repeats_are_bounded_and_stop_only_where_all_is_lost(pasts: list[Past]) -> None:
    found = repeats(pasts)
    decided = [one for one in pasts if one.verdict in (P, F, FL)]
    assert 0 <= found <= MOST_REPEATS
    if found == 0:
        assert {one.verdict for one in decided[:HOPELESS]} == {F}
    if not any(one.verdict is FL for one in decided):
        assert found <= 1


@given(HISTORIES)
def test_a_pass_that_is_new_never_asks_for_more_repeats_than_a_flake(pasts: list[Past]) -> None:
    assert repeats([past(P, 99), *pasts]) <= repeats([past(FL, 99, attempts=2), *pasts])


def test_a_test_that_flakes_is_hardly_ever_taken_for_one_that_fails() -> None:
    # Of ten thousand failures by chance alone, by a history of that chance.
    draw = random.Random(4)
    for odds in (0.05, 0.2, 0.35):
        wrong = 0
        for _ in range(10_000 // 3):
            pasts = [_played(draw, odds) for _ in range(30)]
            wrong += all(draw.random() < odds for _ in range(repeats(pasts)))
        assert wrong / (10_000 // 3) < 0.06, odds


def _played(draw: random.Random, odds: float) -> Past:
    failures = 0
    while draw.random() < odds and failures < 5:
        failures += 1
    verdict = FL if failures else P
    return Past(commit=commit(0), verdict=verdict, attempts=failures + 1, failures=failures)


def test_a_test_counts_once_it_has_passed_often_enough() -> None:
    new = history(P, P, P, F, is_new=True)

    def told(pasts: Iterable[Past], baseline: Verdict | None = None, passes: int = 3) -> bool:
        return counts(list(pasts), commit=HERE, in_baseline=baseline, passes=passes)

    assert told(new) and not told(new[1:])
    assert told([], P) and not told([], F) and not told([])
    assert told([], passes=0)
    assert told(history(F)), "it has counted before"
    assert not told(history(P, P, FL, P, is_new=True))
    assert told(history(P, S, P, T, P, is_new=True)), "what was skipped is no failure"


def test_one_commit_passes_once_however_often_it_is_tested() -> None:
    assert in_a_row([past(P, 1), past(P, 1), past(P, 2)], commit=HERE) == 2
    assert in_a_row([past(P, 1), past(P, 2)], commit=commit(1)) == 1


def test_what_passed_before_and_is_no_more_is_lost() -> None:
    assert lost({"a": P, "b": P, "c": F}, frozenset("b")) == ("a",)


@given(HISTORIES, some.integers(1, 5))
def test_a_failure_that_is_new_never_makes_a_test_count(pasts: list[Past], passes: int) -> None:
    new = [Past(**{**vars(one), "is_new": True}) for one in pasts]
    failed = Past(**{**vars(past(F, 99)), "is_new": True})
    assert not counts([failed, *new], commit=HERE, in_baseline=None, passes=passes)
