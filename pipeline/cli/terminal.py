# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the log looks on a terminal, and in a file that somebody redirected it to.

On a terminal the steps that run stand at the bottom with their seconds, and what they took last
time; elsewhere there are plain lines, and one every half minute about what is still running.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TextIO

from pipeline.ports.log import Level, Line, StepEnding, plain_text

if TYPE_CHECKING:  # a terminal's library is loaded where there is a terminal
    from rich.console import Console
    from rich.text import Text

_STILL_S = 30.0
_HELD_S = 1.0
"""How long a step's first line may be held back, for it may end at once."""
_STYLES = {Level.DETAIL: "dim", Level.WARNING: "yellow", Level.ERROR: "bold red"}
_ENDING_STYLES = {
    StepEnding.FAILED: "red",
    StepEnding.TROUBLE: "magenta",
    StepEnding.STOPPED: "yellow",
}


class Running:
    """The steps that run at the moment; shared with the thread that shows them."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], tuple[float, float | None]] = {}
        self._lock = threading.Lock()

    def note(self, line: Line) -> None:
        """Take notice of a step's first or last line."""
        key = (line.about, line.text)
        with self._lock:
            if line.began:
                self._steps[key] = (time.monotonic(), line.expected_s)
            elif line.ended_s is not None:
                self._steps.pop(key, None)

    def texts(self, innermost: int = 4) -> list[str]:
        """Describe what runs, the newest last: name, seconds so far, seconds of last time."""
        now = time.monotonic()
        with self._lock:
            steps = list(self._steps.items())
        found = []
        for (about, text), (since, expected) in steps[-innermost:]:
            name = f"{about}: {text}" if about else text
            told = "" if expected is None else f" of about {expected:.0f} s"
            found.append(f"{name}, {now - since:.0f} s{told}")
        return found


class TerminalSink:
    """Lines for a person: facts and worse; details too when ``verbose``."""

    def __init__(self, out: TextIO, *, verbose: bool = False) -> None:
        self._out = out
        self._least = Level.DETAIL if verbose else Level.FACT
        self.running = Running()
        self._held: Line | None = None
        self._lock = threading.Lock()
        self.is_terminal = out.isatty()
        """Whether somebody sees this as it comes."""

    @cached_property
    def console(self) -> "Console":
        """What to print through while ``live`` shows its line."""
        from rich.console import Console

        return Console(file=self._out, highlight=False, soft_wrap=True, markup=False)

    def write(self, line: Line) -> None:
        """Show the line; a step that begins on a terminal only joins the ones at the bottom."""
        self.running.note(line)
        if line.level < self._least or (line.began and self.is_terminal):
            return
        if not self.is_terminal:
            self._write_plain(line)
            return
        from rich.text import Text

        style = _STYLES.get(line.level, "")
        if line.ended_s is not None:
            style = _ENDING_STYLES.get(line.ending, "green" if line.depth == 0 else "")
        self.console.print(Text(plain_text(line), style=style))

    def print_plain(self, text: str = "") -> None:
        """Write a line as it is, after what was held back; several threads may."""
        with self._lock:
            self._let_go()
            if text:
                self._put(text)

    def _write_plain(self, line: Line) -> None:
        """Write a line; a step that ends at once, with nothing in it, has its last line alone."""
        with self._lock:
            held = self._held
            if held and line.ended_s is not None and (held.about, held.text) == _name(line):
                self._held = None
            self._let_go()
            if line.began:
                self._held = line
            else:
                self._put(plain_text(line))

    def _let_go(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._put(plain_text(held))

    def _put(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()


def _name(line: Line) -> tuple[str, str]:
    return line.about, line.text


class _Bottom:
    def __init__(self, running: Running) -> None:
        self._running = running

    def __rich__(self) -> "Text":
        from rich.text import Text

        texts = self._running.texts()
        return Text(" · ".join(texts), style="cyan", no_wrap=True, overflow="ellipsis")


@contextmanager
def live(sink: TerminalSink, *, still_s: float = _STILL_S) -> Iterator[None]:
    """Keep what runs in sight for the length of the ``with``.

    Where nobody sees it as it comes, a line every ``still_s`` seconds tells of it: who reads them
    may stop what has said nothing for long.
    """
    if sink.is_terminal:
        from rich.live import Live

        bottom = _Bottom(sink.running)
        with Live(bottom, console=sink.console, refresh_per_second=4, transient=True):
            yield
        return
    done = threading.Event()
    teller = threading.Thread(target=_tell_still, args=(sink, done, still_s), daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
        sink.print_plain()


def _tell_still(sink: TerminalSink, done: threading.Event, still_s: float) -> None:
    told = time.monotonic()
    while not done.wait(min(_HELD_S, still_s)):
        sink.print_plain()
        if time.monotonic() - told < still_s:
            continue
        told = time.monotonic()
        for text in sink.running.texts(1):
            sink.print_plain(f"… still {text}")


def size_text(size: float) -> str:
    """Write bytes for people: ``438 MiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 10 else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("no unit")


def stdout_sink(*, verbose: bool) -> TerminalSink:
    """Make the sink of a command: the log goes to standard error, results to standard output."""
    return TerminalSink(sys.stderr, verbose=verbose)
