# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hooks name: chains of pushes, and how long one that is missing is waited for."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.named import GRACE_S, Hooks, Named, way_from
from pipeline.words.push import Head, History, Via, pushes_of

HEAD = Head(component="zlib", url="https://example.org/zlib.git", branch="main")


def named(text: str) -> list[Named]:
    """Write hooks as ``ab bc``: from a to b, then from b to c."""
    return [
        Named(branch="main", before=one[0], after=one[1], number=number)
        for number, one in enumerate(text.split(), 1)
    ]


@pytest.mark.parametrize(
    ("start", "hooks", "way"),
    [
        *(("a", "", ""), ("a", "ab", "b"), ("a", "ab bc", "bc"), ("a", "bc ab cd", "bcd")),
        *(("a", "bc", ""), ("b", "ab bc", "c"), ("a", "ab cd", "b")),
        *(("a", "ab ab", "b"), ("a", "ab ba ac", "bac"), ("a", "aa", "a")),
    ],
)
def test_hooks_lead_from_one_push_to_the_next(start: str, hooks: str, way: str) -> None:
    assert "".join(way_from(start, named(hooks))) == way


@given(st.integers(1, 30), st.randoms())
def test_in_whatever_order_hooks_come_they_lead_the_same_way(
    count: int, chance: random.Random
) -> None:
    line = [f"{number}" for number in range(count + 1)]
    hooks = [Named(branch="main", before=one, after=two) for one, two in itertools.pairwise(line)]
    chance.shuffle(hooks)
    assert list(way_from("0", hooks)) == line[1:]


@pytest.mark.parametrize("unit", ["push", "commit"])
def test_what_was_named_is_a_push_of_its_own(unit: str) -> None:
    history = History(line=("b", "m", "e"), all=("b", "x", "c", "m", "d", "e"))
    found = pushes_of(HEAD, "a", "e", history, unit=unit, named={"c", "z", "e"})
    told = [(one.before, one.after, "".join(one.commits), one.via) for one in found]
    if unit == "push":
        assert told == [("a", "c", "bxc", Via.HOOK), ("c", "e", "mde", Via.HOOK)]
    else:
        assert [one[1] for one in told] == ["b", "c", "m", "e"]


def test_of_a_rewritten_branch_the_first_that_was_named_is_marked() -> None:
    history = History(line=("y", "z"), all=("y", "z"), rewritten=True)
    found = pushes_of(HEAD, "a", "z", history, named={"y"})
    assert [(one.before, one.after, one.rewritten) for one in found] == [
        ("a", "y", True),
        ("y", "z", False),
    ]


def test_a_server_that_never_sent_a_hook_is_not_waited_for() -> None:
    hooks = Hooks()
    assert not hooks.is_awaited("here", 0.0)
    assert hooks.looked("here", [], {"main": "a"}, 0.0) == 0.0
    hooks.note("elsewhere", named("ab")[0], 0.0)
    assert not hooks.is_awaited("here", 0.0) and hooks.is_awaited("elsewhere", 0.0)
    hooks.keep(["here"])
    assert not hooks.is_awaited("elsewhere", 0.0)


def test_a_hook_that_is_missing_is_waited_for_a_while() -> None:
    hooks = Hooks()
    hooks.note("here", named("bc")[0], 10.0)
    assert hooks.looked("here", [], {"main": "a"}, 10.0) == GRACE_S
    assert hooks.is_awaited("here", 10.0 + GRACE_S / 2)
    assert hooks.looked("here", [], {"main": "a"}, 10.0 + GRACE_S / 2) == GRACE_S / 2
    assert not hooks.is_awaited("here", 10.0 + GRACE_S)
    # What was left alone is recorded; the next that moves is waited for again.
    assert hooks.looked("here", ["b", "c"], {}, 15.0) == 0.0
    assert hooks.is_awaited("here", 16.0)
    assert hooks.named("here", 9) == ()


def test_one_that_comes_gives_the_next_its_time() -> None:
    hooks = Hooks()
    hooks.note("here", named("ab")[0], 0.0)
    assert hooks.looked("here", ["b"], {"main": "b"}, 0.0) == GRACE_S
    assert hooks.looked("here", ["c"], {"main": "c"}, 4.0) == GRACE_S


def test_hooks_have_numbers_and_old_ones_go() -> None:
    hooks = Hooks()
    for number, one in enumerate(named("ab bc cd")):
        hooks.note("here", one, float(number))
    assert [one.after for one in hooks.named("here", 2)] == ["b", "c"]
    assert hooks.count == 3
    hooks.note("here", named("de")[0], 2000.0)
    assert [(one.after, one.number) for one in hooks.named("here", 9)] == [("e", 4)]


def test_what_hooks_named_is_kept_in_their_order_until_it_is_old() -> None:
    hooks = Hooks()
    links = named("ab bc cd")
    for place, link, now in zip(("one", "two", "one"), links, (0.0, 1.0, 500.0), strict=True):
        hooks.note(place, link, now)
    hooks.note_sender("three")
    assert hooks.kept(501.0) == (
        *((place, None) for place in ("one", "two", "three")),
        *(("one", links[0]), ("two", links[1]), ("one", links[2])),
    )
    assert hooks.kept(700.0)[3:] == (("one", links[2]),)
    assert hooks.is_awaited("three", 700.0)


def test_whoever_names_far_too_much_pushes_nobody_else_out() -> None:
    hooks = Hooks()
    link = named("ab")[0]
    for place in range(30):
        for _ in range(1100):
            hooks.note(f"{place}", link, 1.0)
    hooks.note("quiet", link, 1.0)
    kept = [place for place, one in hooks.kept(2.0) if one is not None]
    assert len(kept) == 20_000 and kept.count("quiet") == 1
