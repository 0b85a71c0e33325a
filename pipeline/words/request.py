# SPDX-License-Identifier: LGPL-2.1-or-later
"""Merge requests: whose are tried, what is known of each, and which heads are to be tried now.

Whoever opens one makes our machines work, so none is tried unless the manifest says so. What a
hook says decides only whether a request may be tried; what is tried is what its server has.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pipeline.words.manifest import Manifest, MergeRequests, SourceKind
from pipeline.words.push import NewPush, Via
from pipeline.words.wish import How, Replacement, Wish

MOST_OPEN = 4
"""So many requests of one repository are tried at once; the others wait for their turn."""
EVERY = ""
"""What stands for the ref of a repository all of whose requests were seen once."""
_MOST = 2000
"""So many of the newest requests of a repository are looked at without a hook."""
_AWAITED_S = 3600.0
"""How long after a hook the server may have nothing of it."""
# https://docs.github.com/pull-requests, https://docs.gitlab.com/user/project/merge_requests/,
# https://docs.gitea.com/usage/pull-request
_REF = re.compile(r"refs/(pull|merge-requests)/([1-9][0-9]{0,8})/head")
PATTERNS = ("refs/pull/*/head", "refs/merge-requests/*/head")
"""Where forges keep the heads of requests."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a hook says of a request; ``when`` it was so, in seconds since 1970, 0 for unknown.

    ``is_member``: whoever opened it may write to the repository, or is of those who own it.
    ``target`` is the branch that it is for.
    """

    ref: str
    is_open: bool
    is_member: bool
    author: str = ""
    target: str = ""
    page: str = ""
    when: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of a request; ``head`` was tried, or seen first, and is empty for none."""

    ref: str
    head: str = ""
    is_open: bool = True
    is_member: bool = False
    author: str = ""
    target: str = ""
    page: str = ""
    told: float = 0.0
    seen: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Follower:
    """A component that requests of its repository are tried with; never ``off``."""

    component: str
    branch: str
    policy: MergeRequests


@dataclass(frozen=True, kw_only=True)
class Found:
    """What is to be done: take for seen, try, and forget, each by ref."""

    first: Mapping[str, str] = field(default_factory=dict)
    tries: Mapping[str, str] = field(default_factory=dict)
    gone: tuple[str, ...] = ()
    is_first: bool = False

    @property
    def is_news(self) -> bool:
        """Tell whether there is anything to be done."""
        return bool(self.is_first or self.tries or self.gone)


def is_request(ref: str) -> bool:
    """Tell whether a ref is the head of a request."""
    return _REF.fullmatch(ref) is not None


def number_of(ref: str) -> int:
    """Tell the number of a request."""
    found = _REF.fullmatch(ref)
    assert found is not None
    return int(found[2])


def words_of(ref: str) -> str:
    """Name a request as its forge does."""
    kind = "pull request" if ref.startswith("refs/pull/") else "merge request"
    return f"{kind} {number_of(ref)}"


def followers_of(manifest: Manifest) -> Mapping[str, tuple[Follower, ...]]:
    """List by URL the components whose requests are tried: those that follow a branch."""
    found: dict[str, list[Follower]] = {}
    for one in manifest.components:
        is_git = one.source.kind is SourceKind.GIT and bool(one.source.branch)
        if one.merge_requests is MergeRequests.OFF or not is_git or one.generated_from:
            continue
        follower = Follower(component=one.name, branch=one.source.branch, policy=one.merge_requests)
        found.setdefault(one.source.location, []).append(follower)
    return {url: tuple(followers) for url, followers in found.items()}


def takes_all(followers: Collection[Follower]) -> bool:
    """Tell whether requests of everybody are tried with one of these."""
    return any(one.policy is MergeRequests.ALL for one in followers)


def tried_with(followers: Collection[Follower], known: Known) -> tuple[str, ...]:
    """List the components that a request is tried with; none where it is not tried.

    Of one that no hook told of nobody knows which branch it is for.
    """
    return tuple(
        one.component
        for one in followers
        if (one.policy is MergeRequests.ALL or known.is_member) and known.target in ("", one.branch)
    )


def find(
    followers: Collection[Follower],
    known: Mapping[str, Known],
    there: Mapping[str, str],
    going: Collection[str],
    now: float,
) -> Found:
    """Compare what a server has with what is known; ``going`` are refs that are being tried.

    Where all are tried, those that are there at the first look were there before us: only what
    moves or comes after it is tried. Many may be closed, which a server's refs do not tell.
    """
    every = sorted(there, key=number_of)
    first: dict[str, str] = {}
    tries: dict[str, str] = {}
    is_first = takes_all(followers) and EVERY not in known
    room = MOST_OPEN - len(going)
    newest = frozenset(every[-_MOST:])
    for ref in every:
        one = known.get(ref)
        if one is None and (not takes_all(followers) or ref not in newest):
            continue
        if one is None and is_first:
            first[ref] = there[ref]
            continue
        one = one or Known(ref=ref)
        if not one.is_open or one.head == there[ref] or not tried_with(followers, one):
            continue
        if ref in going or room > 0:
            tries[ref] = there[ref]
            room -= ref not in going
    gone = (ref for ref in known if ref not in there and _is_gone(known[ref], now))
    return Found(first=first, tries=tries, gone=tuple(gone), is_first=is_first)


def _is_gone(known: Known, now: float) -> bool:
    return known.ref != EVERY and (bool(known.head) or now >= known.seen + _AWAITED_S)


def new_request(url: str, followers: Collection[Follower], known: Known, head: str) -> NewPush:
    """Make up the record of a try of a request's head."""
    names = tried_with(followers, known)
    replaced = [
        Replacement(component=name, how=How.REVISION, given=known.ref, revision=head)
        for name in names
    ]
    return NewPush(
        component=", ".join(names),
        url=url,
        branch=known.ref,
        before="",
        after=head,
        via=Via.REQUEST,
        note=known.page or words_of(known.ref),
        wish=Wish(by=known.author, replaced=tuple(replaced)),
    )
