# SPDX-License-Identifier: LGPL-2.1-or-later
"""How often a repository is asked that answers, and one that does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.watch import LONGEST_PAUSE_S, Asked, due_urls, failed, is_news

ROUND_S = 60.0


def fail(asked: Asked, times: int, *, now: float = 0.0, chance: float = 0.0) -> Asked:
    for _ in range(times):
        asked = failed(asked, now, round_s=ROUND_S, chance=chance)
    return asked


def test_what_was_never_asked_or_failed_once_is_asked_in_every_round() -> None:
    known = {"a": fail(Asked(), 1), "b": Asked()}
    assert due_urls(["a", "b", "c"], known, 0.0) == ("a", "b", "c")


def test_what_fails_is_asked_less_and_less_often() -> None:
    pauses = [fail(Asked(), times).due for times in range(1, 10)]
    assert pauses == [0, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    known = {"a": fail(Asked(), 3)}
    assert due_urls(["a", "b"], known, 119.0) == ("b",)
    assert due_urls(["a", "b"], known, 120.0) == ("a", "b")


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0, 1e9))
def test_chance_only_shortens_a_pause_and_no_pause_is_endless(
    times: int, chance: float, now: float
) -> None:
    asked = failed(Asked(failures=times - 1), now, round_s=ROUND_S, chance=chance)
    assert now <= asked.due <= now + LONGEST_PAUSE_S
    certain = failed(Asked(failures=times - 1), now, round_s=ROUND_S, chance=0.0)
    assert asked.due <= certain.due
    assert asked.due - now >= 0.74 * (certain.due - now) - 1e-3


@pytest.mark.parametrize(
    ("there", "known", "news"),
    [
        ({"main": "b"}, {}, True),
        ({"main": "b"}, {"main": "b"}, False),
        ({"main": "b"}, {"main": "a"}, True),
        ({}, {"main": "a"}, True),
        ({}, {"main": "a", "main:gone": ""}, False),
        ({}, {}, True),
        ({"main": "a"}, {"main": "a", "main:gone": ""}, True),
    ],
)
def test_what_moved_is_gone_or_back_is_news_once(
    there: dict[str, str], known: dict[str, str], news: bool
) -> None:
    known_here = {("url", name): at for name, at in known.items()}
    assert is_news("url", ["main"], there, known_here) is news
    elsewhere = {("another", name): at for name, at in known.items()}
    assert is_news("url", ["main"], there, elsewhere)


def test_a_tag_that_was_never_there_may_be_a_revision_and_is_not_missed() -> None:
    assert not is_news("url", ["tag:1.2-3-gabcdef0"], {}, {})
    assert is_news("url", ["tag:v1"], {}, {("url", "tag:v1"): "a"})
