# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log: nested steps that end with their time, and one line a fact.

A ``Log`` hands lines to its sinks (terminal, file, list); what they look like there is the
sink's business. ``about`` is the component, target or machine that a line is of, and comes first.
Threads may log at once: the nesting of steps is kept for each of them.
"""

import contextvars
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Protocol, TextIO

from pipeline.words.errors import Interrupted, Trouble

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Level(IntEnum):
    """How much somebody wants to read: details go to files, facts to people."""

    DETAIL = 0
    FACT = 1
    WARNING = 2
    ERROR = 3


class StepEnding(StrEnum):
    """How a step ended, as its last line says it; whoever stopped it, or lent it a machine, is told
    apart from what it was about.
    """

    DONE = "done in"
    FAILED = "FAILED in"
    TROUBLE = "in trouble after"
    STOPPED = "stopped after"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the log; ``began`` and ``ended_s`` are set on a step's first and last."""

    level: Level
    text: str
    about: str = ""
    depth: int = 0
    began: bool = False
    ended_s: float | None = None
    expected_s: float | None = None
    ending: StepEnding = StepEnding.DONE


class Sink(Protocol):
    """Where lines go; called under the log's lock, so it must not log itself."""

    def write(self, line: Line) -> None: ...


class Step:
    """A step that runs; ``seconds`` is what its last line tells, where it was not done in here."""

    seconds: float | None = None


_steps: contextvars.ContextVar[tuple[str, ...]] = contextvars.ContextVar("steps", default=())


class Log:
    """Write facts to every sink; cheap to pass on, safe between threads."""

    def __init__(self, *sinks: Sink) -> None:
        self._sinks = list(sinks)
        self._lock = threading.Lock()

    def fact(self, text: str, *, about: str = "") -> None:
        """Tell something a person running this wants to know."""
        self._write(Level.FACT, text, about)

    def detail(self, text: str, *, about: str = "") -> None:
        """Tell something that matters when it goes wrong: commands, outputs, decisions."""
        self._write(Level.DETAIL, text, about)

    def warning(self, text: str, *, about: str = "") -> None:
        """Tell something that is wrong but does not end the run."""
        self._write(Level.WARNING, text, about)

    def error(self, text: str, *, about: str = "") -> None:
        """Tell what ended the run."""
        self._write(Level.ERROR, text, about)

    @contextmanager
    def step(
        self, name: str, *, about: str = "", expected_s: float | None = None, took_s: float = 0.0
    ) -> Iterator["Step"]:
        """Nest what is logged inside; the step's last line tells its time in seconds.

        ``expected_s`` is how long it took last time, shown while it runs; ``took_s`` is how long
        it took elsewhere before this.
        """
        outer = _steps.get()
        token = _steps.set((*outer, name))
        started = time.monotonic() - took_s
        self._emit(
            Line(
                level=Level.FACT,
                text=name,
                about=about,
                depth=len(outer),
                began=True,
                expected_s=expected_s,
            )
        )
        ending, step = StepEnding.DONE, Step()
        try:
            yield step
        except BaseException as error:
            ending = _ending_of(error)
            raise
        finally:
            _steps.reset(token)
            self._emit(
                Line(
                    level=Level.FACT,
                    text=name,
                    about=about,
                    depth=len(outer),
                    ended_s=time.monotonic() - started if step.seconds is None else step.seconds,
                    ending=ending,
                )
            )

    def relay(self, data: str) -> None:
        """Take over a line of another process's log, as ``written`` wrote it, within this step.

        Raises ValueError for what is none.
        """
        line = _read(data)
        self._emit(replace(line, depth=line.depth + len(_steps.get())))

    @contextmanager
    def also(self, sink: Sink) -> Iterator[None]:
        """Send lines to one more sink for a while."""
        with self._lock:
            self._sinks.append(sink)
        try:
            yield
        finally:
            with self._lock:
                self._sinks.remove(sink)

    def _write(self, level: Level, text: str, about: str) -> None:
        depth = len(_steps.get())
        for part in text.splitlines() or [""]:
            self._emit(Line(level=level, text=part, about=about, depth=depth))

    def _emit(self, line: Line) -> None:
        with self._lock:
            for sink in self._sinks:
                sink.write(line)


def _ending_of(error: BaseException) -> StepEnding:
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return StepEnding.STOPPED
    return StepEnding.TROUBLE if isinstance(error, Trouble) else StepEnding.FAILED


def written(line: Line) -> str:
    """Write a line so that ``relay`` has it in another process: on one line, whatever it quotes."""
    return json.dumps(asdict(line))


def _read(data: str) -> Line:
    found = json.loads(data)
    if not isinstance(found, dict) or found.keys() != Line.__dataclass_fields__.keys():
        raise ValueError(f"no line of a log: {data[:80]!r}")
    kinds = {"level": Level(found["level"]), "ending": StepEnding(found["ending"])}
    return Line(**{**found, **kinds})


def plain_text(line: Line) -> str:
    """Format a line without colours: two spaces a level, ``about: text``, a step with its time."""
    text = f"{line.about}: {line.text}" if line.about else line.text
    if line.ended_s is not None:
        text += f" {line.ending} {line.ended_s:.1f} s"
    elif line.began:
        expected = line.expected_s
        text += f" … (last time {expected:.0f} s)" if expected and expected >= 1.0 else " …"
    if line.level >= Level.WARNING:
        text = f"{line.level.name.lower()}: {text}"
    # Guests and builds are quoted, who must not command a terminal.
    return "  " * line.depth + _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class FileSink:
    """Every line, details too, with the seconds since the start; ends with ``close``."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO = path.open("a", encoding="utf-8", errors="backslashreplace")
        self._zero = time.monotonic()

    def write(self, line: Line) -> None:
        """Append the line."""
        self._file.write(f"{time.monotonic() - self._zero:9.3f} {plain_text(line)}\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def file_sink(path: Path) -> Iterator[FileSink]:
    """Keep a log in a file for the length of the ``with``."""
    sink = FileSink(path)
    try:
        yield sink
    finally:
        sink.close()


class ListSink:
    """Keep lines in memory, for tests and for results that quote the log."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, line: Line) -> None:
        """Remember the line."""
        self.lines.append(line)

    def texts(self, level: Level = Level.DETAIL) -> list[str]:
        """Tell the texts of at least this level, ``about`` first."""
        return [plain_text(line).strip() for line in self.lines if line.level >= level]
