# SPDX-License-Identifier: LGPL-2.1-or-later
"""Somebody at a terminal of their own: starts a program, reads, types, and sees how it ends."""

import os
import subprocess
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

DEADLINE_S = 240.0


class Person:
    """Knows the terminal from both sides: what is seen on it, and how it is set."""

    def __init__(self, child: "subprocess.Popen[bytes]", here: int, there: int) -> None:
        self.child = child
        self.seen = ""
        self._here = here
        self._there = there

    def wait_for(self, text: str) -> None:
        """Read until a text has been seen."""
        until = time.monotonic() + DEADLINE_S
        while text not in self.seen:
            over = self.child.poll() is not None
            assert time.monotonic() < until, f"only this was seen: {self.seen}"
            try:
                self.seen += os.read(self._here, 1 << 16).decode(errors="replace")
            except BlockingIOError:
                assert not over, f"it ended with {self.child.returncode} after {self.seen}"
                time.sleep(0.02)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._here, text.encode())

    def settings(self) -> list[Any]:
        """Tell how the terminal is set."""
        return termios.tcgetattr(self._there)


@contextmanager
def person(argv: Sequence[str | Path], *, cwd: Path) -> Iterator[Person]:
    """Start a program on a terminal of its own; after the ``with`` it has ended by itself."""
    here, there = os.openpty()
    os.set_blocking(here, False)
    with subprocess.Popen(
        argv, cwd=cwd, stdin=there, stdout=there, stderr=there, start_new_session=True
    ) as child:
        try:
            yield Person(child, here, there)
            child.wait(60.0)
        finally:
            child.kill()
            os.close(here)
            os.close(there)
