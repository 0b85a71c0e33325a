# SPDX-License-Identifier: LGPL-2.1-or-later
"""The line of snapshots that runs of pushes start from, read from the runs' directories."""

from dataclasses import replace

from pipeline.cli.house import House
from pipeline.ports import line
from pipeline.ports.line import line_snapshot as line_snapshot
from pipeline.ports.workdir import RunDir
from pipeline.words.manifest import Component
from pipeline.words.run import place_of
from pipeline.words.snapshot import Snapshot


def line_before(house: House, version: str) -> RunDir | None:
    """Find the newest run before one whose snapshot others can start from."""
    place = place_of(version)
    return next(
        (run for run in line.snapshots(house.workdir) if place_of(run.version) < place), None
    )


def newest_of_line(house: House) -> RunDir | None:
    """Find the newest run whose snapshot others can start from."""
    return line.newest_of_line(house.workdir)


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
