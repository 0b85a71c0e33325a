# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs about pushes: ``push`` records one, ``pushes`` lists them, ``resolve --push``."""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pipeline.cli import chain, push_line
from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot, newest_of_line
from pipeline.cli.open import open_house, open_with_sink
from pipeline.cli.record import read_record
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.ports.kept_manifests import keep_manifest
from pipeline.ports.ledger_pushes import PushLedger
from pipeline.ports.workdir import RunDir
from pipeline.stages import base as base_stage
from pipeline.words.errors import EXIT_PASSED, BadInput
from pipeline.words.manifest import Manifest, Source, SourceKind
from pipeline.words.push import BASE, MANIFEST, NIGHTLY, PATCHES, NewPush, Push, PushState, Via
from pipeline.words.records import plain
from pipeline.words.refs import Revision
from pipeline.words.snapshot import Snapshot, manifest_digest
from pipeline.words.wish import Wish

_DAY_S = 24 * 3600.0


def do_resolve_push(options: argparse.Namespace) -> int:
    """Make the run of a push."""
    house, sink = open_with_sink(options)
    what = f"ostci resolve --push {options.push}"
    with live(sink), locked(house, what, wait_s=options.wait or 0.0):
        wait_s = max(options.wait or 0.0, push_line.WAIT_S)
        push = house.ledger.pushes.get(options.push)
        if push.is_try:
            from pipeline.cli.try_push import resolve_try

            taken = resolve_try(house, push)
        else:
            taken = push_line.resolve_push(house, push.id, wait_s=wait_s)
        if options.json:
            told = {"push": push.id, "run": taken.run.version, "snapshot": _snapshot(taken.run)}
            print(json.dumps(told, indent=2))
        if taken.error is not None:
            raise taken.error
    return EXIT_PASSED


def _snapshot(run: RunDir) -> str:
    return read_record(run).snapshot if run.file("run").is_file() else ""


# Recording by hand


def do_push(options: argparse.Namespace) -> int:
    """Record a push."""
    from pipeline.cli.trying import check_names

    house, sink = open_with_sink(options)
    with live(sink):
        made = new_push(house, options.component, options.after)
        if made.via not in (Via.BASE, Via.MANIFEST, Via.NIGHTLY):
            made = replace(made, via=Via(options.via))
        check_names(house.manifest, tuple(options.rebuild))
        wish = Wish(
            by=options.by,
            rebuild=tuple(options.rebuild),
            targets=tuple(options.target),
            suites=tuple(options.suite),
        )
        made = replace(made, note=options.note, wish=wish)
        push = _record(house.ledger.pushes, made)
        house.workdir.pushed.touch()  # a master that is up starts its run at once
    if options.json:
        print(json.dumps(plain(push), indent=2))
    else:
        print(f"push {push.id} of {push.component}: {_moved(push)}")
        print(f"next: {house.command('run', '--push', str(push.id))}")
    return EXIT_PASSED


def _record(pushes: PushLedger, made: NewPush) -> Push:
    """Record a push; what has no branch together with where it is now."""
    if made.via in (Via.BASE, Via.MANIFEST):
        # Else whoever watches would record it once more.
        key = (made.url, f"{made.component}:")
        before = pushes.heads().get(key, made.before)
        for push in pushes.note_head(*key, made.after, [replace(made, before=before)]):
            return push
    return pushes.add(made)


def new_push(house: House, component: str, after: str) -> NewPush:
    """Make up the push of a component, to a revision or to its newest.

    Raises BadInput for what the manifest has not, Failed for a revision that is not there.
    """
    manifest = house.manifest
    newest = newest_of_line(house)
    known = line_snapshot(newest) if newest else None
    if component == MANIFEST:
        return new_manifest(house, known)
    if component == BASE:
        request = chain.base_request(house)
        cache = base_stage.shared_cache() or house.workdir.cache
        pin = base_stage.resolve_base(request, cache=cache, log=house.log, max_age_s=0.0)
        before = known.base.key if known else ""
        return NewPush(
            component=BASE,
            url=manifest.base.name,
            branch="",
            before=before,
            after=pin.key,
            via=Via.BASE,
        )
    if component == NIGHTLY and all(one.name != NIGHTLY for one in manifest.components):
        night = time.strftime("%Y-%m-%d", time.gmtime())
        return NewPush(
            component=NIGHTLY, url=NIGHTLY, branch="", before="", after=night, via=Via.NIGHTLY
        )
    source = _source(manifest, component)
    return NewPush(
        component=component,
        url=source.location,
        branch=source.branch,
        before=_known(known, component),
        after=_revision(house, source, after),
    )


def new_manifest(house: House, known: Snapshot | None) -> NewPush:
    """Make up the push of the manifest as it is now, and keep that."""
    digest = keep_manifest(house.workdir.manifests, house.manifest)
    return NewPush(
        component=MANIFEST,
        url=str(house.settings.manifest),
        branch="",
        before=manifest_digest(known.manifest) if known else "",
        after=digest,
        via=Via.MANIFEST,
    )


def _source(manifest: Manifest, component: str) -> Source:
    if component == PATCHES and manifest.patches is not None:
        return manifest.patches
    for one in manifest.components:
        if one.name == component:
            return one.source
    raise BadInput(f"the manifest has no component {component!r}", hint="ostci show")


def _known(known: Snapshot | None, component: str) -> str:
    if known is None:
        return ""
    pin = known.patches if component == PATCHES else known.pins.get(component)
    return pin.revision if pin else ""


def _revision(house: House, source: Source, after: str) -> str:
    """Tell where a source is to go; empty for what has no revisions to choose from."""
    if source.kind is not SourceKind.GIT:
        if after:
            raise BadInput(f"a {source.kind} source has no revisions", hint="leave out --after")
        return ""
    if after:
        source = replace(source, branch="", tag="", revision=Revision(after))
    house.mirrors.fetch(source)
    return house.mirrors.pin(source).revision


# Listing


def do_pushes(options: argparse.Namespace) -> int:
    """List pushes, the newest last."""
    house = open_house(options)
    pushes = house.ledger.pushes
    found = pushes.open() if options.open else pushes.newest(options.number)
    if options.json:
        print(json.dumps([plain(push) for push in found], indent=2))
        return EXIT_PASSED
    endings = house.ledger.endings([push.run for push in found if push.run])
    for line in table(found, endings, time.time()):
        print(line)
    if not found:
        words = "nothing waits" if options.open else "no pushes yet; look for some: ostci watch"
        print(words)
    return EXIT_PASSED


_HEAD = ("push", "received", "component", "what", "state", "run", "")


def table(pushes: Sequence[Push], endings: Mapping[str, str], now: float) -> list[str]:
    """Lay pushes out in columns, with a line of heads; ``endings`` is how their runs ended."""
    if not pushes:
        return []
    rows = [_HEAD, *(_row(push, endings, now) for push in pushes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [
        "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(push: Push, endings: Mapping[str, str], now: float) -> tuple[str, ...]:
    return (
        str(push.id),
        _when(push.received, now),
        push.component,
        _moved(push),
        _state(push, endings.get(push.run or "", "")),
        push.run or "-",
        _remarks(push),
    )


def _when(received: float, now: float) -> str:
    form = "%H:%M:%S" if now - received < _DAY_S else "%Y-%m-%d"
    return time.strftime(form, time.gmtime(received))


def _moved(push: Push) -> str:
    if push.via is Via.NIGHTLY:
        return push.after
    newest = "gone" if push.state is PushState.REFUSED else "newest"
    told = f"{push.before[:7] or 'new'}→{push.after[:7] or newest}"
    return f"{told} {push.branch}".rstrip()


def _state(push: Push, ending: str) -> str:
    if push.state is PushState.SUPERSEDED:
        return f"superseded by {push.superseded_by}"
    # That it is done is less than people ask for: how did it go?
    told = ending if push.state is PushState.DONE and ending else str(push.state)
    return f"{told} ({push.attempts})" if push.attempts > 1 else told


def _remarks(push: Push) -> str:
    told = [push.message.partition("\n")[0]] if push.message else []
    told += ["rewritten"] if push.rewritten else []
    told += [f"{len(push.commits)} commits"] if len(push.commits) > 1 else []
    told += [] if push.via in (Via.POLL, Via.BASE, Via.MANIFEST) else [f"by {push.via}"]
    told += [f"asked for by {push.wish.by}"] if push.wish.by else []
    return "; ".join([*told, push.note] if push.note else told)
