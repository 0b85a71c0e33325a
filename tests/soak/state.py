# SPDX-License-Identifier: LGPL-2.1-or-later
"""What campaigns have done so far: one entry a step, written after each of them."""

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from pipeline.ports.files import write_text


class State:
    """The entries of all campaigns, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: dict[str, list[Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def add(self, campaign: str, entry: Any) -> None:
        """Note one step."""
        self.done.setdefault(campaign, []).append(entry)
        write_text(self._path, json.dumps(self.done, indent=2) + "\n")

    def count(self, campaign: str) -> int:
        """Tell how many steps of a campaign are done."""
        return len(self.done.get(campaign, []))

    def forget(self, campaign: str) -> None:
        """Forget what a campaign has done."""
        self.done.pop(campaign, None)
        write_text(self._path, json.dumps(self.done, indent=2) + "\n")


Campaign = Callable[[State, int], Generator[str, None, None]]
"""Goes on from what is in the state up to a number of steps; tells a line after each."""
