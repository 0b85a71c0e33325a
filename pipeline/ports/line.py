# SPDX-License-Identifier: LGPL-2.1-or-later
"""The line of snapshots that runs of pushes start from, read from the runs' directories."""

import json
from collections.abc import Iterator

from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words.records import from_json
from pipeline.words.snapshot import Snapshot


def newest_of_line(workdir: Workdir) -> RunDir | None:
    """Find the newest run whose snapshot others can start from."""
    return next(snapshots(workdir), None)


def snapshots(workdir: Workdir) -> Iterator[RunDir]:
    """List runs of the line, newest first: not those with working copies in them, and no tries."""
    for version in reversed(workdir.versions()):
        run = workdir.run(version)
        if not run.file("snapshot").is_file() or not run.file("resolve").is_file():
            continue
        if run.file("try").is_file():
            continue
        if not json.loads(run.file("resolve").read_bytes()).get("overrides"):
            yield run


def line_snapshot(run: RunDir) -> Snapshot:
    """Read what others start from: for what could not be resolved, what was there before."""
    path = run.file("line") if run.file("line").is_file() else run.file("snapshot")
    return from_json(Snapshot, path.read_bytes(), where=str(path))
