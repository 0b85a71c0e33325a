# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a moved head becomes, what is started again, and what gives way."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.push_depends import later_one
from pipeline.words.depends_on import Dependency, depends_on, is_met_by
from pipeline.words.push import (
    MOST_COMMITS,
    PAUSE_S,
    Head,
    History,
    NewPush,
    Push,
    PushState,
    Via,
    pushes_of,
    taken_along,
    to_start,
    to_supersede,
)

HEAD = Head(component="zlib", url="https://example.org/zlib.git", branch="main")


def push(id: int, **given: Any) -> Push:
    """Make up a push."""
    values: dict[str, Any] = {
        "component": "zlib",
        "url": HEAD.url,
        "branch": "main",
        "before": f"{id - 1}",
        "after": f"{id}",
        "commits": (),
        "rewritten": False,
        "via": Via.POLL,
        "note": "",
        "received": 100.0,
        "run": None,
        "state": PushState.WAITING,
        "attempts": 0,
        "superseded_by": None,
        "message": "",
    }
    return Push(id=id, **{**values, **given})


def told(pushes: tuple[NewPush, ...]) -> list[tuple[str, str, tuple[str, ...], bool]]:
    return [(one.before, one.after, one.commits, one.rewritten) for one in pushes]


# A head that moved

STRAIGHT = History(line=("b", "c"), all=("b", "c"))
MERGED = History(line=("b", "m"), all=("b", "x", "y", "m"))
REWRITTEN = History(line=("z",), all=("y", "z"), rewritten=True)


@pytest.mark.parametrize(
    ("before", "after", "history", "unit", "expected"),
    [
        (None, "a", History(), "push", []),
        (None, "a", History(), "commit", []),
        ("a", "a", History(), "push", []),
        ("a", None, History(), "push", []),
        ("a", "c", STRAIGHT, "push", [("a", "c", ("b", "c"), False)]),
        ("a", "c", STRAIGHT, "commit", [("a", "b", ("b",), False), ("b", "c", ("c",), False)]),
        ("a", "m", MERGED, "push", [("a", "m", ("b", "x", "y", "m"), False)]),
        (
            *("a", "m", MERGED, "commit"),
            [("a", "b", ("b",), False), ("b", "m", ("x", "y", "m"), False)],
        ),
        ("a", "z", REWRITTEN, "push", [("a", "z", ("y", "z"), True)]),
        ("a", "z", REWRITTEN, "commit", [("a", "z", ("y", "z"), True)]),
        ("c", "a", History(rewritten=True), "commit", [("c", "a", (), True)]),
        ("a", "c", History(), "commit", [("a", "c", (), False)]),
    ],
)
def test_a_head_becomes(
    before: str | None, after: str | None, history: History, unit: str, expected: list[Any]
) -> None:
    assert told(pushes_of(HEAD, before, after, history, unit=unit)) == expected


@given(st.lists(st.tuples(st.integers(), st.booleans()), unique_by=lambda one: one[0]))
def test_one_push_a_commit_is_a_chain_that_loses_no_commit(commits: list[tuple[int, bool]]) -> None:
    every = tuple(str(number) for number, _ in commits)
    line = tuple(str(number) for number, on_line in commits[:-1] if on_line) + every[-1:]
    history = History(line=line, all=every)
    after = every[-1] if every else "start"
    found = pushes_of(HEAD, "start", after, history, unit="commit")
    assert [one.after for one in found] == list(line)
    assert [one.before for one in found] == ["start", *line][: len(found)]
    assert tuple(commit for one in found for commit in one.commits) == every


def test_each_push_tells_the_newest_of_its_own_commits() -> None:
    many = tuple(f"x{number}" for number in range(MOST_COMMITS + 5))
    history = History(line=("b", "m", "c"), all=("b", *many, "m", "c"))
    found = pushes_of(HEAD, "a", "c", history, unit="commit")
    assert [one.after for one in found] == ["b", "m", "c"]
    assert found[1].commits == (*many, "m")[-MOST_COMMITS:]
    (one,) = pushes_of(HEAD, "a", "c", history)
    assert one.commits == history.all[-MOST_COMMITS:]
    assert {push.note for push in (*found, one)} == {""}


@pytest.mark.parametrize("unit", ["push", "commit"])
def test_a_line_that_was_cut_is_told_of_the_first_push(unit: str) -> None:
    cut = History(line=("b", "c"), all=("b", "c"), cut=True)
    first, *others = pushes_of(HEAD, "a", "c", cut, unit=unit)
    assert first.note == "more than 2 commits came at once, the oldest are in this one"
    assert not any(push.note for push in others)


# What is started


def test_what_waits_is_started_in_order_and_what_ended_is_not() -> None:
    pushes = [push(3), push(1), push(2, state=PushState.DONE), push(4, state=PushState.RUNNING)]
    due = to_start(pushes, 1000.0, bound=3)
    assert [one.id for one in due.start] == [1, 3, 4]
    assert due.exhausted == ()


def test_an_attempt_is_followed_by_a_longer_and_longer_rest() -> None:
    once = push(1, attempts=1, attempted=500.0, state=PushState.RUNNING)
    assert to_start([once], 500.0 + PAUSE_S - 0.1, bound=3).start == ()
    assert to_start([once], 500.0 + PAUSE_S, bound=3).start == (once,)
    twice = push(1, attempts=2, attempted=500.0, state=PushState.RUNNING)
    assert to_start([twice], 500.0 + PAUSE_S, bound=3).start == ()
    assert to_start([twice], 500.0 + 2 * PAUSE_S, bound=3).start == (twice,)


def test_attempts_end() -> None:
    thrice = push(1, attempts=3, attempted=500.0)
    due = to_start([thrice, push(2)], 500.0, bound=3)
    assert due.exhausted == (thrice,)
    assert [one.id for one in due.start] == [2]


PUSHES = st.lists(
    st.builds(
        push,
        st.integers(1, 40),
        state=st.sampled_from(PushState),
        via=st.sampled_from(Via),
        attempts=st.integers(0, 4),
        attempted=st.floats(0, 1000),
    ),
    unique_by=lambda one: one.id,
)


@given(PUSHES, st.floats(0, 2000), st.integers(1, 4))
def test_nothing_open_is_forgotten(pushes: list[Push], now: float, bound: int) -> None:
    due = to_start(pushes, now, bound)
    later = to_start(pushes, now + 10_000, bound)
    assert {one.id for one in later.start} | {one.id for one in later.exhausted} == {
        one.id for one in pushes if one.is_open
    }
    assert later.exhausted == due.exhausted
    assert set(due.start) <= set(later.start)


# What gives way


@pytest.mark.parametrize(
    ("count", "bound", "expected"),
    [
        (5, 0, {}),
        (5, 5, {}),
        (5, 3, {1: 3, 2: 3}),
        (5, 1, {1: 5, 2: 5, 3: 5, 4: 5}),
        (1, 1, {}),
        (0, 1, {}),
    ],
)
def test_the_oldest_give_way(count: int, bound: int, expected: dict[int, int]) -> None:
    assert to_supersede([push(number + 1) for number in range(count)], bound) == expected


def test_what_somebody_asked_for_does_not_give_way() -> None:
    queue = [push(1, via=Via.FORCE), push(2), push(3), push(4, via=Via.TRY)]
    assert to_supersede(queue, 2) == {2: 3}


@given(PUSHES, st.integers(0, 10))
def test_what_gives_way_is_taken_along_by_a_newer_one_that_stays(
    pushes: list[Push], bound: int
) -> None:
    found = to_supersede(pushes, bound)
    by_id = {one.id: one for one in pushes}
    assert len(set(found.values())) <= 1
    queue = [one for one in pushes if not one.is_try]
    assert len(queue) - len(found) >= min(bound, len(queue))
    for old, newer in found.items():
        assert newer > old and newer not in found
        assert by_id[old].via is not Via.FORCE and not by_id[old].is_try
        assert by_id[newer].via is not Via.FORCE and not by_id[newer].is_try
    asked = [one for one in queue if one.via is Via.FORCE]
    if bound:
        assert len(queue) - len(found) <= max(bound, len(asked) + 1)
    assert found == to_supersede(queue, bound), "no try makes a push give way"


def test_what_was_superseded_comes_along_through_all_that_superseded_it() -> None:
    def gone(id: int, by: int) -> Push:
        return push(id, state=PushState.SUPERSEDED, superseded_by=by)

    pushes = [gone(4, 7), gone(1, 4), gone(2, 4), gone(3, 9), push(5), push(7)]
    assert [one.id for one in taken_along(push(7), pushes)] == [1, 2, 4]
    assert taken_along(push(5), pushes) == ()


# Depends-On


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("a subject", ()),
        ("s\n\nDepends-On: zlib@1a2b3c4\n", (Dependency(name="zlib", revision="1a2b3c4"),)),
        ("s\n\ndepends-on:zlib", (Dependency(name="zlib"),)),
        ("s\r\n\r\nDepends-On: zlib\r\n", (Dependency(name="zlib"),)),
        (
            "s\n\nDepends-On: https://example.org/zlib.git@1a2b3c4d\nDepends-On: png\n"
            "Depends-On: png\n",
            (
                Dependency(name="https://example.org/zlib.git", revision="1a2b3c4d"),
                Dependency(name="png"),
            ),
        ),
        (
            "Depends-On: https://forge.example/g/zlib/-/commit/1a2b3c4d5e",
            (Dependency(name="https://forge.example/g/zlib", revision="1a2b3c4d5e"),),
        ),
        (
            "Depends-On: git@example.org:zlib.git",
            (Dependency(name="git@example.org:zlib.git"),),
        ),
        ("it Depends-On: zlib", ()),
        ("Depends-On: zlib and png", ()),
        ("Depends-On:", ()),
        ("Depends-On: zlib\x1b[2J", ()),
        ("Depends-On: zl\N{LATIN SMALL LETTER I WITH DIAERESIS}b", ()),
        (f"Depends-On: {'z' * 500}", (Dependency(name="z" * 500),)),
        (f"Depends-On: {'z' * 501}", ()),
    ],
)
def test_dependencies_are_read(message: str, expected: tuple[Dependency, ...]) -> None:
    assert depends_on(message) == expected


def test_a_dependency_is_met_by_name_url_and_revision() -> None:
    one = push(1, after="1a2b3c4d", commits=("9f9f9f9f", "1a2b3c4d"))
    for name in ("zlib", HEAD.url, HEAD.url.removesuffix(".git")):
        assert is_met_by(Dependency(name=name), one)
        assert is_met_by(Dependency(name=name, revision="9f9f9f9"), one)
        assert not is_met_by(Dependency(name=name, revision="7777777"), one)
    assert not is_met_by(Dependency(name="png"), one)


def test_what_depends_on_several_gives_way_to_the_last_of_those_that_meet_all() -> None:
    wanted = (Dependency(name="zlib"), Dependency(name="png"))
    zlib, png, other = push(3), push(4, component="png", url="p"), push(5, component="x", url="x")
    assert later_one(wanted, push(2), [push(1), zlib, png, other]) == png
    assert later_one(wanted[:1], push(2), [zlib, png]) == zlib
    assert later_one(wanted, push(2), [zlib, other]) is None, "one of them is not there yet"
    assert later_one(wanted, push(5), [zlib, png]) is None, "what is before it comes along"
    assert later_one((), push(1), [zlib]) is None


@given(st.text())
def test_no_message_is_too_strange(message: str) -> None:
    for one in depends_on(message):
        assert one.name
        assert depends_on(f"Depends-On: {one}") == (one,)
