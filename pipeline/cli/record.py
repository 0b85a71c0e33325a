# SPDX-License-Identifier: LGPL-2.1-or-later
"""``run.json``: what a run is, as it goes and after it has ended."""

import time
from collections.abc import Iterator
from dataclasses import replace

from pipeline.ports.files import write_text
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words.errors import Ending
from pipeline.words.records import from_json, to_json
from pipeline.words.run import RunEnding, RunRecord, ending_of

MENDED = "it was killed; what it left half done was put right"


def read_record(run: RunDir) -> RunRecord:
    """Read a run's record; raises Trouble where it is damaged."""
    path = run.file("run")
    return from_json(RunRecord, path.read_text(), where=str(path))


def write_record(run: RunDir, record: RunRecord) -> None:
    """Write a run's record."""
    write_text(run.file("run"), to_json(record))


def ended(record: RunRecord, error: BaseException | None) -> RunRecord:
    """Give a record its ending."""
    return replace(
        record,
        ended=time.time(),
        ending=ending_of(error),
        message="" if error is None else str(error) or type(error).__name__,
        hint=error.hint if isinstance(error, Ending) else "",
    )


def records(workdir: Workdir) -> Iterator[tuple[RunDir, RunRecord]]:
    """Read the records of all runs, newest first; a run killed before its first is passed over."""
    for version in reversed(workdir.versions()):
        run = workdir.run(version)
        if run.file("run").is_file():
            yield run, read_record(run)


def mend_records(workdir: Workdir) -> list[str]:
    """Give runs that a killed process left ``running`` their ending; tells their versions.

    Only under the work directory's lock: whoever holds it is the only one that can be running.
    """
    mended = []
    for run, record in records(workdir):
        if record.ending is RunEnding.RUNNING:
            write_record(
                run,
                replace(record, ended=time.time(), ending=RunEnding.INTERRUPTED, message=MENDED),
            )
            mended.append(run.version)
    return mended
