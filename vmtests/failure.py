# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a failed test is told: its own frames, and what the guest said last.

What pytest and the verbs did in between helps nobody who reads a test's failure; of an exception
that is a bug of ours, all of it is kept.
"""

import linecache
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from pipeline.ports.log import Log

_MOST_LINES = 20
_LONGEST = 300
_MOST_FRAMES = 8


def frames(traceback: TracebackType | None, folder: Path) -> Iterator[str]:
    """Describe the frames that lie in a suite's folder: place, function, and the line itself."""
    found = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        path, line = Path(code.co_filename), traceback.tb_lineno
        if path.is_relative_to(folder) and "site-packages" not in path.parts:
            source = linecache.getline(code.co_filename, line).strip()
            place = f"{path.relative_to(folder.parent.parent)}:{line}"
            found.append((place, code.co_name, source))
        traceback = traceback.tb_next
    for place, name, source in found[-_MOST_FRAMES:]:
        yield f"{place} in {name}"
        if source:
            yield f"    {source[:_LONGEST]}"


def described(error: BaseException, folder: Path) -> list[str]:
    """Describe a failure: the test's frames, then what it says, within bounds."""
    said = str(error).strip().splitlines()
    more = [f"… {len(said) - _MOST_LINES} more lines"] if len(said) > _MOST_LINES else []
    return [
        *frames(error.__traceback__, folder),
        *(line[:_LONGEST] for line in said[:_MOST_LINES]),
        *more,
    ]


def tell(lines: Sequence[str], last_words: str, log: Log) -> None:
    """Put a failure's description and the guest's last words into the log, indented."""
    for line in lines:
        log.fact(f"  {line}")
    for line in last_words.splitlines():
        is_title = line in ("console:", "journal:")
        log.fact(f"  last lines of the {line}" if is_title else f"    {line[:_LONGEST]}")
