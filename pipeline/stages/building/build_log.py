# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log of one component's build: whole as far as sense goes, warnings and deprecations apart.

``log.txt``, ``warnings.txt`` and ``deprecations.txt`` are written line by line while it runs.
"""

import re
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from pipeline.ports.files import no_space

EXCERPT = 250
"""Lines of the end that a failure is shown with."""
_MOST = 16 * 1024**2
_WARNING = re.compile(r"\bwarning:|^WARNING\b|\bwarning C\d+", re.IGNORECASE)
_DEPRECATION = re.compile(r"deprecat", re.IGNORECASE)


class BuildLog:
    """Counts and keeps lines; made by ``open_log``."""

    def __init__(self, log: TextIO, warnings: TextIO, deprecations: TextIO) -> None:
        self.warnings = 0
        self.deprecations = 0
        self.last: deque[str] = deque(maxlen=EXCERPT)
        self._log = log
        self._warnings = warnings
        self._deprecations = deprecations
        self._size = 0

    def add(self, line: str) -> None:
        """Write a line; above 16 MiB only counted, and kept if it is among the last."""
        text = line.rstrip("\r")
        self.last.append(text)
        self._size += len(text) + 1
        if self._size <= _MOST:
            self._log.write(f"{text}\n")
        if not _WARNING.search(text):
            return
        if _DEPRECATION.search(text):
            self.deprecations += 1
            self._keep(self._deprecations, self.deprecations, text)
        else:
            self.warnings += 1
            self._keep(self._warnings, self.warnings, text)

    def say(self, text: str) -> None:
        """Add lines of our own."""
        for line in text.splitlines():
            self.add(f"ostci: {line}")

    def finish(self) -> None:
        """Write the end of a log that was cut."""
        if self._size > _MOST:
            self._log.write(f"ostci: … {self._size} bytes; the last {len(self.last)} lines:\n")
            self._log.writelines(f"{line}\n" for line in self.last)

    def _keep(self, file: TextIO, number: int, text: str) -> None:
        if number <= 10_000:
            file.write(f"{text}\n")


@contextmanager
def open_log(into: Path) -> Iterator[BuildLog]:
    """Write the logs of a build into a directory during the ``with``."""
    with no_space(into), ExitStack() as stack:
        into.mkdir(parents=True, exist_ok=True)
        files = []
        for name in ("log", "warnings", "deprecations"):
            path = into / f"{name}.txt"
            file = path.open("w", encoding="utf-8", errors="backslashreplace", buffering=1)
            files.append(stack.enter_context(file))
        made = BuildLog(*files)
        try:
            yield made
        finally:
            made.finish()
