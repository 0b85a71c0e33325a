# SPDX-License-Identifier: LGPL-2.1-or-later
"""A try that waits in the ledger, as a push does: recorded first, then started by whoever is there.

It is in no line: it begins from what was promoted when it is resolved, and waits for nobody.
"""

from dataclasses import replace
from pathlib import Path

from pipeline.cli import push_line
from pipeline.cli.holds import begun, held_run
from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot
from pipeline.cli.passage import Passage
from pipeline.cli.push_line import Pushed, Taken, read_pushed
from pipeline.cli.trying import SOURCES, Swap, check_names, newest_start, resolve, swap_of
from pipeline.ports.files import remove_tree, write_text
from pipeline.ports.log import file_sink
from pipeline.ports.sent import Sent
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import BadInput, Ending, Interrupted
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.push import NewPush, Push, Via
from pipeline.words.records import to_json
from pipeline.words.refs import Revision
from pipeline.words.run import RunEnding
from pipeline.words.wish import How, Replacement, Trial, Wish


def taken(house: House, id: int, *, wait_s: float = push_line.WAIT_S) -> Taken:
    """Have the run of a push or of a try, resolved."""
    push = house.ledger.pushes.get(id)
    return (
        resolve_try(house, push)
        if push.is_try
        else push_line.resolve_push(house, id, wait_s=wait_s)
    )


def resolve_try(house: House, push: Push) -> Taken:
    """Have the run of a try, resolved; one that could not be is tried in a run of its own again."""
    done = read_pushed(house, push)
    if done is not None and not done.failed:
        assert push.run is not None
        return Taken(run=house.workdir.run(push.run))
    what = f"ostci resolve --push {push.id}"
    start = newest_start(house)
    house.manifest = line_snapshot(start).manifest
    wish = push.wish
    error: Ending | None = None
    swap = Swap(replaced=wish.replaced, at={}, copies={})
    try:
        swap = _request(house, push) if push.via is Via.REQUEST else _swap(house, wish)
    except Interrupted:
        raise
    except Ending as caught:
        error = caught
    trial = Trial(start=start.version, wish=replace(wish, replaced=swap.replaced))
    run = _own_run(house, push)
    if run is not None:
        write_text(run.file("try"), to_json(trial))
        with held_run(house, run, what, wait_s=0.0):
            return _resolve_in(house, push, run, swap, error)
    with begun(house, what, for_push=push.id, trial=trial) as run:
        return _resolve_in(house, push, run, swap, error)


def _own_run(house: House, push: Push) -> RunDir | None:
    if push.run is None or not house.workdir.is_run(push.run):
        return None
    return house.workdir.run(push.run)


def _swap(house: House, wish: Wish) -> Swap:
    """Look once more for what was asked for: a branch may have moved since."""
    check_names(house.manifest, (*(one.component for one in wish.replaced), *wish.rebuild))
    pairs = {one.component: one.given for one in wish.replaced if one.how is How.REVISION}
    found = swap_of(house, pairs, directories=False)
    copies = {}
    for one in wish.replaced:
        if one.how is How.DIRECTORY:
            copies[one.component] = _unpacked(house, one)
    moved = {one.component: one for one in found.replaced}
    replaced = tuple(moved.get(one.component, one) for one in wish.replaced)
    return Swap(replaced=replaced, at=found.at, copies=copies)


def _unpacked(house: House, one: Replacement) -> Path:
    """Unpack a directory that was sent; a path of this machine is nobody's to give."""
    if not one.sent:
        raise BadInput("a directory is tried where it lies", hint="ostci try, without --remote")
    into = house.tmp / f"{SOURCES}-{one.component}"
    with house.log.step("unpack what was sent", about=one.component):
        try:
            remove_tree(into)
            Sent(house.workdir.sent).unpack(
                one.sent, into, revision=one.revision, git=house.mirrors.git, log=house.log
            )
        except BadInput as error:
            raise BadInput(error.what, where=one.component, hint=error.hint) from error
    return into


def _request(house: House, push: Push) -> Swap:
    """Take the head of a merge request that was recorded, wherever that is by now."""
    names = [one.component for one in push.wish.replaced]
    check_names(house.manifest, tuple(names))
    at: dict[Source, Revision] = {}
    with house.log.step(f"look for {push.branch}", about=push.component):
        house.mirrors.fetch_ref(push.url, push.branch, push.after)
        for name in names:
            source = house.manifest.component(name).source
            if source.kind is not SourceKind.GIT:
                raise BadInput(f"a {source.kind} source has no merge requests", where=name)
            at[source] = Revision(push.after)
            house.mirrors.fetch(replace(source, branch="", tag="", revision=at[source]))
    return Swap(replaced=push.wish.replaced, at=at, copies={})


def _resolve_in(house: House, push: Push, run: RunDir, swap: Swap, error: Ending | None) -> Taken:
    with file_sink(run.log) as file, house.log.also(file):
        passage = Passage(house, run)
        try:
            if error is not None:
                with passage.stage("resolve"):
                    raise error
            resolve(passage, swap)
        except Interrupted:
            passage.end(Interrupted("stopped while it was resolved"))
            raise
        except Ending as caught:
            error = caught
            passage.end(caught, RunEnding.OPEN)
            house.log.error(str(caught))
        except BaseException as caught:
            passage.end(caught)
            raise
        else:
            passage.end(None, RunEnding.OPEN)
    pushed = Pushed(
        push=push.id, after=passage.trial.start if passage.trial else "", failed=str(error or "")
    )
    write_text(run.file("push"), to_json(pushed))
    return Taken(run=run, error=error)


def new_try(house: House, wish: Wish) -> NewPush:
    """Make up the record of a try that somebody else is to do."""
    names = [one.component for one in wish.replaced] or list(wish.rebuild)
    after = wish.replaced[0].revision if wish.replaced else ""
    return NewPush(
        component=", ".join(names) or house.manifest.osname,
        url="",
        branch="",
        before="",
        after=after,
        via=Via.TRY,
        wish=wish,
    )
