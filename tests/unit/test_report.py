# SPDX-License-Identifier: LGPL-2.1-or-later
"""To whom a push is news, and what is told of it."""

import json
from dataclasses import replace

import pytest

from pipeline.words.push import Push, PushState, Via
from pipeline.words.report import Due, Report, Said, due
from pipeline.words.report_http import repository_of, status_request

A = "a" * 40


def push(number: int, component: str = "zlib", state: PushState = PushState.DONE) -> Push:
    return Push(
        id=number,
        component=component,
        url="https://hub.example/own/zlib.git",
        branch="main",
        before="0" * 40,
        after=A,
        commits=(),
        rewritten=False,
        via=Via.POLL,
        note="",
        received=0.0,
        run=f"r{number}",
        state=state,
        attempts=1,
        superseded_by=None,
        message="",
    )


def news(*endings: str, components: tuple[str, ...] = ()) -> list[int]:
    """Tell which are news of pushes that end so, one after the other."""
    names = components or ("zlib",) * len(endings)
    pushes = [push(number, name) for number, name in enumerate(names)]
    known = {f"r{number}": ending for number, ending in enumerate(endings)}
    told: dict[int, str] = {}
    found = []
    for number in range(len(pushes)):
        for one in due(pushes[: number + 1], known, told):
            told[one.push.id] = one.said
            found += [one.push.id] if one.is_news else []
    return found


@pytest.mark.parametrize(
    ("endings", "wanted"),
    [
        (("passed", "passed"), []),
        (("failed", "failed"), [0]),
        (("passed", "failed", "failed", "passed", "passed"), [1, 3]),
        (("passed", "unchanged", "bad-input"), [2]),
        (("passed", "trouble", "passed", "bug"), []),
        (("passed", "elsewhere", "passed", "elsewhere", "failed"), [4]),
        (("passed", "interrupted", "failed"), [2]),
    ],
)
def test_news_is_what_changes(endings: tuple[str, ...], wanted: list[int]) -> None:
    assert news(*endings) == wanted


def test_a_component_that_first_meets_a_broken_line_is_told_and_so_is_its_mending() -> None:
    endings = ("passed", "passed", "failed", "failed", "passed", "passed")
    components = ("zlib", "tool", "zlib", "tool", "zlib", "tool")
    assert news(*endings, components=components) == [2, 3, 4, 5]


def test_an_older_push_that_ends_after_a_newer_one_is_no_news_but_its_forge_sees_it() -> None:
    pushes = [push(1), push(2), push(3)]
    endings = {"r1": "passed", "r2": "failed", "r3": "passed"}
    (found,) = due(pushes, endings, {1: "passed", 3: "passed"})
    assert (found.push.id, found.said, found.is_news) == (2, Said.FAILED, False)


def test_what_waits_is_not_told_and_what_runs_is_pending() -> None:
    pushes = [push(1, state=PushState.WAITING), push(2, state=PushState.RUNNING)]
    (found,) = due(pushes, {}, {})
    assert (found.push.id, found.said) == (2, Said.PENDING)
    assert due(pushes, {}, {2: "pending"}) == ()


def test_a_try_that_fails_says_nothing_of_what_is_pushed() -> None:
    endings = {"r0": "passed", "r1": "failed", "r2": "passed"}
    pushes = [push(0), replace(push(1), via=Via.TRY), push(2)]
    assert [one.push.id for one in due(pushes, endings, {0: "passed"})] == [2]
    assert not any(one.is_news for one in due(pushes, endings, {0: "passed"}))


def test_a_merge_request_is_told_to_its_forge_and_to_nobody_else() -> None:
    endings = {"r0": "passed", "r1": "failed", "r2": "failed"}
    pushes = [push(0), replace(push(1), via=Via.REQUEST), push(2)]
    found = due(pushes, endings, {0: "passed"})
    assert [(one.push.id, one.is_news) for one in found] == [(1, False), (2, True)]
    assert due(pushes, endings, {0: "passed", 1: "failed", 2: "failed"}) == ()
    gone = replace(pushes[1], state=PushState.CANCELLED)
    assert [one.said for one in due([gone], endings, {})] == [Said.CANCELLED]


def test_a_commit_that_is_pushed_later_keeps_the_state_of_its_try_apart() -> None:
    given = {"api": "https://api.hub.example", "host": "hub.example", "secret": "s"}
    contexts = []
    for via in (Via.HOOK, Via.REQUEST):
        request = status_request("github", report=report(via=via), **given)
        assert request is not None
        contexts.append(json.loads(request.body)["context"])
    assert contexts == ["ostci/tiny", "ostci/tiny/merge-request"]


def report(**changes: object) -> Report:
    told = Due(push=replace(push(7), **changes), said=Said.FAILED)  # type: ignore[arg-type]
    return Report(due=told, osname="tiny", page="http://ci/#/7", repeat="ostci run --push 7")


def test_lines_of_others_stay_one_line() -> None:
    hostile = report(component="zlib\r\nQUIT :x", message="\x1b[2J" + "x" * 999)
    assert "\r" not in hostile.title and "\n" not in hostile.title and "\x1b" not in hostile.title
    assert len(hostile.title) <= 300
    assert "\r" not in hostile.text


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("https://hub.example/own/zlib.git", ("hub.example", "own/zlib")),
        ("ssh://git@hub.example:22/own/zlib", ("hub.example", "own/zlib")),
        ("git@hub.example:own/zlib.git", ("hub.example", "own/zlib")),
        ("/srv/git/zlib", None),
        ("file:///srv/git/zlib", None),
    ],
)
def test_a_repository_is_known_by_host_and_path(url: str, wanted: tuple[str, str] | None) -> None:
    assert repository_of(url) == wanted


def test_a_secret_goes_to_its_own_forge_alone_and_only_for_commits() -> None:
    given = {"api": "https://api.hub.example", "host": "hub.example", "secret": "s"}
    assert status_request("github", report=report(), **given) is not None
    assert status_request("github", report=report(after="../../user"), **given) is None
    other = report(url="https://hub.example.evil/own/zlib.git")
    assert status_request("github", report=other, **given) is None
