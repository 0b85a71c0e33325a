# SPDX-License-Identifier: LGPL-2.1-or-later
"""What comes first: by rank, then whoever has asked for less."""

from dataclasses import replace
from itertools import pairwise

from pipeline.words.push import Push, PushState, Via
from pipeline.words.rank import STEP, Rank, asker_of, priority, priority_of_run, rank_of
from pipeline.words.wish import Wish

PUSH = Push(
    id=1,
    component="zlib",
    url="",
    branch="master",
    before="",
    after="",
    commits=(),
    rewritten=False,
    via=Via.POLL,
    note="",
    received=0.0,
    run=None,
    state=PushState.RUNNING,
    attempts=1,
    superseded_by=None,
    message="",
)
TRY = replace(PUSH, via=Via.TRY, wish=Wish(by="dora"))


def test_no_number_of_requests_lets_one_rank_fall_below_another() -> None:
    ranks = sorted(Rank)
    for lower, higher in pairwise(ranks):
        assert priority(higher, 10 * STEP) > priority(lower, 0)
    assert priority(Rank.ASKED, 1) < priority(Rank.ASKED, 0)


def test_a_push_and_a_try_come_before_what_is_scheduled_and_after_what_all_wait_for() -> None:
    base = replace(PUSH, via=Via.BASE)
    assert rank_of(base, is_oldest=False) < rank_of(PUSH, is_oldest=False)
    assert rank_of(PUSH, is_oldest=False) == rank_of(TRY, is_oldest=False)
    assert rank_of(base, is_oldest=True) > rank_of(TRY, is_oldest=False)


def test_it_is_fair_between_components_and_people() -> None:
    assert asker_of(PUSH) == "zlib" and asker_of(TRY) == "try by dora"
    assert priority_of_run(TRY) > priority_of_run(PUSH)
