# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill a master, its worker or their supervisor at some instant, and check that nothing is lost."""

import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pipeline.words.push import Push, PushState
from tests.cheap import CheapByCommit
from tests.masters import Up

VICTIMS = ("master", "worker", "supervisor")
_END_S = 600.0
_MANY = 10_000


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What was killed when (seconds after the pushes), and how soon all was up again."""

    victim: str
    after_s: float
    up_s: float
    whole_s: float


class MasterKilling:
    """A real master over the cheapest OS, for the length of a ``with``."""

    def __init__(self, root: Path) -> None:
        self.work = CheapByCommit(root, one=0.0, two=0.0)
        self.up = Up(root, work=self.work, poll=1, reconcile=2, slots=2, runs=3, attempts=9)
        self.number = 0
        self._whole_s = 10.0

    def __enter__(self) -> Self:
        self.up.__enter__()
        self.up.wait(lambda: self.up.seen() >= 2, "all repositories were seen")
        # The first run has nothing before it: it takes whatever is there, pushed or not.
        number = int(self.work.json("push", "one")["id"])
        self.up.wait_ended(self.up.ledger.pushes.get(number), within_s=_END_S)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.up.__exit__(kind, error, traceback)
        assert error is not None or self.work.processes() == []

    def kill_once(self, victim: str, chance: random.Random) -> Killed:
        """Push twice, kill at an instant of what this takes, and wait for both ends."""
        up, known = self.up, self._pushes()
        began = time.monotonic()
        for component in ("one", "two"):
            self.number += 1
            self.work.change(component, after_s=chance.choice((0.0, 0.5, 1.0)))
        after_s = chance.random() * self._whole_s
        up.wait(lambda: time.monotonic() >= began + after_s, "the instant")
        killed = time.monotonic()
        if victim == "supervisor":
            assert up.process is not None
            os.kill(up.process.pid, signal.SIGKILL)
            up.process.wait()
            up.wait(lambda: self.work.processes() == [], "all died with it", within_s=30)
            up.start()
        else:
            up.kill(victim)
            up.wait(up.is_up, f"{victim} is up again")
        up_s = time.monotonic() - killed
        up.wait(lambda: len(self._pushes()) == len(known) + 2, "both pushes were seen")
        pushes = up.wait_ended(*self._pushes()[-2:], within_s=_END_S)
        idle = "builds?complete=false"
        up.wait(lambda: up.get(idle)["builds"] == [], "all builds are over")
        whole_s = time.monotonic() - began
        self._whole_s = max(5.0, min(30.0, whole_s - up_s))
        self._check(pushes)
        return Killed(victim=victim, after_s=after_s, up_s=up_s, whole_s=whole_s)

    def _pushes(self) -> list[Push]:
        return self.up.ledger.pushes.newest(_MANY)

    def _check(self, pushes: list[Push]) -> None:
        assert {push.state for push in pushes} == {PushState.DONE}, pushes
        self.work.check_line(self._pushes())
