# SPDX-License-Identifier: LGPL-2.1-or-later
"""Merge requests: what hooks say of them, whose are tried, and which heads."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.hook import urls_of
from pipeline.words.hook_request import told_of
from pipeline.words.manifest import MergeRequests
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.request import (
    EVERY,
    MOST_OPEN,
    Follower,
    Found,
    Known,
    Told,
    find,
    followers_of,
    new_request,
    tried_with,
)
from tests.forges import REPOSITORY, Request
from tests.manifests import SMALLEST

URL = "https://forge.example/own/zlib.git"
KINDS = ("github", "gitlab", "gitea")
PULL = "refs/pull/{}/head"


def told(request: Request, **more: Any) -> Told | None:
    """Read what a hook says."""
    return told_of(request.kind, json.loads(request.body(**more)))


# Hooks


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_says_which_request_it_is_of_whether_it_is_open_and_when_that_was(kind: str) -> None:
    found = told(Request(kind=kind, url=URL, number=7, minute=5))
    assert found is not None
    ref = "refs/merge-requests/7/head" if kind == "gitlab" else "refs/pull/7/head"
    assert (found.ref, found.is_open, found.target, found.is_member) == (ref, True, "main", False)
    assert found.author == ("author 51" if kind == "gitlab" else "mallory")
    assert found.page.startswith("https://forge.example/own/zlib/") and found.page.endswith("/7")
    assert found.when == datetime(2026, 11, 28, 10, 5, tzinfo=UTC).timestamp()
    closed = told(Request(kind=kind, url=URL, is_open=False, action="closed"))
    assert closed is not None and not closed.is_open
    assert urls_of(json.loads(Request(kind=kind, url=URL).body())) == (URL,)


@pytest.mark.parametrize(
    ("kind", "given", "is_member"),
    [
        ("github", {"association": "OWNER"}, True),
        ("github", {"association": "MEMBER"}, True),
        ("github", {"association": "COLLABORATOR"}, True),
        ("github", {"association": "CONTRIBUTOR"}, False),
        ("github", {"association": "FIRST_TIME_CONTRIBUTOR"}, False),
        ("github", {"source": REPOSITORY}, True),
        ("gitea", {"source": REPOSITORY}, True),
        ("gitea", {"association": "OWNER"}, False),
        ("gitlab", {"source": REPOSITORY}, True),
        ("gitlab", {}, False),
    ],
)
def test_a_member_is_who_belongs_to_the_repository_or_made_a_branch_in_it(
    kind: str, given: dict[str, Any], is_member: bool
) -> None:
    found = told(Request(kind=kind, url=URL, **given))
    assert found is not None and found.is_member is is_member


def test_what_anybody_may_push_for_review_in_gitea_makes_nobody_a_member() -> None:
    body = json.loads(Request(kind="gitea", url=URL, source=REPOSITORY).body())
    body["pull_request"]["head"]["ref"] = "refs/pull/1/head"
    found = told_of("gitea", body)
    assert found is not None and not found.is_member
    body["author_association"] = body["pull_request"]["author_association"] = "OWNER"
    found = told_of("gitea", body)
    assert found is not None and not found.is_member, "no Gitea says so"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"pull_request": None},
        {"pull_request": {"number": "7 --upload-pack=x", "state": "open"}},
        {"pull_request": {"number": -7, "state": "open"}},
        {"pull_request": {"number": 0, "state": "open"}},
        {"pull_request": {"number": 10**12, "state": "open"}},
        {"pull_request": {"number": True, "state": "open"}},
        {"pull_request": {"number": 7, "state": ["open"]}},
        {"pull_request": {"number": 7}},
        {"object_kind": "merge_request"},
        {"object_kind": "merge_request", "object_attributes": {"iid": 7, "state": "locked"}},
        {"object_kind": "note", "object_attributes": {"iid": 7, "state": "opened"}},
        {"object_kind": "merge_request", "object_attributes": {"iid": "../7", "state": "opened"}},
    ],
)
def test_what_is_of_no_request_is_told_as_none(body: dict[str, Any]) -> None:
    for kind in (*KINDS, "plain"):
        assert told_of(kind, body) is None


def test_a_forge_speaks_of_its_own_requests_alone() -> None:
    pull = json.loads(Request(kind="github", url=URL).body())
    merge = json.loads(Request(kind="gitlab", url=URL).body())
    assert told_of("gitlab", pull) is None and told_of("plain", pull) is None
    assert told_of("github", merge) is None and told_of("gitea", merge) is None


def test_texts_of_a_hook_are_bounded_and_of_one_line() -> None:
    body = json.loads(Request(kind="github", url=URL, author="x" * 10_000).body())
    body["pull_request"]["html_url"] = "javascript:alert(1)"
    body["pull_request"]["base"]["ref"] = "main\n\x1b[2J"
    body["pull_request"]["updated_at"] = "yesterday"
    found = told_of("github", body)
    assert found is not None
    assert len(found.author) <= 200 and found.page == "" and found.when == 0.0
    assert "\n" not in found.target and "\x1b" not in found.target


# The manifest

REQUESTS = """\
osname: o
base: {tar: {runtime: {file: ./x.tar}}}
merge-requests: members
components:
  - {src: "git:https://forge.example/own/zlib.git", branch: main}
  - {src: "git:https://forge.example/own/zlib.git", name: stable, branch: stable}
  - {src: "git:https://forge.example/own/png.git", name: png, merge-requests: all}
  - {src: "git:https://forge.example/own/off.git", name: not-me, merge-requests: off}
  - {src: "git:https://forge.example/own/tag.git", name: tagged, tag: v1}
  - {src: "local:./here", name: here}
targets: {runtime: {components: all}}
"""


def test_nothing_is_tried_unless_the_manifest_says_so() -> None:
    manifest, _ = parse_manifest(SMALLEST, "m.yaml", relative_to="/")
    assert followers_of(manifest) == {}


def test_a_component_has_its_own_say_and_needs_a_branch() -> None:
    manifest, _ = parse_manifest(REQUESTS, "m.yaml", relative_to="/")
    found = followers_of(manifest)
    assert {url.rpartition("/")[2]: [one.component for one in some] for url, some in found.items()}
    assert [one.component for one in found[URL]] == ["zlib", "stable"]
    (png,) = found["https://forge.example/own/png.git"]
    assert (png.component, png.policy) == ("png", MergeRequests.ALL)
    assert len(found) == 2


# Which heads

ALL = (Follower(component="zlib", branch="main", policy=MergeRequests.ALL),)
MEMBERS = (Follower(component="zlib", branch="main", policy=MergeRequests.MEMBERS),)
BOTH = (*MEMBERS, Follower(component="fork", branch="fork", policy=MergeRequests.ALL))
NOW = 10_000.0


def known(*some: Known, seen_once: bool = True) -> dict[str, Known]:
    every = {EVERY: Known(ref=EVERY)} if seen_once else {}
    return {**every, **{one.ref: one for one in some}}


def look(followers: tuple[Follower, ...], rows: dict[str, Known], *heads: str) -> Found:
    there = {PULL.format(number): head for number, head in enumerate(heads, 1) if head}
    return find(followers, rows, there, frozenset(), NOW)


def row(number: int = 1, head: str = "a", **given: Any) -> Known:
    return Known(ref=PULL.format(number), head=head, **given)


def test_what_was_there_before_us_is_not_tried_and_what_comes_or_moves_then_is() -> None:
    first = look(ALL, {}, "a", "b")
    assert first.is_first and first.is_news and not first.tries
    assert set(first.first.values()) == {"a", "b"}
    then = look(ALL, known(row(1), row(2, "b")), "a", "c", "d")
    assert then.tries == {PULL.format(2): "c", PULL.format(3): "d"}
    assert not look(ALL, known(row(1)), "a").is_news


def test_of_members_only_what_a_hook_told_is_tried() -> None:
    assert not look(MEMBERS, {}, "a", "b").is_news
    assert not look(MEMBERS, known(row(1, "")), "a").is_news
    assert look(MEMBERS, known(row(1, "", is_member=True)), "a", "b").tries == {PULL.format(1): "a"}


def test_a_closed_request_is_not_tried_however_it_moves() -> None:
    assert not look(ALL, known(row(1, "a", is_open=False)), "b").is_news


def test_a_request_is_tried_with_what_follows_its_branch() -> None:
    of_member = row(is_member=True)
    assert tried_with(BOTH, of_member) == ("zlib", "fork")
    assert tried_with(BOTH, row()) == ("fork",)
    assert tried_with(BOTH, row(is_member=True, target="main")) == ("zlib",)
    assert tried_with(BOTH, row(target="main")) == ()
    assert not look(ALL, known(row(1, "", target="stable")), "a").tries
    push = new_request(URL, BOTH, of_member, "b" * 40)
    assert (push.component, push.branch, push.after) == ("zlib, fork", of_member.ref, "b" * 40)
    assert {one.revision for one in push.wish.replaced} == {"b" * 40}


def test_what_its_server_has_no_more_is_forgotten_and_what_a_hook_announced_is_awaited() -> None:
    gone = look(MEMBERS, known(row(1, is_member=True)))
    assert gone.gone == (PULL.format(1),)
    assert not look(MEMBERS, known(row(1, "", is_member=True, seen=NOW - 60))).is_news
    assert look(MEMBERS, known(row(1, "", is_member=True, seen=NOW - 7200))).gone


@given(st.integers(0, 12), st.integers(0, 12))
def test_no_more_are_tried_at_once_than_may_be(going: int, coming: int) -> None:
    refs = frozenset(PULL.format(number) for number in range(1, going + 1))
    there = {PULL.format(number): "b" for number in range(1, going + coming + 1)}
    rows = known(*(row(number) for number in range(1, going + 1)))
    tries = find(ALL, rows, there, refs, NOW).tries
    assert refs <= tries.keys(), "one that is being tried may always move on"
    assert len(tries) <= max(going, MOST_OPEN)
    assert list(tries.values()) == ["b"] * len(tries)


def test_of_ten_thousand_requests_the_newest_are_looked_at() -> None:
    there = {PULL.format(number): "a" for number in range(1, 10_001)}
    first = find(ALL, {}, there, frozenset(), NOW).first
    assert len(first) == 2000 and PULL.format(10_000) in first and PULL.format(1) not in first
    rows = known(*(Known(ref=ref, head="a") for ref in first))
    assert not find(ALL, rows, there, frozenset(), NOW).is_news
    there[PULL.format(10_001)] = "b"
    assert find(ALL, rows, there, frozenset(), NOW).tries == {PULL.format(10_001): "b"}
