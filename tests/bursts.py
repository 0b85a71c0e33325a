# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many pushes to a few repositories at once, and what a real master makes of them."""

import hashlib
import hmac
import json
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push, PushState
from tests.cheap import OSNAME, TREE, Cheap, CheapByCommit
from tests.masters import Up

SECRET = "correct horse"
NAMES = ("one", "two", "three")
SOON = {"reconcile": 600, "slots": 2, "runs": 3, "attempts": 3}
_LONG_S = 3600.0


def hooked(root: Path) -> Up:
    """Prepare a master that is told of pushes by hooks alone: its own rounds are far away."""
    work = Cheap(root, **dict.fromkeys(NAMES, 0.0))
    up = Up(root, work=work, poll=3600, **SOON)
    (up.home / "master").mkdir(parents=True)
    write_secret(up.home / "master", "hook-plain", SECRET)
    return up


def polling(root: Path) -> Up:
    """Prepare a master that nobody tells anything, of a manifest with ``unit: commit``."""
    return Up(root, work=CheapByCommit(root, **dict.fromkeys(NAMES, 0.0)), poll=1, **SOON)


class Burst:
    """A real master over the cheapest OS, whose first run is over, so that each push adds to it."""

    def __init__(self, up: Up) -> None:
        assert isinstance(up.work, Cheap)
        self.up = up
        self.work = up.work
        self.number = 0
        up.wait(lambda: len(up.ledger.pushes.heads()) >= len(NAMES), "all repositories were seen")
        first = up.ledger.pushes.get(int(self.work.json("push", "one")["id"]))
        up.wait_ended(first)

    def push(self, count: int, chance: random.Random) -> list[tuple[str, str, str]]:
        """Push one commit after the other; tells component, before and after of each."""
        made = []
        for _ in range(count):
            name = chance.choice(NAMES)
            before = self.work.head(name)
            self.work.change(name)
            made.append((name, before, self.work.head(name)))
        return made

    def send(self, push: tuple[str, str, str]) -> None:
        """Send the hook of a push."""
        name, before, after = push
        told: dict[str, Any] = {"url": str(self.work.sources / name)}
        told |= {"ref": "refs/heads/master", "before": before, "after": after}
        body = json.dumps(told).encode()
        sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        code, text = self.up.post("change_hook/plain", body, X_Ostci_Signature=f"sha256={sign}")
        assert code == 200, text

    def check(self, made: Sequence[tuple[str, str, str]], *, ordered: bool) -> None:
        """Wait for the end of all, and check that none is lost or doubled and each has its place.

        Not ``ordered``: those of one component are in order, others may come between them.
        """
        up = self.up
        began = time.monotonic()
        up.wait(lambda: len(self._pushes()) >= len(made), "all were seen", within_s=60 + len(made))
        up.wait_ended(*self._pushes(), within_s=_LONG_S)
        up.wait(lambda: up.get("builds?complete=false")["builds"] == [], "all builds are over")
        pushes = self._pushes()
        self.tell(pushes, time.monotonic() - began)
        found = [(push.component, push.before, push.after) for push in pushes]
        if ordered:
            assert found == list(made)
        for name in NAMES:
            assert [one for one in found if one[0] == name] == [
                one for one in made if one[0] == name
            ]
        assert {push.state for push in pushes} == {PushState.DONE}
        assert {push.attempts for push in pushes} == {1}
        self.work.check_line(up.ledger.pushes.newest(10_000))
        snapshots = {str(self.work.record(str(push.run))["snapshot"]) for push in pushes}
        assert len(snapshots) == len(made)

    def _pushes(self) -> list[Push]:
        return self.up.ledger.pushes.newest(10_000)[1:]

    def tell(self, pushes: Sequence[Push], seconds: float) -> None:
        """Print, to pytest, a line for each push: what ``ostree log`` has of it."""
        history = self.work.house().repo.history(f"{OSNAME}/compose/{TREE}")
        commits = {str(info.metadata["version"]): info.commit for info in history}
        for push in pushes:
            commit = commits.get(str(push.run), "no commit")
            told = f"{push.component:6} {push.before[:8]} → {push.after[:8]} by {push.via}"
            sys.stdout.write(f"push {push.id:3} {told:40} run {push.run}  commit {commit[:12]}\n")
        sys.stdout.write(f"{len(pushes)} pushes in {seconds:.1f} s\n")
