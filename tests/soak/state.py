# SPDX-License-Identifier: LGPL-2.1-or-later
"""What campaigns have done so far: one entry a step, written after each of them."""

import json
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.ports.files import lock, write_text


class State:
    """The entries of all campaigns, in one file; several campaigns may run at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: dict[str, list[Any]] = {}
        self._read()

    def add(self, campaign: str, entry: Any) -> None:
        """Note one step."""
        with self._changing():
            self.done.setdefault(campaign, []).append(entry)

    def count(self, campaign: str) -> int:
        """Tell how many steps of a campaign are done."""
        return len(self.done.get(campaign, []))

    def forget(self, campaign: str) -> None:
        """Forget what a campaign has done."""
        with self._changing():
            self.done.pop(campaign, None)

    def _read(self) -> None:
        self.done = json.loads(self._path.read_text()) if self._path.is_file() else {}

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Change what is in the file now: another campaign may have written meanwhile."""
        with lock(self._path.with_suffix(".lock"), what="a campaign", wait_s=60.0):
            self._read()
            yield
            write_text(self._path, json.dumps(self.done, indent=2) + "\n")


Campaign = Callable[[State, int], Generator[str, None, None]]
"""Goes on from what is in the state up to a number of steps; tells a line after each."""
