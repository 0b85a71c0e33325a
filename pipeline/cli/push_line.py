# SPDX-License-Identifier: LGPL-2.1-or-later
"""The line of snapshots: each push's is the one before it with just what was pushed moved.

Runs are made in push order, one after the other under the line's lock, so that their versions are
in that order, too. Whoever resolves a push resolves first what was pushed before it and has no run
yet. What cannot be resolved holds nobody up: its run keeps the failure, and the push, when it is
tried again, comes behind those that went on without it, in a run of its own that has all of them.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.cli import chain
from pipeline.cli.holds import begun, held_run
from pipeline.cli.house import House
from pipeline.cli.line import filled, line_before, line_snapshot, newest_of_line
from pipeline.cli.passage import Passage
from pipeline.cli.push_depends import later_one, unmet
from pipeline.cli.record import read_cancel
from pipeline.ports import process
from pipeline.ports.files import Held, lock, lock_holder, write_text
from pipeline.ports.kept_manifests import read_manifest
from pipeline.ports.log import file_sink
from pipeline.ports.workdir import RunDir
from pipeline.stages.base import BaseResult
from pipeline.words.depends_on import Dependency
from pipeline.words.errors import BadInput, Ending, Failed, Interrupted, Trouble
from pipeline.words.manifest import Manifest
from pipeline.words.push import Push, PushState, manifest_of, moves_of, taken_along
from pipeline.words.records import from_json, to_json
from pipeline.words.run import RunEnding, place_of

DEPENDS_S = 3600.0
"""How long after a push what it depends on may come."""
_LOOK_S = 0.5
_SOON_S = 2.0
_MOST = 1000
WAIT_S = 1800.0
"""How long to wait for others that resolve: each of them may have to wait for a server."""


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """``push.json`` of a run, written when its push was resolved or could not be.

    ``taken_along`` are the pushes that this one superseded, ``after`` is the run whose snapshot
    it started from; empty for the first of a line.
    """

    push: int
    taken_along: tuple[int, ...] = ()
    after: str = ""
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Taken:
    """A push's run, and why not all of it could be resolved."""

    run: RunDir
    error: Ending | None = None


def resolve_push(
    house: House, id: int, *, wait_s: float = WAIT_S, depends_s: float = DEPENDS_S
) -> Taken:
    """Have the run of a push, resolved, and before it those of the pushes before it.

    Raises Interrupted for a push that was superseded, Trouble for a line that is held for longer
    than ``wait_s``. One whose dependency is not pushed within ``depends_s`` of itself has a run
    that ended with that.
    """
    told: tuple[Dependency, ...] = ()
    # Whatever is waited for is a step: that it still runs is told, else it is taken for hung.
    with contextlib.ExitStack() as waiting:
        while True:
            with _line(house, f"resolve --push {id}", wait_s):
                taken = _resolve_in_order(house, id, depends_s, waiting)
            if isinstance(taken, Taken):
                return taken
            if taken != told:
                waiting.close()
                about = house.ledger.pushes.get(id).component
                step = house.log.step(f"wait for {_names(taken)}", about=about)
                waiting.enter_context(step)
                told = taken
            # Another process records what we wait for.
            threading.Event().wait(_LOOK_S)


@contextlib.contextmanager
def _line(house: House, what: str, wait_s: float) -> Iterator[None]:
    """Hold the line; where that takes a while, whom is waited for is told."""
    path = house.workdir.lock("line")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(path, what=what, wait_s=min(_SOON_S, wait_s)))
        except Held:
            with house.log.step(f"wait for {lock_holder(path)}"):
                stack.enter_context(lock(path, what=what, wait_s=wait_s))
        yield


def _resolve_in_order(
    house: House, id: int, depends_s: float, waiting: contextlib.ExitStack
) -> Taken | tuple[Dependency, ...]:
    """Resolve what comes before a push, and it; tells what it waits for if it does.

    ``waiting`` is the step of it, which is over when the push has all that it waited for.
    """
    pushes = house.ledger.pushes
    push = pushes.get(id)
    _raise_superseded(push)
    done = read_pushed(house, push)
    if done is not None and not done.failed:
        assert push.run is not None
        return Taken(run=house.workdir.run(push.run))
    newest = newest_of_line(house)
    if newest is not None:
        # As it is now it may be broken.
        house.manifest = line_snapshot(newest).manifest
    for earlier in pushes.open():
        if earlier.id < id and read_pushed(house, earlier) is None:
            _resolve_earlier(house, earlier, push)
    left = _unmet(house, push)
    if not left:
        waiting.close()
        return _resolve(house, push)
    later = later_one(left, push, [one for one in pushes.open() if not _is_resolved(house, one)])
    if later is not None:
        _give_way(house, push, later)
        _raise_superseded(pushes.get(id))
    if time.time() >= push.received + depends_s:
        return _resolve(house, push, lacking=_lacking(house, push, left, depends_s))
    return left


def _lacking(house: House, push: Push, left: tuple[Dependency, ...], depends_s: float) -> Trouble:
    what = f"Depends-On: {_names(left)} is not there, {depends_s:.0f} s after the push"
    again = f"ostci -C {house.workdir.root} run --push {push.id}"
    hint = f"push what is lacking, then once more: {again}; or correct the commit message"
    return Trouble(what, where=push.component, hint=hint)


def _names(dependencies: tuple[Dependency, ...]) -> str:
    return ", ".join(map(str, dependencies))


def _resolve_earlier(house: House, earlier: Push, push: Push) -> None:
    """Resolve what is before a push, or let it come along; nothing that happens to it is ours."""
    left = _unmet(house, earlier)
    if left:
        if later_one(left, earlier, [push]) is not None:
            _give_way(house, earlier, push)
        return
    try:
        error: Ending | None = _resolve(house, earlier).error
    except Interrupted as stopped:
        # The other's run was stopped, or we are.
        if process.is_stopping():
            raise
        error = stopped
    if error is not None:
        what = f"push {earlier.id} could not be resolved, others go on without it"
        house.log.warning(what, about=earlier.component)


def _unmet(house: House, push: Push) -> tuple[Dependency, ...]:
    newest = newest_of_line(house)
    known = line_snapshot(newest) if newest else None
    along = taken_along(push, house.ledger.pushes.superseded())
    return unmet(house, push, along, known, lambda one: _is_resolved(house, one))


def _is_resolved(house: House, push: Push) -> bool:
    done = read_pushed(house, push)
    return done is not None and not done.failed


def _give_way(house: House, push: Push, to: Push) -> None:
    message = f"it depends on push {to.id}, whose run has both"
    state = PushState.SUPERSEDED
    house.ledger.pushes.end(push.id, state, message, to.id, even_begun=True)
    house.log.fact(f"push {push.id}: {message}", about=push.component)


def _raise_superseded(push: Push) -> None:
    if push.state is PushState.SUPERSEDED:
        why = f": {push.message}" if push.message else ""
        raise Interrupted(f"push {push.id} was superseded by push {push.superseded_by}{why}")


def read_pushed(house: House, push: Push) -> Pushed | None:
    """Tell how a push was resolved; None for one that was not yet, or killed while it was."""
    if push.run is None or not house.workdir.is_run(push.run):
        return None
    path = house.workdir.run(push.run).file("push")
    if not path.is_file():
        return None
    return from_json(Pushed, path.read_bytes(), where=str(path))


def _resolve(house: House, push: Push, lacking: Trouble | None = None) -> Taken:
    with _run_of(house, push) as run:
        return _resolve_in(house, push, run, lacking)


def _resolve_in(house: House, push: Push, run: RunDir, lacking: Trouble | None) -> Taken:
    """Resolve a push in its run; one that is ``lacking`` something has just that told there."""
    for left in ("push", "line"):
        run.file(left).unlink(missing_ok=True)
    along = taken_along(push, house.ledger.pushes.superseded())
    before = line_before(house, run.version)
    error = None
    with file_sink(run.log) as file, house.log.also(file):
        try:
            house.manifest = _manifest(house, (*along, push), before)
            passage = Passage(house, run)
            with _ending(passage):
                if lacking is not None:
                    with passage.stage("resolve"):
                        raise lacking
                _work(passage, push, along, before)
        except Interrupted:
            raise
        except Ending as caught:
            error = caught
            house.log.error(str(caught), about=push.component)
    pushed = Pushed(
        push=push.id,
        taken_along=tuple(one.id for one in along),
        after=before.version if before else "",
        failed=str(error or ""),
    )
    write_text(run.file("push"), to_json(pushed))
    return Taken(run=run, error=error)


@contextlib.contextmanager
def _run_of(house: House, push: Push) -> Iterator[RunDir]:
    """Hold a push's own run once more, or make it one: behind what was resolved since then."""
    what = f"ostci resolve --push {push.id}"
    if push.run is not None and house.workdir.is_run(push.run):
        newest = newest_of_line(house)
        if newest is None or place_of(newest.version) <= place_of(push.run):
            own = house.workdir.run(push.run)
            with held_run(house, own, what, wait_s=0.0):
                yield own
            return
    with begun(house, what, for_push=push.id) as run:
        yield run


@contextlib.contextmanager
def _ending(passage: Passage) -> Iterator[None]:
    try:
        yield
    except BaseException as error:
        passage.end(error)
        raise
    passage.end(None, RunEnding.OPEN)


def _work(passage: Passage, push: Push, along: tuple[Push, ...], before: RunDir | None) -> None:
    house = passage.house
    moving = []
    for one in (*along, push):
        house.log.fact(_in_words(one, push), about=one.component)
        further = _further(house, one, (*along, push))
        if further is None:
            moving.append(one)
        else:
            house.log.fact(f"push {further.id} moved it further already", about=one.component)
    moves = moves_of(moving, house.manifest)
    if before is None:
        chain.base(passage)
        chain.resolve(passage, fetch=None, overrides={}, at=moves.at)
        return
    known = line_snapshot(before)
    is_same = known.manifest.base == house.manifest.base and not moves.base
    if not is_same or not take_base(passage, before):
        chain.base(passage)
    try:
        chain.resolve(passage, fetch=moves.fetch, overrides={}, known=known, at=moves.at)
    except Ending:
        if passage.run.file("snapshot").is_file():
            passage.write("line", filled(passage.snapshot, known))
        raise


def _further(house: House, push: Push, together: tuple[Push, ...]) -> Push | None:
    """Find a newer push of the same branch that is in the line: one tried again moves none back."""
    for other in reversed(house.ledger.pushes.newest(_MOST)):
        if other.id <= push.id:
            break
        same = (other.url, other.branch) == (push.url, push.branch)
        # Several components may follow one branch, and all of them move with it.
        same = same and (bool(push.branch) or other.component == push.component)
        if same and other not in together and _is_resolved(house, other):
            return other
    return None


def _in_words(one: Push, push: Push) -> str:
    told = f"push {one.id}: {one.before[:12] or 'nothing'} → {one.after[:12] or 'newest'}"
    told += f" on {one.branch}" if one.branch else ""
    told += ", rewritten" if one.rewritten else ""
    return told + (f", superseded by push {push.id}" if one.id != push.id else "")


def take_base(passage: Passage, before: RunDir) -> bool:
    """Take the base of the run before as it is; tells whether that could be done."""
    path = before.file("base")
    if not path.is_file():
        return False
    found = from_json(BaseResult, path.read_bytes(), where=str(path))
    repo = passage.house.repo
    wanted = {"+".join(lists) for lists in chain.base_request(passage.house).variants}
    if not wanted <= found.variants.keys():
        return False
    if not all(repo.has_commit(commit) for commit in found.variants.values()):
        return False
    with passage.stage("base"):
        passage.write("base", replace(found, cached=True))
        passage.tell(f"{found.pin.key[:12]} as in run {before.version}")
    return True


@contextlib.contextmanager
def attempting(house: House, id: int) -> Iterator[Push]:
    """Attempt a push by hand, also once more; it has its ending at the end of the ``with``.

    One that was stopped waits again, unless its run was cancelled; and so does one that a killed
    process left.
    """
    pushes = house.ledger.pushes
    push = pushes.get(id)
    _raise_superseded(push)
    pushes.begin_attempt(id, again=True)
    try:
        yield push
    except (Failed, BadInput) as error:
        pushes.end(id, PushState.DONE, str(error))
        raise
    except (Interrupted, KeyboardInterrupt):
        pushes.end(id, *_stopped(house, pushes.get(id)))
        raise
    except Exception as error:
        pushes.end(id, PushState.TROUBLE, str(error) or type(error).__name__)
        raise
    pushes.end(id, PushState.DONE)


def _stopped(house: House, push: Push) -> tuple[PushState, str]:
    """Tell what becomes of a push that was stopped: whoever cancels its run wants it no more."""
    if push.run is not None and house.workdir.is_run(push.run):
        note = read_cancel(house.workdir.run(push.run))
        if note is not None:
            return PushState.DONE, f"cancelled by {note.by}"
    return PushState.WAITING, "it was stopped"


def _manifest(house: House, pushes: tuple[Push, ...], before: RunDir | None) -> Manifest:
    """Tell the manifest of a push's run: a pushed one, else the line's, else as it is now."""
    digest = manifest_of(pushes)
    if digest:
        return read_manifest(house.workdir.manifests, digest)
    return house.manifest if before is None else line_snapshot(before).manifest
