# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which night is due, and what is made of it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from pipeline.words.nightly import due_night, is_clock, night_push
from pipeline.words.push import NIGHTLY, Push, PushState, Via, moves_of
from pipeline.words.rank import Rank, asker_of, rank_of
from tests.manifests import SMALLEST, parsed


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("now", "night"),
    [
        ("2026-11-28T02:00:00", "2026-11-28"),
        ("2026-11-28T01:59:59", "2026-11-27"),
        ("2026-11-28T23:59:59", "2026-11-28"),
        ("2026-03-01T00:10:00", "2026-02-28"),
    ],
)
def test_the_newest_night_whose_time_has_come_is_due(now: str, night: str) -> None:
    assert due_night("02:00", at(now)) == night


@pytest.mark.parametrize("text", ["2:00", "24:00", "02:60", "02:00:00", "", "noon", 2, None])
def test_only_a_time_of_day_is_one(text: object) -> None:
    assert not is_clock(text) and is_clock("00:00") and is_clock("23:59")


def push() -> Push:
    return Push(
        id=7,
        component=NIGHTLY,
        url=NIGHTLY,
        branch="",
        before="2026-11-27",
        after="2026-11-28",
        commits=(),
        rewritten=False,
        via=Via.NIGHTLY,
        note="",
        received=0.0,
        run=None,
        state=PushState.WAITING,
        attempts=0,
        superseded_by=None,
        message="",
    )


def test_a_night_is_a_push_of_nobody_and_the_first_is_none() -> None:
    made = night_push("2026-11-28", "2026-11-20", [])
    assert made is not None
    assert (made.component, made.via, made.after) == (NIGHTLY, Via.NIGHTLY, "2026-11-28")
    assert night_push("2026-11-28", "", []) is None
    assert night_push("2026-11-28", "2026-11-27", [push()]) is None
    other = replace(push(), via=Via.HOOK, component="zlib")
    assert night_push("2026-11-28", "2026-11-27", [other]) is not None


def test_it_comes_after_what_was_pushed_and_moves_nothing_but_the_base() -> None:
    assert rank_of(push(), is_oldest=False) == Rank.SCHEDULED < Rank.ASKED
    assert rank_of(push(), is_oldest=True) == Rank.NEEDED
    assert asker_of(push()) == NIGHTLY
    moves = moves_of([push()], parsed(SMALLEST))
    assert moves.base and not moves.at and not moves.fetch
