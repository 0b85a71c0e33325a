# SPDX-License-Identifier: LGPL-2.1-or-later
"""Follow a run that other processes work on: what of it began and what ended, as it happens.

The run's log says so, whoever writes it; what a stage came to is in the run's record, written a
moment later.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from pipeline.cli.record import read_record
from pipeline.cli.terminal import Running
from pipeline.ports.log import Level, Line, StepEnding
from pipeline.ports.workdir import RunDir
from pipeline.words.run import StageRecord

_LINE = re.compile(
    r" *\d+\.\d{3} "  # no more spaces: what is nested has some
    r"(?P<name>(?:base|resolve|plan|build|compose|disk|test|promote|judge)(?: \S+)*?)"
    rf"(?: (?P<ending>{'|'.join(StepEnding)}) (?P<seconds>\d+\.\d) s"
    r"| …(?: \(last time (?P<last>\d+) s\))?)"
)


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage, or a part of one such as ``build zlib``, that is over after so many seconds."""

    name: str
    seconds: float
    ending: StepEnding
    words: str = ""
    """What it came to, or why it failed, where that was written down."""


class Followed:
    """A run; what goes on is noted in ``running``, for whoever shows that."""

    def __init__(self, run: RunDir, running: Running) -> None:
        self._run = run
        self._running = running
        self._read = 0
        self._over: list[Done] = []

    def look(self) -> list[Done]:
        """Tell what has ended, one look after its log has said so."""
        over, self._over = self._over, []
        stages: Mapping[str, StageRecord] = {}
        if over and self._run.file("run").is_file():
            stages = read_record(self._run).stages
        for line in self._new_lines():
            self._note(line)
        return [_in_words(one, stages.get(one.name)) for one in over]

    def _new_lines(self) -> Iterator[str]:
        if not self._run.log.is_file():
            return
        with self._run.log.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # it is being written
                self._read += len(line)
                yield line.decode("utf-8", "replace").rstrip("\n")

    def _note(self, text: str) -> None:
        match = _LINE.fullmatch(text)
        if match is None:
            return
        name = match["name"]
        if match["ending"] is None:
            last = float(match["last"] or 0) or None  # in no time is no news
            line = Line(level=Level.FACT, text=name, began=True, expected_s=last)
        else:
            seconds = float(match["seconds"])
            line = Line(level=Level.FACT, text=name, ended_s=seconds)
            ending = StepEnding(match["ending"])
            self._over.append(Done(name=name, seconds=seconds, ending=ending))
        self._running.note(line)


def _in_words(done: Done, record: StageRecord | None) -> Done:
    if record is None:
        return done
    words = record.summary if done.ending is StepEnding.DONE else record.message
    return replace(done, words=words)
