# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill a whole run at an instant, and check that nothing was lost and the next start mends it."""

from dataclasses import dataclass
from pathlib import Path

from tests.work import TINY, Work, kill_after, wait_until_gone


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
        # What is killed later: the first one also imports a base, which takes its time.
        self.whole_s = self.work.ostci("run", "--again").seconds
        self.first = self.work.heads()
        self._pushes = 0

    def push(self) -> None:
        """Make something new for the next run: the sample's change, there and back."""
        change = self.work.story.change
        old, new = (change.old, change.new) if self._pushes % 2 == 0 else (change.new, change.old)
        self.work.sample.edit(change.component, change.file, old, new)
        self.work.sample.push(change.component, f"Change number {self._pushes}")
        self._pushes += 1

    def kill_once(self, after_s: float) -> Killed:
        """Start a run, kill it, and check both repositories, the rule and what is left alive."""
        before = self.work.heads()
        child = self.work.start("run", "--again")
        running = kill_after(child, after_s)
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
