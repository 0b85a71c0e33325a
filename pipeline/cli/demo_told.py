# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a demo prints: few lines, each with the time since it began, and what goes on below them."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.text import Text

from pipeline.cli.follow import Done
from pipeline.cli.terminal import TerminalSink
from pipeline.ports.log import Level, Line, StepEnding

_NAME, _LONGEST = 26, 90


class Told:
    """The terminal of a demo."""

    def __init__(self, sink: TerminalSink) -> None:
        self.sink = sink
        self._zero = time.monotonic()

    @property
    def seconds(self) -> float:
        """Tell how long it has gone on."""
        return time.monotonic() - self._zero

    def title(self, text: str) -> None:
        """Begin a part of the story."""
        self._print("\n" + text + "\n", "bold")

    def command(self, text: str) -> None:
        """Tell a command that is given now."""
        self._print(f"   $ {text}", "cyan")

    def quote(self, lines: Sequence[str], style: str = "") -> None:
        """Tell what is not ours: a part of a file, what git said."""
        for line in lines:
            self._print(f"     {line}".rstrip(), style)

    def fact(self, text: str, style: str = "") -> None:
        """Tell what has happened now."""
        minutes, seconds = divmod(int(self.seconds), 60)
        self._print(f"{minutes:4}:{seconds:02}  {text}", style)

    def done(self, one: Done) -> None:
        """Tell that something of a run is over."""
        # What a part of a stage came to, as a suite on one tree, is in its name.
        _, _, part = one.name.partition(" ")
        is_done = one.ending is StepEnding.DONE
        words = one.words if not is_done or not part else ""
        words = words.removeprefix("did not pass: ").removeprefix(f"{part}: ")
        words = words if len(words) <= _LONGEST else words[:_LONGEST] + "…"
        if not is_done:
            how = one.ending.rpartition(" ")[0]
            words = f"{how}: {words}" if words else how
        line = f"{one.name:<{_NAME}} {one.seconds:5.1f} s  {words}"
        self.fact(line.rstrip(), "" if is_done else "red")

    def lines(self, rows: Sequence[tuple[str, str]]) -> None:
        """Tell names and what they stand for."""
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            self._print(f"   {name:<{width}}  {value}")

    @contextmanager
    def waiting(self, text: str) -> Iterator[None]:
        """Show what is waited for, and for how long, without a line of its own."""
        began = time.monotonic()
        self.sink.running.note(Line(level=Level.FACT, text=text, began=True))
        try:
            yield
        finally:
            over = Line(level=Level.FACT, text=text, ended_s=time.monotonic() - began)
            self.sink.running.note(over)

    def _print(self, text: str, style: str = "") -> None:
        self.sink.console.print(Text(text, style=style))
