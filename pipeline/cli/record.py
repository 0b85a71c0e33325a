# SPDX-License-Identifier: LGPL-2.1-or-later
"""``run.json``: what a run is, as it goes and after it has ended."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline.ports.files import lock, symlink, write_text
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words.errors import Ending
from pipeline.words.records import from_json, to_json
from pipeline.words.run import (
    RunEnding,
    RunRecord,
    ending_of,
    gives_up_its_place,
    message_of,
    place_of,
)
from pipeline.words.wish import Trial, Wish

if TYPE_CHECKING:  # it takes a while to import and few commands need it
    from pipeline.ports.ledger import Ledger

CANCEL = "cancel"
_LINK_S = 60.0
MENDED = "it was killed; what it left half done was put right"


@dataclass(frozen=True, kw_only=True)
class Cancel:
    """``cancel.json``: who wants a run to end, and since when (seconds since 1970)."""

    by: str
    when: float


def read_cancel(run: RunDir) -> Cancel | None:
    """Tell who cancelled a run, if anybody has."""
    path = run.file(CANCEL)
    return from_json(Cancel, path.read_bytes(), where=str(path)) if path.is_file() else None


def read_trial(run: RunDir) -> Trial | None:
    """Tell what a run tries; None for one that may be promoted."""
    path = run.file("try")
    return from_json(Trial, path.read_bytes(), where=str(path)) if path.is_file() else None


def read_wish(run: RunDir) -> Wish:
    """Tell what a person asked for with a run."""
    trial = read_trial(run)
    if trial is not None:
        return trial.wish
    path = run.file("wish")
    return from_json(Wish, path.read_bytes(), where=str(path)) if path.is_file() else Wish()


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
        message=message_of(error),
        hint=error.hint if isinstance(error, Ending) else "",
    )


def records(workdir: Workdir) -> Iterator[tuple[RunDir, RunRecord]]:
    """Read the records of all runs, newest first; a run killed before its first is passed over."""
    for version in reversed(workdir.versions()):
        run = workdir.run(version)
        if run.file("run").is_file():
            yield run, read_record(run)


def mended(record: RunRecord) -> RunRecord:
    """Give the record of a run that was killed its ending."""
    return replace(record, ended=time.time(), ending=RunEnding.INTERRUPTED, message=MENDED)


def note_ending(ledger: "Ledger", record: RunRecord, *, gives_up: bool = False) -> None:
    """Bring a run's ending into the ledger, and let others compose where it no longer will."""
    ledger.end_run(record.version, record.ending, record.message)
    of_push = ledger.pushes.is_run_awaited(record.version)
    if gives_up or gives_up_its_place(record.ending, of_push=of_push):
        ledger.tickets.give_up(record.version, record.osname)


def note_passed(workdir: Workdir, run: RunDir) -> None:
    """Let ``last-passed`` lead to a run, unless it leads to a later one."""
    link = workdir.root / "last-passed"
    with lock(workdir.lock("last-passed"), what="a link", wait_s=_LINK_S):
        here = link.resolve()
        later = [one for one in workdir.versions() if place_of(one) > place_of(run.version)]
        if not any(workdir.run(one).path.resolve() == here for one in later):
            symlink(link, os.path.relpath(run.path, workdir.root))
