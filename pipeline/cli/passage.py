# SPDX-License-Identifier: LGPL-2.1-or-later
"""One run's way through the stages.

Each stage reads what the ones before it left in the run's directory and leaves its own result
there, so that a stage may be given again by hand (``ostci build --run VERSION``) and a chain is
nothing but the stages in order. What a stage did, how long and how it ended goes into ``run.json``.
"""

import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

from pipeline.cli.house import House
from pipeline.cli.record import ended, read_record, write_record
from pipeline.ports.files import write_text
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import BadInput, worst
from pipeline.words.manifest import Manifest
from pipeline.words.records import from_json, to_json
from pipeline.words.run import RunEnding, RunRecord, StageRecord, ending_of
from pipeline.words.snapshot import Snapshot

T = TypeVar("T")


class Passage:
    """A run, its record and what its stages have left so far."""

    def __init__(self, house: House, run: RunDir) -> None:
        self.house = house
        self.run = run
        self.record = read_record(run) if run.file("run").is_file() else self._new_record()
        self._summary = ""

    def _new_record(self) -> RunRecord:
        record = RunRecord(
            version=self.run.version,
            osname=self.house.manifest.osname,
            manifest=str(self.house.settings.manifest),
            started=time.time(),
            pid=os.getpid(),
        )
        write_record(self.run, record)
        self.house.ledger.begin_run(record.version, record.osname, record.started)
        return record

    def reopen(self) -> None:
        """Go on with a run that had come to a stop."""
        now = {"ending": RunEnding.RUNNING, "ended": None, "message": "", "hint": ""}
        self.record = replace(self.record, pid=os.getpid(), **now)  # type: ignore[arg-type]
        write_record(self.run, self.record)
        self.house.ledger.begin_run(self.run.version, self.record.osname, self.record.started)

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

    def tell(self, summary: str) -> None:
        """Say in a line what the stage did; it is logged and kept in the record."""
        self._summary = summary
        self.house.log.fact(summary)

    def note_snapshot(self, digest: str) -> None:
        """Keep in the record which snapshot the run is of."""
        self.record = replace(self.record, snapshot=digest)
        write_record(self.run, self.record)

    def note_promoted(self, promoted: Mapping[str, str]) -> None:
        """Keep in the record what ``buildmaster`` was moved to."""
        self.record = replace(self.record, promoted={**self.record.promoted, **promoted})
        write_record(self.run, self.record)

    def end(self, error: BaseException | None, ending: RunEnding | None = None) -> None:
        """Give the run its ending, in its record and in the ledger."""
        record = ended(self.record, error)
        self.record = record if ending is None else replace(record, ending=ending)
        write_record(self.run, self.record)
        self.house.ledger.end_run(self.run.version, self.record.ending, self.record.message)

    def command(self, stage: str) -> str:
        """Write the command that repeats a stage of this run."""
        root = shlex.quote(str(self.house.workdir.root))
        return f"ostci -C {root} {stage} --run {self.run.version}"

    def enter(self, component: str) -> str:
        """Write the command that enters the build of a component of this run."""
        root = shlex.quote(str(self.house.workdir.root))
        return f"ostci -C {root} shell {component} --run {self.run.version}"

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Be in a stage: its time and ending are recorded, also when it raises."""
        self._summary = ""
        started = time.monotonic()
        error: BaseException | None = None
        expected = self.house.expected_s(name)
        try:
            with self.house.log.step(name, expected_s=expected):
                self.house.log.detail(f"to repeat it: {self.command(name)}")
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
                repeat=self.command(name),
            )
            self.record = replace(self.record, stages={**self.record.stages, name: done})
            write_record(self.run, self.record)
            if error is None:
                self.house.note_duration(name, seconds)


def raise_worst(failures: Sequence[BaseException]) -> None:
    """Raise what decides the ending of several failures, where there are any."""
    decided = worst(failures)
    if decided is not None:
        raise decided
