# SPDX-License-Identifier: LGPL-2.1-or-later
"""The evidence of a suite: what the guest said, what its screen showed, how long it took.

It all lies in one directory that people and pages read, written as it comes, so that it is there
also when the suite is killed. What a guest sends in excess is cut.
"""

import hashlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from pipeline.ports.domain import Domain
from pipeline.ports.files import no_space, remove_tree, write_bytes, write_text
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble
from pipeline.words.journal import Entry, format_entry
from pipeline.words.png import Picture, write_png
from pipeline.words.records import to_json

FINAL = "screenshot-final.png"
KERNEL_LOG = "kernel-log.txt"
REGISTERS = "registers.txt"
_MOST_SCREENSHOTS = 40
_MOST_CONSOLE = 4 * 1024**2


class Evidence:
    """A directory, and the verbs that fill it."""

    def __init__(self, directory: Path, *, log: Log) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.journal_raw = directory / "journal.json"
        self.numbers: dict[str, float] = {}
        self._log = log
        self._console = (directory / "console.txt").open("wb")
        self._console_size = 0
        self._journal: TextIO = (directory / "journal.txt").open(
            "w", encoding="utf-8", errors="backslashreplace"
        )
        self._zero = time.monotonic()
        self._shown: dict[str, Path] = {}
        self._last: Path | None = None

    def move(self, to: Path) -> None:
        """Go on in another directory, with all that is here."""
        remove_tree(to)
        to.parent.mkdir(parents=True, exist_ok=True)
        self._shown = {digest: to / path.name for digest, path in self._shown.items()}
        self._last = to / self._last.name if self._last else None
        self.directory = self.directory.rename(to)
        self.journal_raw = to / self.journal_raw.name

    def console(self, data: bytes) -> None:
        """Add what a console said; beyond 4 MiB it is dropped, which is said once."""
        left = _MOST_CONSOLE - self._console_size
        self._console_size += len(data)
        with no_space(self.directory, len(data)):
            self._console.write(data[: max(0, left)])
            if 0 <= left < len(data):
                self._console.write(b"\n[what followed is not kept]\n")
            self._console.flush()

    def entry(self, entry: Entry) -> None:
        """Add an entry to the journal that people read."""
        with no_space(self.directory):
            self._journal.write(format_entry(entry) + "\n")

    def screenshot(self, domain: Domain) -> None:
        """Keep what the screen shows if it was not seen before."""
        if len(self._shown) >= _MOST_SCREENSHOTS:
            return
        seconds = time.monotonic() - self._zero
        found = self._look(domain)
        if found is None:
            return
        digest, picture = found
        if digest not in self._shown:
            self._shown[digest] = self.directory / f"screenshot-{seconds:06.1f}.png"
            _keep(self._shown[digest], picture)
        self._last = self._shown[digest]

    def final_screenshot(self, domain: Domain | None) -> None:
        """Keep the last picture: of now, or of the last time that there was one."""
        path, last = self.directory / FINAL, self._last
        found = self._look(domain) if domain is not None and domain.is_running() else None
        if found is not None:
            digest, picture = found
            last = self._shown.get(digest)
            if last is None:
                _keep(path, picture)
        if last is not None:
            write_bytes(path, last.read_bytes(), flush=False)

    def text(self, name: str, lines: Iterable[str]) -> None:
        """Write lines for people."""
        write_text(self.directory / name, "".join(f"{line}\n" for line in lines), flush=False)

    def write(self, name: str, value: object) -> None:
        """Write a value as JSON."""
        write_text(self.directory / name, to_json(value), flush=False)

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
        self._console.close()

    def _look(self, domain: Domain) -> tuple[str, Picture] | None:
        """Tell what the screen shows, and a name that equal pictures share."""
        try:
            picture = domain.picture()
        except Trouble as error:
            # A machine may end while it is looked at: that is told by who watches its end.
            if domain.is_running():
                self._log.warning(f"no screenshot: {error}")
            return None
        return f"{picture.width} {hashlib.sha256(picture.pixels).hexdigest()}", picture


def _keep(path: Path, picture: Picture) -> None:
    # Little is saved by packing harder, and a power cut takes the whole run with it.
    write_bytes(path, write_png(picture, level=1), flush=False)
