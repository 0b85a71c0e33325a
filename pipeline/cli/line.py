# SPDX-License-Identifier: LGPL-2.1-or-later
"""The line of snapshots that runs of pushes start from, read from the runs' directories."""

from collections.abc import Iterator
from dataclasses import replace

from pipeline.cli.house import House
from pipeline.cli.results import Resolved
from pipeline.ports.workdir import RunDir
from pipeline.words.manifest import Component
from pipeline.words.records import from_json
from pipeline.words.run import place_of
from pipeline.words.snapshot import Snapshot


def line_before(house: House, version: str) -> RunDir | None:
    """Find the newest run before one whose snapshot others can start from."""
    place = place_of(version)
    return next((run for run in snapshots(house) if place_of(run.version) < place), None)


def newest_of_line(house: House) -> RunDir | None:
    """Find the newest run whose snapshot others can start from."""
    return next(snapshots(house), None)


def snapshots(house: House) -> Iterator[RunDir]:
    """List runs of the line, newest first: those with working copies in them are of no line."""
    for version in reversed(house.workdir.versions()):
        run = house.workdir.run(version)
        if not run.file("snapshot").is_file() or not run.file("resolve").is_file():
            continue
        left = from_json(Resolved, run.file("resolve").read_bytes(), where=str(run.path))
        if not left.overrides:
            yield run


def line_snapshot(run: RunDir) -> Snapshot:
    """Read what others start from: for what could not be resolved, what was there before."""
    path = run.file("line") if run.file("line").is_file() else run.file("snapshot")
    return from_json(Snapshot, path.read_bytes(), where=str(path))


def filled(snapshot: Snapshot, known: Snapshot) -> Snapshot:
    """Put earlier pins where a snapshot has none, for what has the same sources still."""
    earlier = {one.name: one for one in known.manifest.components}
    pins = dict(snapshot.pins)
    for one in snapshot.manifest.components:
        same = one.name in earlier and _sources(earlier[one.name]) == _sources(one)
        if one.name not in pins and same and one.name in known.pins:
            pins[one.name] = known.pins[one.name]
    patches = snapshot.patches
    if patches is None and snapshot.manifest.patches == known.manifest.patches:
        patches = known.patches
    return replace(snapshot, pins=pins, patches=patches)


def _sources(component: Component) -> tuple[object, ...]:
    """Tell what a pin is of: a child's pin lies in its parent's, by its name alone."""
    return component.source, {child.name: child.source for child in component.children}
