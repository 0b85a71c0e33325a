# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill a whole run at an instant, and check that nothing was lost and the next start mends it."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.work import TINY, Work, kill_after, wait_until_gone

_WITHIN_S = 0.5
"""Between two lines of the log, about."""


@dataclass(frozen=True, kw_only=True)
class Killed:
    """One kill: when, in seconds after the start, and which stage it hit."""

    after_s: float
    was_running: bool
    stage: str


class Killing:
    """A tiny work directory with one promoted run and a push that waits to be promoted."""

    def __init__(self, root: Path) -> None:
        self.work = Work(TINY, root)
        self.work.ostci("run")
        # What is killed later: the first one also imports a base, of which it tells.
        self.work.ostci("run", "--again")
        self.lines = len(self._log())
        self.first = self.work.heads()
        self._pushes = 0

    def push(self) -> None:
        """Make something new for the next run: the sample's change, there and back."""
        change = self.work.story.change
        old, new = (change.old, change.new) if self._pushes % 2 == 0 else (change.new, change.old)
        self.work.sample.edit(change.component, change.file, old, new)
        self.work.sample.push(change.component, f"Change number {self._pushes}")
        self._pushes += 1

    def _log(self) -> list[str]:
        path = self.work.root / "last-run" / "log.txt"
        return path.read_text().splitlines() if path.is_file() else []

    def kill_once(self, part: float) -> Killed:
        """Kill a run, and check both repositories, the rule and what is left alive.

        ``part`` of the way it has come by then, by what it has said: how long that takes depends
        on what else the machine has to do.
        """
        before = self.work.heads()
        known = (self.work.root / "last-run").resolve()
        lines, rest = divmod(part * self.lines, 1)
        began = time.monotonic()
        child = self.work.start("run", "--again")
        while child.poll() is None and (
            (self.work.root / "last-run").resolve() == known or len(self._log()) < lines
        ):
            time.sleep(0.01)
        running = kill_after(child, rest * _WITHIN_S)
        after_s = time.monotonic() - began
        wait_until_gone(self.work)
        record = self.work.json("log", "-n", "1")[0]
        self.work.ostci("clean", "--dry-run")  # any command that takes the lock mends first
        self.work.check_whole()
        after = self.work.heads()
        assert before.keys() <= after.keys(), "a ref was lost"
        stages = list(record["stages"])
        return Killed(after_s=after_s, was_running=running, stage=stages[-1] if stages else "")

    def finish(self) -> None:
        """Let a run go the whole way after all that."""
        self.push()
        before = self.work.heads()
        self.work.ostci("run")
        after = self.work.heads()
        assert after.keys() == before.keys() and all(after[ref] != before[ref] for ref in after)
        self.work.check_whole()
