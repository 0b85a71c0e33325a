# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the master's work directory remembers of each worker: ``workers/NAME.json``.

Which artifacts came from it, newest last, and why it was set aside. Only people take that back.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports.files import lock, write_text
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Key, is_name

_MOST = 5000
_WAIT_S = 60.0


@dataclass(frozen=True, kw_only=True)
class Made:
    """One artifact that a worker made; ``when`` in seconds since 1970."""

    run: str
    component: str
    key: Key
    when: float


@dataclass(frozen=True, kw_only=True)
class WorkerNotes:
    """All that is remembered of a worker. ``aside`` is empty where it may work."""

    name: str
    aside: str = ""
    since: float = 0.0
    made: tuple[Made, ...] = ()


class WorkerBook:
    """The notes of all workers; several processes may write them."""

    def __init__(self, workdir: Workdir) -> None:
        self._top = workdir.root / "workers"

    def read(self, name: str) -> WorkerNotes:
        """Read what is remembered of a worker."""
        path = self._path(name)
        if not path.is_file():
            return WorkerNotes(name=name)
        return from_json(WorkerNotes, path.read_bytes(), where=str(path))

    def all(self) -> list[WorkerNotes]:
        """Read the notes of all workers, by name."""
        found = sorted(self._top.glob("*.json")) if self._top.is_dir() else []
        return [self.read(path.stem) for path in found]

    def set_aside(self, name: str, reason: str) -> None:
        """Write down why a worker gets no work any more; the first reason stays."""
        now = time.time()
        self._change(
            name,
            lambda old: old if old.aside else replace(old, aside=reason, since=now),
        )

    def take_back(self, name: str) -> WorkerNotes:
        """Let a worker work again; raises BadInput where it may. Tells the notes before."""
        before = self.read(name)
        if not before.aside:
            raise BadInput(f"worker {name} is not set aside", hint="ostci workers")
        self._change(name, lambda old: replace(old, aside="", since=0.0))
        return before

    def note(self, name: str, *, run: str, component: str, key: Key) -> None:
        """Write down that an artifact came from a worker."""
        one = Made(run=run, component=component, key=key, when=time.time())
        self._change(name, lambda old: replace(old, made=(*old.made[1 - _MOST :], one)))

    def _change(self, name: str, change: Callable[[WorkerNotes], WorkerNotes]) -> None:
        path = self._path(name)
        with lock(path.with_suffix(".lock"), what=f"notes of {name}", wait_s=_WAIT_S):
            write_text(path, to_json(change(self.read(name))))

    def _path(self, name: str) -> Path:
        if not is_name(name):
            raise BadInput(f"not the name of a worker: {name!r}")
        return self._top / f"{name}.json"
