# SPDX-License-Identifier: LGPL-2.1-or-later
"""A push once more: what is written down for it, what is refused; and what a run is called."""

from dataclasses import replace

import pytest

from pipeline.words.again import again
from pipeline.words.errors import BadInput
from pipeline.words.push import Push, PushState, Via
from pipeline.words.title import LONGEST, title_of
from pipeline.words.wish import Wish

PUSH = Push(
    id=7,
    component="zlib",
    url="/srv/git/zlib",
    branch="main",
    before="a" * 40,
    after="b" * 40,
    commits=("b" * 40,),
    rewritten=False,
    via=Via.POLL,
    note="",
    received=1.0,
    run="20261128.3",
    state=PushState.DONE,
    attempts=3,
    superseded_by=None,
    message="",
)


def test_a_push_once_more_is_a_forced_one_of_the_same() -> None:
    other = replace(PUSH, id=8, component="lua", url="/srv/git/lua", after="c" * 40)
    made = again(PUSH, [PUSH, other], by="dora", rebuild=["zlib"])
    assert (made.component, made.url, made.branch) == ("zlib", "/srv/git/zlib", "main")
    assert (made.before, made.after, made.commits) == (PUSH.before, PUSH.after, PUSH.commits)
    assert (made.via, made.note) == (Via.FORCE, "push 7 again")
    assert made.wish == Wish(by="dora", rebuild=("zlib",))


@pytest.mark.parametrize("via", [Via.TRY, Via.BASE, Via.MANIFEST])
def test_what_is_known_by_how_it_came_stays_that(via: Via) -> None:
    wish = Wish(by="olga", suites=("smoke",))
    made = again(replace(PUSH, via=via, wish=wish), [], by="dora")
    assert made.via is via
    assert made.wish == Wish(by="dora", suites=("smoke",))


def test_what_has_moved_on_is_not_set_back() -> None:
    newer = replace(PUSH, id=9, after="c" * 40)
    with pytest.raises(BadInput, match="zlib has moved on with push 9, to cccccccccccc") as caught:
        again(PUSH, [newer], by="dora")
    assert f"Force a run of zlib, revision {PUSH.after}" in caught.value.hint
    for harmless in (
        replace(newer, via=Via.TRY),
        replace(newer, state=PushState.REFUSED),
        replace(newer, branch="topic"),
        replace(newer, after=PUSH.after),
        replace(newer, id=6),
    ):
        assert again(PUSH, [harmless], by="dora").after == PUSH.after


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"state": PushState.RUNNING}, "push 7 has not come to its end"),
        ({"state": PushState.REFUSED, "message": "no yaml"}, "push 7 is refused: no yaml"),
        ({"state": PushState.SUPERSEDED, "superseded_by": 9}, "push 7 is superseded by push 9"),
    ],
)
def test_what_nothing_can_come_of_is_refused(changes: dict[str, object], told: str) -> None:
    with pytest.raises(BadInput, match=told):
        again(replace(PUSH, **changes), [], by="dora")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "subject", "title"),
    [
        ({}, "fix crc", "20261128.3 zlib: fix crc"),
        ({"commits": ("a", "b", "c")}, "fix crc", "20261128.3 zlib: fix crc (and 2 before)"),
        ({"run": None}, "", "push 7 zlib: bbbbbbbbbbbb"),
        ({"note": "to see"}, "", "20261128.3 zlib: to see"),
        ({"via": Via.TRY, "branch": "", "after": ""}, "", "20261128.3 try of zlib"),
        ({"component": "base", "branch": "", "after": "k" * 64}, "", "20261128.3 base"),
    ],
)
def test_a_run_is_called_by_its_version_and_by_what_was_pushed(
    changes: dict[str, object], subject: str, title: str
) -> None:
    push = replace(PUSH, **changes)  # type: ignore[arg-type]
    assert title_of(push, run=push.run or "", subject=subject) == title


def test_a_title_is_one_line_of_what_can_be_printed() -> None:
    told = title_of(PUSH, run="r", subject="a\x1b[31m\n\u202eb " + "x" * 200)
    assert told.startswith("r zlib: a [31m b xxx")
    assert len(told) == LONGEST and told.endswith("…")
