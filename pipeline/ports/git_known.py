# SPDX-License-Identifier: LGPL-2.1-or-later
"""What git has told of a mirror, kept in the mirror for as long as it stays as it is.

A question costs a process, 3 ms each, and of a mirror that did not change the answers are the
same. They are good for one *state* alone: the times of the directories that git writes in when a
ref or an object comes or goes, and a token that each fetch of ours writes anew, because two
changes may have one time. Whatever the file holds that is not of this state is forgotten, so that
it needs no lock: at worst a question is asked again. Formats: gitrepository-layout(5).
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.ports.files import write_text

_FILE = "ostci-known.json"
_TOKEN = "ostci-token"
_STATE = "state"


def recalled(mirror: Path, question: str, ask: Callable[[], str | None]) -> str | None:
    """Tell what ``ask`` would: from the file, or by asking. None is never kept.

    The answer may depend on nothing but the question and what is in the mirror.
    """
    # Before it is asked: what changes meanwhile makes the answer one of a state that is gone.
    now = _state(mirror)
    known = _read(mirror, now).get(question)
    if known is not None:
        return known
    answer = ask()
    if answer is not None and now:
        # Not flushed to the disk: what a power cut leaves is no JSON, and read as nothing.
        content = {**_read(mirror, now), question: answer, _STATE: now}
        write_text(mirror / _FILE, json.dumps(content), flush=False)
    return answer


def changed(mirror: Path) -> None:
    """Forget all, because something was or may have been written."""
    if mirror.is_dir():
        write_text(mirror / _TOKEN, secrets.token_hex(8), flush=False)


def _read(mirror: Path, state: str) -> dict[str, str]:
    try:
        found = json.loads((mirror / _FILE).read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get(_STATE) == state else {}


def _state(mirror: Path) -> str:
    """Describe what a mirror is like; nothing where there is none."""
    try:
        token = (mirror / _TOKEN).read_text()
    except FileNotFoundError:
        token = ""
    top = str(mirror)
    times = [_changed_at(f"{top}/{name}") for name in ("HEAD", "packed-refs", "config")]
    if not times[0]:
        return ""
    times += [_changed_at(f"{top}/{name}") for name in ("objects", "objects/pack")]
    times += _refs_changed_at(f"{top}/refs")
    return " ".join([token, *map(str, times)])


def _refs_changed_at(directory: str) -> Iterator[int]:
    """Tell the times of the directories of loose refs: git makes each ref anew, beside itself."""
    yield _changed_at(directory)
    try:
        inner = sorted(entry.path for entry in os.scandir(directory) if entry.is_dir())
    except FileNotFoundError:
        return
    for path in inner:
        yield from _refs_changed_at(path)


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except FileNotFoundError:
        return 0
