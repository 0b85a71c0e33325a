# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci watch``: rounds over all that a manifest follows, without a master."""

import argparse
import json
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from pipeline.cli import chain
from pipeline.cli.holds import cancel
from pipeline.cli.house import House, find_root
from pipeline.cli.line import line_snapshot, newest_of_line
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import raise_worst
from pipeline.cli.terminal import live
from pipeline.ports.log import Log
from pipeline.stages import base as base_stage
from pipeline.stages import watch as watch_stage
from pipeline.words.errors import EXIT_PASSED, BadInput, Ending, Trouble
from pipeline.words.manifest import Manifest
from pipeline.words.push import BASE, MANIFEST, Push
from pipeline.words.records import plain
from pipeline.words.snapshot import manifest_digest


@dataclass(frozen=True, kw_only=True)
class Round:
    """What one round found; ``problems`` are by URL, or ``base`` or ``manifest``."""

    pushes: tuple[Push, ...] = ()
    baselines: int = 0
    gone: tuple[str, ...] = ()
    superseded: Mapping[int, int] = field(default_factory=dict)
    problems: Mapping[str, Ending] = field(default_factory=dict)


def do_watch(options: argparse.Namespace) -> int:
    """Look for pushes, once or until somebody stops it."""
    house, sink = open_with_sink(options)
    manifest: Manifest | None = None
    with live(sink):
        while True:
            began = time.monotonic()
            found, manifest = look(house, manifest, branches=not options.no_branches)
            if options.json:
                print(json.dumps(_plain(found)), flush=True)
            if options.once:
                raise_worst(list(found.problems.values()))
                if not options.json:
                    print(_in_words(found))
                return EXIT_PASSED
            threading.Event().wait(max(0.0, options.every - (time.monotonic() - began)))
            # Opened anew: the manifest may have been edited meanwhile.
            house.ledger.close()
            house = House(find_root(options.workdir), log=Log(sink))


def look(
    house: House, last_good: Manifest | None = None, *, branches: bool = True
) -> tuple[Round, Manifest]:
    """Look once; tells also the manifest to go by when the next round finds a broken one.

    Without any that was good, the one of the newest run stays in force; raises BadInput where
    there is none either.
    """
    pushes = house.ledger.pushes
    newest = newest_of_line(house)
    known = line_snapshot(newest) if newest else None
    problems: dict[str, Ending] = {}
    recorded: list[Push] = []
    try:
        manifest = house.manifest
    except BadInput as error:
        if house.settings.manifest.is_file():
            recorded += watch_stage.note_refused_manifest(
                house.settings.manifest, str(error), pushes=pushes
            )
        good = last_good or (known.manifest if known else None)
        if good is None:
            raise
        problems[MANIFEST] = error
        house.log.warning(f"the last good manifest stays in force: {error.what}", about=MANIFEST)
        manifest = house.manifest = good
    else:
        recorded += watch_stage.note_manifest(
            manifest,
            house.settings.manifest,
            manifest_digest(known.manifest) if known else "",
            pushes=pushes,
            directory=house.workdir.manifests,
        )
    try:
        recorded += _look_at_base(house, known.base.key if known else "")
    except Ending as error:
        problems[BASE] = error
        house.log.warning(str(error), about=BASE)
    jobs = max(8, house.settings.jobs * 2)
    urls = None if branches else frozenset[str]()
    request = watch_stage.WatchRequest(manifest=manifest, urls=urls, jobs=jobs)
    found = watch_stage.watch(request, mirrors=house.mirrors, ledger=house.ledger, log=house.log)
    _cancel(house, found.given_up)
    for head in found.gone:
        house.log.warning(f"there is no {head.words} at {head.url}", about=head.component)
    superseded = watch_stage.supersede(pushes, manifest.queue_bound, log=house.log)
    told = Round(
        pushes=(*recorded, *found.pushes),
        baselines=len(found.baselines),
        gone=tuple(f"{head.url} {head.branch}" for head in found.gone),
        superseded=superseded,
        problems={**problems, **found.problems},
    )
    return told, manifest


def _cancel(house: House, given_up: Iterable[Push]) -> None:
    """End what still runs of tries that nobody wants any more."""
    for push in given_up:
        if push.run is not None and house.workdir.is_run(push.run):
            # It may have come to its end meanwhile; what cannot be ended is told.
            with suppress(BadInput):
                cancel(house, house.workdir.run(push.run), by=push.message)


def _look_at_base(house: House, known: str) -> tuple[Push, ...]:
    request = chain.base_request(house)
    cache = base_stage.shared_cache() or house.workdir.cache
    pin = base_stage.resolve_base(request, cache=cache, log=house.log)
    return watch_stage.note_base(request.base.name, pin.key, known, pushes=house.ledger.pushes)


def _plain(found: Round) -> dict[str, object]:
    return {
        "pushes": [plain(push) for push in found.pushes],
        "baselines": found.baselines,
        "gone": list(found.gone),
        "superseded": {str(old): newer for old, newer in found.superseded.items()},
        "problems": {
            name: {"trouble": isinstance(error, Trouble), "message": str(error)}
            for name, error in found.problems.items()
        },
    }


def _in_words(found: Round) -> str:
    told = [f"{len(found.pushes)} push{'' if len(found.pushes) == 1 else 'es'}"]
    told += [f"{found.baselines} branches or tags seen for the first time"] * bool(found.baselines)
    told += [f"{len(found.superseded)} superseded"] if found.superseded else []
    return ", ".join(told)
