# SPDX-License-Identifier: LGPL-2.1-or-later
"""What signed hooks said and no look has passed yet: a file of lines, written before an answer.

A line is one JSON object, appended and flushed to the disk. A process that is killed leaves at
most a last line that is cut, whose hook was not answered.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import no_space, write_text
from pipeline.words.errors import Trouble
from pipeline.words.named import Named
from pipeline.words.records import from_json, to_json
from pipeline.words.request import Told

_MOST_BYTES = 32 * 1024**2


@dataclass(frozen=True, kw_only=True)
class KeptHook:
    """What one hook named or told of a repository; neither: that it sends hooks at all."""

    place: str
    named: Named | None = None
    told: Told | None = None


def read_kept(path: Path) -> tuple[KeptHook, ...]:
    """Read all, oldest first; a line that is no record, as a killed process leaves it, is not."""
    if not path.is_file():
        return ()
    found = []
    with path.open("rb") as file:
        for line in file.read(_MOST_BYTES).splitlines():
            try:
                found.append(from_json(KeptHook, line, where=str(path)))
            except (Trouble, ValueError):
                continue
    return tuple(found)


def append_kept(path: Path, hooks: Iterable[KeptHook]) -> None:
    """Write more of them; they are on the disk when this returns. Raises Trouble on a full one."""
    data = _lines(hooks).encode()
    with no_space(path, len(data)):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # A line that was cut must not take the next one with it.
            view = memoryview(b"\n" + data)
            while view:
                view = view[os.write(handle, view) :]
            os.fsync(handle)
        finally:
            os.close(handle)


def write_kept(path: Path, hooks: Iterable[KeptHook]) -> None:
    """Write all of them anew, or nothing."""
    write_text(path, _lines(hooks), mode=0o600)


def _lines(hooks: Iterable[KeptHook]) -> str:
    return "".join(to_json(one, indent=None) + "\n" for one in hooks)
