# SPDX-License-Identifier: LGPL-2.1-or-later
"""A push: a head that moved, what it became, and what is to be done about those that wait.

How heads are read and where pushes are kept is not known here.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.words.manifest import Manifest, Source, SourceKind
from pipeline.words.refs import Revision
from pipeline.words.wish import Wish

BASE = "base"
"""What the push of a base names as its component."""
MANIFEST = "manifest"
"""What the push of a manifest names as its component."""
NIGHTLY = "nightly"
"""What the run that the clock asks for names as its component."""
PATCHES = "patches"
"""What the push of the patch source names as its component."""
TAG = "tag:"
"""What the name of a head that is a tag begins with; no branch has a colon in its name."""
GONE = ":gone"
"""What the name of a head ends in that says where it is no more, so that it is told once."""
MOST_COMMITS = 1000
"""So many commits are told of one push; of more, the newest."""
PAUSE_S = 5.0
"""How long a push rests after its first attempt; twice as long after each one more."""


class Via(StrEnum):
    """How a push came to be known."""

    POLL = "poll"
    HOOK = "hook"
    FORCE = "force"
    BASE = "base"
    MANIFEST = "manifest"
    NIGHTLY = "nightly"
    TRY = "try"
    REQUEST = "request"
    """A merge request of a forge."""


class PushState(StrEnum):
    """How far a push got; ``done``: its run has an ending, whichever that is.

    ``refused``: nothing can be made of it, as of a manifest with an error, and it has no run.
    ``cancelled``: nobody wants it any more, as after a merge request was closed.
    """

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    SUPERSEDED = "superseded"
    TROUBLE = "trouble"
    REFUSED = "refused"
    CANCELLED = "cancelled"


OPEN = (PushState.WAITING, PushState.RUNNING)
"""The states of a push that something is still to be done about."""
TRIES = (Via.TRY, Via.REQUEST)
"""What is in no line and never promoted."""
_ASKED_FOR = (Via.FORCE,)
"""What a person asked for is not superseded by what others push."""


@dataclass(frozen=True, kw_only=True)
class NewPush:
    """A push that is not in the ledger yet; ``commits`` are its git commits, oldest first."""

    component: str
    url: str
    branch: str
    before: str
    after: str
    commits: tuple[str, ...] = ()
    rewritten: bool = False
    via: Via = Via.POLL
    note: str = ""
    wish: Wish = field(default_factory=Wish)


@dataclass(frozen=True, kw_only=True)
class Push:
    """A push as the ledger has it; its ``id`` is its place in the order of pushes.

    ``component`` is the first that follows the head: others may follow it, too. Times are in
    seconds since 1970; ``attempted`` is when the newest of its attempts began.
    """

    id: int
    component: str
    url: str
    branch: str
    before: str
    after: str
    commits: tuple[str, ...]
    rewritten: bool
    via: Via
    note: str
    received: float
    run: str | None
    state: PushState
    attempts: int
    superseded_by: int | None
    message: str
    attempted: float | None = None
    ended: float | None = None
    wish: Wish = field(default_factory=Wish)
    """What a person asked for with it."""

    @property
    def is_open(self) -> bool:
        """Tell whether something is still to be done about it."""
        return self.state in OPEN

    @property
    def is_given_up(self) -> bool:
        """Tell whether something newer has taken its place, or nobody wants it any more."""
        return self.state in (PushState.SUPERSEDED, PushState.CANCELLED)

    @property
    def is_try(self) -> bool:
        """Tell whether it is in no line: nothing waits for it, and it waits for nothing."""
        return self.via in TRIES


@dataclass(frozen=True, kw_only=True)
class Head:
    """A branch or a tag that is followed, and the first component of the manifest that does.

    ``branch`` of a tag is ``tag:NAME``.
    """

    component: str
    url: str
    branch: str

    @property
    def is_tag(self) -> bool:
        """Tell whether it is a tag, which is not expected to move."""
        return self.branch.startswith(TAG)

    @property
    def words(self) -> str:
        """Name it for people."""
        return f"tag {self.branch.removeprefix(TAG)}" if self.is_tag else f"branch {self.branch}"


@dataclass(frozen=True, kw_only=True)
class History:
    """What leads from one revision to another, each list oldest first.

    ``line`` are the first parents alone, ``all`` the merged commits too. ``rewritten``: the old
    revision is no ancestor of the new one. ``cut``: the line is longer, these are the newest.
    """

    line: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    rewritten: bool = False
    cut: bool = False


def pushes_of(
    head: Head,
    before: str | None,
    after: str | None,
    history: History,
    *,
    unit: str = "push",
    via: Via = Via.POLL,
    named: Collection[str] = (),
) -> tuple[NewPush, ...]:
    """Tell what a head that was at ``before`` and is at ``after`` becomes.

    Nothing for one that was never seen (a baseline), is gone, or has not moved. With ``unit``
    ``commit`` each first-parent commit is a push of its own; a rewritten branch is one in any
    case, because what led to it was never the state of the branch. A tag that moves is rewritten,
    wherever it goes. What hooks ``named`` was the state of the branch: of such commits each is a
    push of its own, whatever the unit.
    """
    if before is None or after is None or before == after:
        return ()
    if head.is_tag:
        history = replace(history, rewritten=True)
    ends = {*named, after}
    if unit == "commit" and not history.rewritten:
        ends |= {*history.line}
    made: list[NewPush] = []
    commits: list[str] = []
    for commit in history.all or history.line or (after,):
        commits.append(commit)
        if commit not in ends:
            continue
        made.append(
            NewPush(
                component=head.component,
                url=head.url,
                branch=head.branch,
                before=before,
                after=commit,
                commits=tuple(commits[-MOST_COMMITS:]) if history.all else (),
                rewritten=history.rewritten and not made,
                via=Via.HOOK if commit in named else via,
                note="" if made else _note(history),
            )
        )
        before, commits = commit, []
    return tuple(made)


def _note(history: History) -> str:
    """Say of the push with the oldest commits that there were more before them."""
    if not history.cut:
        return ""
    return f"more than {len(history.line)} commits came at once, the oldest are in this one"


# What waits


@dataclass(frozen=True, kw_only=True)
class Due:
    """What is to be started now, in push order, and what has used up its attempts."""

    start: tuple[Push, ...] = ()
    exhausted: tuple[Push, ...] = ()


def to_start(pushes: Iterable[Push], now: float, bound: int) -> Due:
    """Choose among pushes that nobody works on; ``bound`` is how often one is attempted.

    One that was attempted already rests a while first: what troubled it may be over then.
    """
    start, exhausted = [], []
    for push in sorted(pushes, key=lambda one: one.id):
        if not push.is_open:
            continue
        if push.attempts >= bound:
            exhausted.append(push)
        elif now >= _rested_at(push):
            start.append(push)
    return Due(start=tuple(start), exhausted=tuple(exhausted))


def _rested_at(push: Push) -> float:
    if push.attempts == 0 or push.attempted is None:
        return push.received
    return push.attempted + PAUSE_S * 2.0 ** (push.attempts - 1)


def to_supersede(waiting: Sequence[Push], bound: int) -> Mapping[int, int]:
    """Tell which waiting pushes give way where more than ``bound`` wait: id → id of the newer.

    The oldest do, and the oldest that stays takes them with it: its run has all that they
    changed. What a person asked for stays. A ``bound`` of 0 is none. Tries are in no queue: else
    whoever opens merge requests would have pushes give way.
    """
    queue = sorted((one for one in waiting if not one.is_try), key=lambda one: one.id)
    too_many = len(queue) - bound
    if bound <= 0 or too_many <= 0:
        return {}
    pushed = [push.id for push in queue if push.via not in _ASKED_FOR]
    going = pushed[:-1][:too_many]
    return {one: pushed[len(going)] for one in going}


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What pushes change in a snapshot.

    ``at`` says where sources are now; ``fetch`` names components that are looked at anew, because
    nobody said where. ``base``: look at that anew.
    """

    at: Mapping[Source, Revision] = field(default_factory=dict)
    fetch: frozenset[str] = frozenset()
    base: bool = False


def moves_of(pushes: Iterable[Push], manifest: Manifest) -> Moves:
    """Tell what pushes move of a manifest's sources; of one that moves twice, the last counts."""
    at: dict[Source, Revision] = {}
    fetch: set[str] = set()
    base = False
    for push in sorted(pushes, key=lambda one: one.id):
        if push.via in (Via.BASE, Via.MANIFEST, Via.NIGHTLY):
            base = base or push.via is not Via.MANIFEST
        elif push.after:
            at |= dict.fromkeys(_followers(push, manifest), Revision(push.after))
        else:
            fetch.add(push.component)
    return Moves(at=at, fetch=frozenset(fetch), base=base)


def manifest_of(pushes: Iterable[Push]) -> str:
    """Tell the digest of the newest manifest among pushes; empty where none is of one."""
    found = [push for push in pushes if push.via is Via.MANIFEST]
    return max(found, key=lambda one: one.id).after if found else ""


def _followers(push: Push, manifest: Manifest) -> list[Source]:
    """List the sources that follow a push's branch; for one without, the component's own."""
    if push.branch:
        where = (push.url, push.branch)
        every = {source for _, source in sources_of(manifest)}
        return [one for one in every if (one.location, head_name(one)) == where]
    return [
        one.source
        for one in manifest.components
        if one.name == push.component and one.source.kind is SourceKind.GIT
    ]


def sources_of(manifest: Manifest) -> Iterable[tuple[str, Source]]:
    """List every source with the component that has it; patches come last."""
    for component in manifest.components:
        yield component.name, component.source
        for child in component.children:
            yield component.name, child.source
    if manifest.patches is not None:
        yield PATCHES, manifest.patches


def head_name(source: Source) -> str:
    """Name the head that a source follows; empty for one that follows none."""
    if source.kind is not SourceKind.GIT:
        return ""
    return f"{TAG}{source.tag}" if source.tag else source.branch


def heads_of(manifest: Manifest) -> tuple[Head, ...]:
    """List the heads that a manifest follows, each once, under the first name that does."""
    found: dict[tuple[str, str], Head] = {}
    for name, source in sources_of(manifest):
        head = Head(component=name, url=source.location, branch=head_name(source))
        if head.branch:
            found.setdefault((head.url, head.branch), head)
    return tuple(found.values())


def back_again(head: Head, before: str | None, after: str, via: Via) -> NewPush:
    """Make up the push of a head that is there again, where it was, or for the first time.

    What could not be resolved without it can be now.
    """
    return NewPush(
        component=head.component,
        url=head.url,
        branch=head.branch,
        before=before or "",
        after=after,
        via=via,
        note=f"{head.words} is there again" if before else f"{head.words} is there now",
    )


def taken_along(push: Push, pushes: Iterable[Push]) -> tuple[Push, ...]:
    """List what a push superseded, and what that had superseded, in push order."""
    by: dict[int, list[Push]] = {}
    for one in pushes:
        if one.state is PushState.SUPERSEDED and one.superseded_by is not None:
            by.setdefault(one.superseded_by, []).append(one)
    found: dict[int, Push] = {}
    wanted = [push.id]
    while wanted:
        for one in by.get(wanted.pop(), []):
            if one.id not in found:
                found[one.id] = one
                wanted.append(one.id)
    return tuple(found[number] for number in sorted(found))
