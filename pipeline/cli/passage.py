# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run's way through the stages.

Each stage reads what the ones before it left in the run's directory and leaves its own result
there, so that a stage may be given again by hand (``ostci build --run VERSION``) and a chain is
nothing but the stages in order. What a stage did, how long and how it ended goes into ``run.json``.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from pipeline.cli.house import House, late_mirrors, tried_artifacts
from pipeline.cli.record import (
    ended,
    note_ending,
    read_cancel,
    read_record,
    read_trial,
    read_wish,
    write_record,
)
from pipeline.ports.files import lock, write_text
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import BadInput, worst
from pipeline.words.manifest import Manifest
from pipeline.words.push import Via
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Commit
from pipeline.words.run import RunEnding, RunRecord, StageRecord, ending_of, message_of
from pipeline.words.snapshot import Snapshot
from pipeline.words.wish import TRY, Wish

T = TypeVar("T")
_RESULT_S = 60.0


class Passage:
    """A run, its record and what its stages have left so far."""

    def __init__(self, house: House, run: RunDir) -> None:
        self.house = house
        self.run = run
        self.trial = read_trial(run)
        """What is tried; None for a run that may be promoted."""
        if self.trial is not None:
            house.artifacts = tried_artifacts(house, run.version)
            if self.trial.server:
                house.mirrors = late_mirrors(house)
        self.record = read_record(run) if run.file("run").is_file() else self._new_record()
        self.waited_s = 0.0
        """How much of the stage was waiting for others."""
        self._summary = ""

    def _new_record(self) -> RunRecord:
        record = RunRecord(
            version=self.run.version,
            osname=self.house.manifest.osname,
            manifest=str(self.house.settings.manifest),
            started=time.time(),
            pid=os.getpid(),
            kind=TRY if self.trial is not None else "",
        )
        write_record(self.run, record)
        self._begin(record)
        if not record.kind:
            self.house.ledger.tickets.take(record.version, record.osname)
        return record

    def reopen(self) -> None:
        """Go on with a run that had come to a stop."""
        now = {"ending": RunEnding.RUNNING, "ended": None, "message": "", "hint": ""}
        self.update(lambda record: replace(record, pid=os.getpid(), **now))  # type: ignore[arg-type]
        self._begin(self.record)

    def _begin(self, record: RunRecord) -> None:
        self.house.ledger.begin_run(record.version, record.osname, record.started, kind=record.kind)

    @property
    def wish(self) -> Wish:
        """What a person asked for with this run; nothing for most runs."""
        return read_wish(self.run)

    @property
    def is_nightly(self) -> bool:
        """Tell whether the clock asked for this run."""
        pushes = self.house.ledger.pushes.of_run(self.run.version)
        return any(push.via is Via.NIGHTLY for push in pushes)

    def taken_tree(self, name: str) -> Commit | None:
        """Tell which promoted tree of a server a try began from; None for any other run."""
        known = self.trial.trees.get(name) if self.trial is not None else None
        return Commit(known) if known and self.house.repo.has_commit(Commit(known)) else None

    @property
    def snapshot(self) -> Snapshot:
        """The run's snapshot; raises BadInput where it was not resolved yet."""
        return self.read("snapshot", Snapshot, before="resolve")

    @property
    def manifest(self) -> Manifest:
        """The manifest as this run pinned it."""
        return self.snapshot.manifest

    def read(self, name: str, kind: type[T], *, before: str = "") -> T:
        """Read a stage's result; raises BadInput that names the stage to run first."""
        path = self.run.file(name)
        if not path.is_file():
            stage = before or name
            raise BadInput(
                f"run {self.run.version} has no {path.name} yet",
                hint=self.command(stage),
            )
        return from_json(kind, path.read_bytes(), where=str(path))

    def write(self, name: str, result: object) -> None:
        """Write a stage's result."""
        write_text(self.run.file(name), to_json(result))

    def merge(self, name: str, kind: type[T], change: Callable[[T | None], T]) -> T:
        """Change a stage's result that several processes may write at once; tells the new one."""
        with self._results():
            old = self.read(name, kind) if self.run.file(name).is_file() else None
            new = change(old)
            self.write(name, new)
        return new

    def update(self, change: Callable[[RunRecord], RunRecord]) -> None:
        """Change the record as it is now on the disk, whoever has written it last."""
        with self._results():
            self._update(change)

    def _update(self, change: Callable[[RunRecord], RunRecord]) -> RunRecord:
        """Change the record; tells what it was before."""
        before = read_record(self.run)
        self.record = change(before)
        write_record(self.run, self.record)
        return before

    @contextmanager
    def _results(self) -> Iterator[None]:
        with lock(self.run.results_lock, what="writing a result", wait_s=_RESULT_S):
            yield

    def tell(self, summary: str) -> None:
        """Say in a line what the stage did; it is logged and kept in the record."""
        self._summary = summary
        self.house.log.fact(summary)

    def note_snapshot(self, digest: str) -> None:
        """Keep in the record which snapshot the run is of."""
        self.update(lambda record: replace(record, snapshot=digest))

    def note_promoted(self, promoted: Mapping[str, str]) -> None:
        """Keep in the record what ``buildmaster`` was moved to."""
        self.update(lambda record: replace(record, promoted={**record.promoted, **promoted}))

    def end(self, error: BaseException | None, ending: RunEnding | None = None) -> None:
        """Give the run its ending, in its record and in the ledger."""
        note = None if error is None else read_cancel(self.run)
        message = None if note is None else f"cancelled by {note.by}"

        def change(record: RunRecord) -> RunRecord:
            record = ended(record, error)
            record = record if message is None else replace(record, message=message)
            return record if ending is None else replace(record, ending=ending)

        with self._results():
            self._update(change)
            note_ending(self.house.ledger, self.record, gives_up=note is not None)

    def leave(self, *, reopen: bool = False) -> None:
        """Leave the run to whatever stage comes next; one that has an ending keeps it.

        ``reopen``: it is begun anew, whatever its ending was.
        """

        def change(record: RunRecord) -> RunRecord:
            if record.ending is RunEnding.RUNNING or reopen:
                return replace(ended(record, None), ending=RunEnding.OPEN)
            return replace(record, ended=time.time())

        with self._results():
            before = self._update(change)
            if {before.ending, self.record.ending} != {RunEnding.OPEN}:
                # Else the ledger has it so already, and to open it costs more than most stages.
                note_ending(self.house.ledger, self.record)

    def command(self, stage: str, *of: str) -> str:
        """Write the command that repeats a stage of this run, or a part of it."""
        return self.house.command(stage, *of, "--run", self.run.version)

    def enter(self, component: str) -> str:
        """Write the command that enters the build of a component of this run."""
        return self.command("shell", component)

    @contextmanager
    def stage(self, name: str, *of: str, took_s: float = 0.0) -> Iterator[None]:
        """Be in a stage, or a part ``of`` it: time and ending are recorded, also when it raises.

        ``took_s`` is how long the work itself took elsewhere.
        """
        self._summary, self.waited_s = "", 0.0
        started = time.monotonic() - took_s
        error: BaseException | None = None
        expected = None if of else self.house.expected_s(name)
        try:
            with self.house.log.step(" ".join((name, *of)), expected_s=expected, took_s=took_s):
                self.house.log.detail(f"to repeat it: {self.command(name, *of)}")
                yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            seconds = time.monotonic() - started
            done = StageRecord(
                ending=ending_of(error),
                seconds=seconds,
                summary=self._summary,
                message=message_of(error),
                repeat=self.command(name, *of),
            )
            key = " ".join((name, *of))
            self.update(lambda record: replace(record, stages={**record.stages, key: done}))
            if error is None and not of:
                self.house.note_duration(name, seconds - self.waited_s)


def raise_worst(failures: Sequence[BaseException]) -> None:
    """Raise what decides the ending of several failures, where there are any."""
    decided = worst(failures)
    if decided is not None:
        raise decided
