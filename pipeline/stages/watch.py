# SPDX-License-Identifier: LGPL-2.1-or-later
"""Watch: look where the branches and tags of a manifest are, and record what was pushed.

Every server is asked once a round, several at once; fetched is only what moved. A push is in the
ledger as soon as its server has answered, and what is wrong with one server is held against that
alone: it is looked at again in the next round, and nothing was lost.
"""

import contextvars
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports.files import sha256_file
from pipeline.ports.git import Mirrors
from pipeline.ports.git_heads import read_heads
from pipeline.ports.git_history import read_history
from pipeline.ports.kept_manifests import keep_manifest
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_pushes import PushLedger
from pipeline.ports.log import Log
from pipeline.stages.watching.requests import record_requests
from pipeline.words.errors import BadInput, Ending, Failed, Interrupted, Trouble
from pipeline.words.manifest import Manifest, Source, SourceKind
from pipeline.words.named import Named, way_from
from pipeline.words.push import (
    BASE,
    GONE,
    MANIFEST,
    Head,
    History,
    NewPush,
    Push,
    PushState,
    Via,
    back_again,
    heads_of,
    pushes_of,
    to_supersede,
)
from pipeline.words.request import followers_of
from pipeline.words.watch import is_missed


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """``urls`` are the servers to ask; None is all. ``via`` is told of what is found.

    ``named`` is what hooks named, by URL. Of the URLs in ``awaited`` more hooks may be under way:
    what they have not named yet is left alone.
    """

    manifest: Manifest
    urls: frozenset[str] | None = None
    via: Via = Via.POLL
    named: Mapping[str, Sequence[Named]] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()
    jobs: int = 8


@dataclass(frozen=True, kw_only=True)
class WatchResult:
    """What a round found: pushes in push order, heads seen first, gone, and servers in trouble.

    Of a head that is gone there is a push, refused, in the round that misses it first. Given up
    are tries of merge requests that moved on or are no more. ``held`` are heads that were left
    alone, and where the ledger has them. ``problems`` are by URL.
    """

    pushes: tuple[Push, ...] = ()
    baselines: tuple[Head, ...] = ()
    gone: tuple[Head, ...] = ()
    given_up: tuple[Push, ...] = ()
    problems: Mapping[str, Ending] = field(default_factory=dict)
    held: Mapping[Head, str] = field(default_factory=dict)


_Moved = tuple[Head, str, tuple[NewPush, ...]]


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one server said: where each head is, and what its move became, as far as not held.

    ``back`` were gone; ``requests`` are the heads of merge requests.
    """

    moved: tuple[_Moved, ...] = ()
    back: tuple[_Moved, ...] = ()
    gone: tuple[Head, ...] = ()
    held: Mapping[Head, str] = field(default_factory=dict)
    requests: Mapping[str, str] = field(default_factory=dict)


def watch(request: WatchRequest, *, mirrors: Mirrors, ledger: Ledger, log: Log) -> WatchResult:
    """Look at all servers once and record what was pushed, and the merge requests to be tried."""
    pushes = ledger.pushes
    known = pushes.heads()
    followers = followers_of(request.manifest)
    by_url: dict[str, list[Head]] = defaultdict(list)
    for head in heads_of(request.manifest):
        if request.urls is None or head.url in request.urls:
            by_url[head.url].append(head)
    recorded: list[Push] = []
    baselines: list[Head] = []
    gone: list[Head] = []
    held: dict[Head, str] = {}
    waiting: list[tuple[int, NewPush]] = []
    given_up: list[Push] = []
    problems: dict[str, Ending] = {}
    with log.step(f"{len(by_url)} servers"), ThreadPoolExecutor(request.jobs) as pool:
        futures = {
            pool.submit(
                contextvars.copy_context().run,
                _ask,
                heads,
                known,
                request,
                mirrors,
                url in followers,
            ): heads[0]
            for url, heads in by_url.items()
        }
        for future in as_completed(futures):
            first = futures[future]
            try:
                found = future.result()
            except Interrupted:
                raise
            except (Failed, Trouble, BadInput) as error:
                problems[first.url] = error
                log.warning(str(error), about=first.component)
                continue
            held |= found.held
            for head in found.gone:
                gone.append(head)
                recorded += _note_gone(head, known, request.via, pushes)
            for head, revision, made in found.back:
                recorded += pushes.note_back(head.url, head.branch, revision, made)
            for head, revision, made in found.moved:
                named = request.named.get(head.url, ())
                if made and named:
                    waiting += _numbered(made, named)
                else:
                    recorded += pushes.note_head(head.url, head.branch, revision, made)
                if (head.url, head.branch) not in known:
                    baselines.append(head)
            if first.url in followers:
                one = record_requests(
                    first.url,
                    followers[first.url],
                    found.requests,
                    requests=ledger.requests,
                    log=log,
                )
                recorded += one.begun
                given_up += one.given_up
    # Of several repositories the pushes are in the order in which their hooks came.
    for _, new in sorted(waiting, key=lambda numbered: numbered[0]):
        recorded += pushes.note_head(new.url, new.branch, new.after, [new])
    for push in sorted(recorded, key=lambda one: one.id):
        where = push.after[:12] or "gone"
        log.fact(f"push {push.id}: {push.before[:12]} → {where}", about=push.component)
    return WatchResult(
        pushes=tuple(sorted(recorded, key=lambda one: one.id)),
        baselines=tuple(baselines),
        gone=tuple(gone),
        given_up=tuple(given_up),
        problems=problems,
        held=held,
    )


def _numbered(made: Sequence[NewPush], named: Sequence[Named]) -> Iterator[tuple[int, NewPush]]:
    """Tell the place of each push among hooks; what none named goes with those before it."""
    numbers = {one.after: one.number for one in named}
    last = 0
    for push in made:
        last = max(last, numbers.get(push.after, last))
        yield last, push


def _ask(
    heads: Sequence[Head],
    known: Mapping[tuple[str, str], str],
    request: WatchRequest,
    mirrors: Mirrors,
    with_requests: bool,
) -> _Found:
    """Ask one server where its heads are, and fetch what moved."""
    url = heads[0].url
    began = time.monotonic()
    names = [head.branch for head in heads]
    answer = read_heads(url, names, git=mirrors.git, requests=with_requests)
    there = answer.heads
    moved: list[_Moved] = []
    back: list[_Moved] = []
    held: dict[Head, str] = {}
    for head in heads:
        before, after = known.get((url, head.branch)), there.get(head.branch)
        is_back = (url, head.branch + GONE) in known
        if after is None or (after == before and not is_back):
            continue
        made: tuple[NewPush, ...] = ()
        if before not in (None, after):
            assert before is not None
            source = Source(kind=SourceKind.GIT, location=url, revision=after)
            mirrors.fetch(source, max_age_s=time.monotonic() - began)
            history = read_history(mirrors.path(source), before, after, git=mirrors.git)
            made = _pushes(head, before, after, history, request, all_of_it=is_back)
            at = made[-1].after if made else before
            if at != after:
                held[head] = at
            if not made:
                continue
        if is_back:
            made = made or (back_again(head, before, after, request.via),)
        (back if is_back else moved).append((head, made[-1].after if made else after, made))
    gone = tuple(
        head for head in heads if head.branch not in there and is_missed(url, head.branch, known)
    )
    return _Found(
        moved=tuple(moved), back=tuple(back), gone=gone, held=held, requests=answer.requests
    )


def _pushes(
    head: Head,
    before: str,
    after: str,
    history: History,
    request: WatchRequest,
    *,
    all_of_it: bool,
) -> tuple[NewPush, ...]:
    """Tell the pushes that a move became; where hooks are awaited, those that they lead to."""
    unit = request.manifest.unit
    named = [one for one in request.named.get(head.url, ()) if one.branch == head.branch]
    ends = {revision for one in named for revision in (one.before, one.after)}
    made = pushes_of(head, before, after, history, unit=unit, via=request.via, named=ends)
    if all_of_it or head.url not in request.awaited or unit != "push":
        return made
    way = {*way_from(before, named)}
    most = max((at for at, push in enumerate(made, 1) if push.after in way), default=0)
    return made[:most]


def _note_gone(
    head: Head, known: Mapping[tuple[str, str], str], via: Via, pushes: PushLedger
) -> tuple[Push, ...]:
    """Record that a head is not there: whoever removed it is told once, as of a push."""
    before = known.get((head.url, head.branch), "")
    push = NewPush(
        component=head.component,
        url=head.url,
        branch=head.branch,
        before=before,
        after="",
        via=via,
    )
    since = " any more" if before else ""
    told = f"there is no {head.words}{since}: push it, or have the manifest name another"
    why = Failed(told, where=head.url)
    return pushes.note_refused(push, str(why), head=head.branch + GONE)


# What is no head


def note_manifest(
    manifest: Manifest, path: Path, known: str, *, pushes: PushLedger, directory: Path
) -> tuple[Push, ...]:
    """Record the push of a manifest that is not as it was seen last, and keep it.

    ``known`` is the digest of what the newest run goes by: one edited before anybody watched is
    pushed all the same.
    """
    digest = keep_manifest(directory, manifest)
    pushes.forget_refused(str(path), MANIFEST)
    return _note(str(path), MANIFEST, Via.MANIFEST, known, digest, pushes)


def note_refused_manifest(path: Path, why: str, *, pushes: PushLedger) -> tuple[Push, ...]:
    """Record the push of a manifest with an error; once, however often it is looked at.

    Raises OSError where the file cannot be read: nobody pushed that.
    """
    digest = sha256_file(path)
    known = pushes.heads().get((str(path), f"{MANIFEST}:"), "")
    made = NewPush(
        component=MANIFEST,
        url=str(path),
        branch="",
        before=known,
        after=digest,
        via=Via.MANIFEST,
    )
    return pushes.note_refused(made, why)


def note_base(name: str, key: str, known: str, *, pushes: PushLedger) -> tuple[Push, ...]:
    """Record the push of a base whose inputs are not as they were seen last, as by an update."""
    return _note(name, BASE, Via.BASE, known, key, pushes)


def _note(
    url: str, component: str, via: Via, known: str, now: str, pushes: PushLedger
) -> tuple[Push, ...]:
    before = pushes.heads().get((url, f"{component}:"), known)
    made = NewPush(component=component, url=url, branch="", before=before, after=now, via=via)
    is_move = before not in ("", now)
    return pushes.note_head(url, f"{component}:", now, [made] if is_move else [])


# What waits


def supersede(pushes: PushLedger, bound: int, *, log: Log) -> Mapping[int, int]:
    """Let the oldest of too many waiting pushes give way; tells which to which."""
    waiting = pushes.waiting()
    done = {}
    for old, newer in to_supersede(waiting, bound).items():
        message = f"{len(waiting)} waited, {bound} may: push {newer} takes it along"
        if pushes.end(old, PushState.SUPERSEDED, message, newer):
            done[old] = newer
            log.warning(f"push {old} is superseded by push {newer}: {message}")
    return done
