# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a policy lets go of a line of trees, and what no policy ever does."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.manifest import Retention
from pipeline.words.refs import Commit
from pipeline.words.retention import Composed, droppable

DAY = 24 * 3600
policies = st.builds(
    Retention, newest=st.integers(min_value=1, max_value=9), daily=st.integers(0, 9)
)


@st.composite
def lines(draw: st.DrawFn) -> list[Composed]:
    """Make a line, newest first, with times that never go back along it."""
    steps = draw(st.lists(st.integers(1, 2 * DAY), max_size=30))
    time, found = 1_700_000_000, []
    for number, step in enumerate(steps):
        time -= step
        one = Composed(
            commit=Commit(f"{number:064x}"),
            time=time,
            bound=draw(st.booleans()),
            judged=draw(st.booleans()),
        )
        found.append(one)
    return found


@given(lines(), policies)
def test_what_must_stay_is_never_dropped(line: list[Composed], policy: Retention) -> None:
    gone = set(droppable(line, policy))
    assert gone.isdisjoint(one.commit for one in line if one.bound)
    assert gone.isdisjoint(one.commit for one in line[: policy.newest])
    assert gone.isdisjoint(one.commit for one in [one for one in line if one.judged][:1])


@given(lines(), policies)
def test_what_is_dropped_leaves_nothing_more_to_drop(
    line: list[Composed], policy: Retention
) -> None:
    gone = set(droppable(line, policy))
    assert droppable([one for one in line if one.commit not in gone], policy) == ()


@given(lines(), policies)
def test_of_each_day_within_reach_one_tree_stays(line: list[Composed], policy: Retention) -> None:
    left = {one.time // DAY for one in line if one.commit not in droppable(line, policy)}
    today = line[0].time // DAY if line else 0
    days = {one.time // DAY for one in line}
    assert {day for day in days if today - day <= policy.daily and policy.daily} <= left


@given(lines(), policies, policies)
def test_a_wider_policy_drops_no_more(
    line: list[Composed], one: Retention, other: Retention
) -> None:
    wider = Retention(newest=one.newest, daily=max(one.daily, other.daily))
    assert set(droppable(line, wider)) <= set(droppable(line, one))


def test_of_a_line_as_people_have_it() -> None:
    times = [10.9, 10.5, 9.9, 9.1, 8.7, 8.2, 3.6, 3.1]
    line = [
        Composed(commit=Commit(str(at)), time=int(at * DAY), bound=at == 8.2, judged=at == 9.1)
        for at in times
    ]
    assert droppable(line, Retention(newest=2, daily=3)) == ("3.6", "3.1")
    assert droppable(line, Retention(newest=2, daily=0)) == ("9.9", "8.7", "3.6", "3.1")
    assert droppable(line, Retention(newest=8, daily=0)) == ()
    assert droppable([], Retention(newest=1, daily=0)) == ()
