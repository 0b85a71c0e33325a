# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try --from URL``: a try here, on what a server has built and promoted.

Snapshot, base and artifacts of a promoted run are taken from there, verified; what is replaced,
and what that changes, is built here. A work directory needs nothing else: without one, it is made.
"""

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipeline.cli import chain
from pipeline.cli.holds import begun
from pipeline.cli.house import CLIENTS_KEY, SETTINGS, House, find_root, init_served
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.cli.terminal import TerminalSink, live, stdout_sink
from pipeline.cli.trusting import Trusted, note_newest, raise_stale, trusted_list
from pipeline.cli.try_told import tell
from pipeline.cli.trying import Swap, check_names, go, put_copies, swap_of, wish_of
from pipeline.ports.files import write_bytes, write_text
from pipeline.ports.log import Log
from pipeline.ports.served import NotThere, Served
from pipeline.ports.tried_artifacts import TriedArtifacts
from pipeline.stages.base import BaseResult
from pipeline.stages.resolve import overridden
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.manifest import Component, Source
from pipeline.words.published import (
    LIST,
    ListedRun,
    PublishedList,
    PublishedRun,
    check_index,
    index_name,
)
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import taken_ref
from pipeline.words.snapshot import Pin, Snapshot
from pipeline.words.wish import Trial, parse_pairs

_DAY_S = 24 * 3600.0
_OLD_S = 14 * _DAY_S
_LEAST = 7
"""So many digits of a commit at least, as git has it."""


def try_from(options: argparse.Namespace) -> int:
    """Try what is given on what a server has; tell how it went."""
    house, sink, url = _open(options)
    pairs = parse_pairs(options.replace)
    with live(sink), locked(house, "ostci try", wait_s=options.wait or 0.0):
        served = Served(url, log=house.log)
        with house.log.step(f"ask {served.url}"):
            index, trusted = _index(house, served, options)
        house.manifest = index.snapshot.manifest
        if index.arch != house.arch:
            raise BadInput(f"its artifacts are for {index.arch}, this machine is {house.arch}")
        if house.settings.server:
            write_text(house.settings.manifest, to_json(index.snapshot))
            write_bytes(house.workdir.keys / CLIENTS_KEY, trusted.ring)
        check_names(house.manifest, (*pairs, *options.rebuild))
        swap = swap_of(house, pairs)
        trial = Trial(
            start=index.run,
            wish=wish_of(options, swap),
            server=served.url,
            trees=index.trees,
        )
        with begun(house, "ostci try", trial=trial) as run:
            try:
                go(house, run, partial(_take, swap=swap, index=index, served=served))
            finally:
                tell(house, run, as_json=options.json)
    return EXIT_PASSED


def _open(options: argparse.Namespace) -> tuple[House, TerminalSink, str]:
    """Open the work directory; one that is named and not there is made, if the server answers."""
    sink = stdout_sink(verbose=options.verbose)
    log = Log(sink)
    try:
        root = find_root(options.workdir)
    except BadInput:
        if options.workdir is None:
            raise BadInput(
                "there is no work directory here",
                hint=f"name one, and it is made: ostci -C DIR try --from {options.source}",
            ) from None
        if not options.source:
            raise
        served = Served(options.source, log=log)
        _file(served, f"{LIST}.asc")
        root = Path(options.workdir)
        init_served(root, served.url)
    house = House(root, log=log)
    return house, sink, options.source or house.settings.server


def _file(served: Served, name: str) -> bytes:
    try:
        return served.file(name)
    except NotThere as error:
        raise Trouble(
            "it publishes no artifacts",
            where=served.url,
            hint=f"artifacts = true in {SETTINGS} of the server, and the next promotion does",
        ) from error


# What the server has


def _index(
    house: House, served: Served, options: argparse.Namespace
) -> tuple[PublishedRun, Trusted]:
    _file(served, f"{LIST}.asc")
    found, trusted = trusted_list(
        served, house.workdir, key=options.key, trust=options.trust, log=house.log
    )
    if not options.tree:
        raise_stale(found, trusted, served, house.workdir)
    listed = _chosen(found, options.tree, served)
    name = index_name(listed.run)
    where = f"{served.url}/{name}"
    index = from_json(PublishedRun, served.signed(name, trusted.ring), where=where)
    check_index(index, run=listed.run, osname=found.osname, where=where)
    if any(index.trees.get(tree) != commit for tree, commit in listed.trees.items()):
        raise Trouble("its trees are not those that were promoted", where=where)
    note_newest(house.workdir, served, trusted, found.runs[0].run)
    age_s = max(0.0, time.time() - listed.when)
    house.log.fact(f"run {listed.run}, promoted {age_s / _DAY_S:.0f} days ago")
    if age_s > _OLD_S and not options.tree:
        house.log.warning("nothing newer was promoted, or it is not shown")
    return index, trusted


def _chosen(found: PublishedList, wanted: str, served: Served) -> ListedRun:
    """Choose a run by its version, or by a commit of a tree of it; the newest by default."""
    if not found.runs:
        raise Trouble("no promoted run has artifacts there", where=served.url)
    if not wanted:
        return found.runs[0]
    for one in found.runs:
        trees = one.trees.values() if len(wanted) >= _LEAST else ()
        if one.run == wanted or any(commit.startswith(wanted) for commit in trees):
            return one
    there = ", ".join(one.run for one in found.runs)
    what = f"it has no artifacts of {wanted}: no promoted run, or one that was thrown away"
    raise BadInput(what, where=served.url, hint=f"it has {there}")


# The run


def _take(passage: Passage, *, swap: Swap, index: PublishedRun, served: Served) -> None:
    """Have base, artifacts and snapshot of a server's run, with just what is replaced moved."""
    house, run = passage.house, passage.run
    house.log.fact(f"begins from the snapshot of run {index.run} of {served.url}")
    for one in swap.replaced:
        house.log.fact(one.words(), about=one.component)
    with passage.stage("base"):
        with house.log.step("pull"):
            count = served.pull(house.repo, (*index.commits(), *index.trees.values()))
        beside = {**{f"base-{name}": at for name, at in index.base.items()}, **index.trees}
        house.repo.set_refs(
            {taken_ref(index.osname, run.version, name): at for name, at in beside.items()}
        )
        _artifacts(house).take(index.artifacts)
        base = BaseResult(pin=index.snapshot.base, variants=index.base, cached=True)
        passage.write("base", base)
        passage.tell(f"{len(index.artifacts)} artifacts and the base, {count} commits pulled")
    copies = put_copies(passage, swap)
    with passage.stage("resolve"):
        snapshot = _moved(house, index.snapshot, copies, swap)
        chain.settle(passage, snapshot, failures={}, overrides=copies)


def _artifacts(house: House) -> TriedArtifacts:
    found = house.artifacts
    assert isinstance(found, TriedArtifacts)
    return found


def _moved(house: House, known: Snapshot, copies: Mapping[str, Path], swap: Swap) -> Snapshot:
    """Move what is replaced; all else is as it was, and its sources are not looked at."""
    manifest = overridden(known.manifest, copies)
    pins = {name: replace(pin, local=False) for name, pin in known.pins.items()}
    for component in manifest.components:
        if component.name in known.pins:
            name = component.generated_from or component.name
            if name in copies:
                pins[component.name] = house.mirrors.pin(component.source)
            else:
                pins[component.name] = _pin(house, component, pins[component.name], swap)
    return replace(known, manifest=manifest, pins=pins)


def _pin(house: House, component: Component, known: Pin, swap: Swap) -> Pin:
    children = {
        child.name: _at(house, child.source, known.children[child.name], swap)
        for child in component.children
        if child.name in known.children
    }
    return replace(_at(house, component.source, known, swap), children=children)


def _at(house: House, source: Source, known: Pin, swap: Swap) -> Pin:
    """Pin a source where it is to be; its patches stay."""
    if source not in swap.at:
        return known
    exact = replace(source, branch="", tag="", revision=swap.at[source])
    house.mirrors.fetch(exact)
    return replace(house.mirrors.pin(exact), patches=known.patches, children=known.children)
