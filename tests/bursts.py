# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many pushes to a few repositories at once, and what a master makes of them."""

import hashlib
import hmac
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push, PushState
from tests.cheap import OSNAME, TREE, Cheap, CheapByCommit
from tests.masters import FakeUp, Up
from tests.repos import GitRepo

SECRET = "correct horse"
NAMES = ("one", "two", "three")
PRETENDED = ("greeting", "hello", "init")
_SETTINGS: dict[str, Any] = {"reconcile": 600, "slots": 2, "runs": 3, "attempts": 3}
_FAR = {**_SETTINGS, "poll": 3600}
_LONG_S = 3600.0
Pushed = tuple[str, str, str]
"""Component, before and after."""


def hooked(root: Path, **more: object) -> Up:
    """Prepare a master that is told of pushes by hooks alone: its own rounds are far away."""
    work = Cheap(root, **dict.fromkeys(NAMES, 0.0))
    return _with_secret(Up(root, work=work, **{**_FAR, **more}))


def pretended(root: Path, **more: object) -> Up:
    """The same, over commands that do nothing; nothing is to be built."""
    return _with_secret(_kept(FakeUp(root, **{**_FAR, **more})))


def polling(root: Path) -> Up:
    """Prepare a master that nobody tells anything, of a manifest with ``unit: commit``."""
    work = CheapByCommit(root, **dict.fromkeys(NAMES, 0.0))
    return Up(root, work=work, **{**_SETTINGS, "poll": 1})


def pretended_polling(root: Path) -> Up:
    """The same, over commands that do nothing."""
    up = _kept(FakeUp(root, **{**_SETTINGS, "poll": 1}))
    manifest = up.work.sample.manifest
    manifest.write_text(manifest.read_text() + "\nunit: commit\n")
    return up


def _kept(up: FakeUp) -> FakeUp:
    (up.fake / "keep-all").touch()
    return up


def _with_secret(up: Up) -> Up:
    (up.home / "master").mkdir(parents=True)
    write_secret(up.home / "master", "hook-plain", SECRET)
    return up


class Burst:
    """A master whose first run is over, so that each push adds to it."""

    def __init__(self, up: Up) -> None:
        self.up = up
        self.cheap = up.work if isinstance(up.work, Cheap) else None
        self.names = NAMES if self.cheap else PRETENDED
        up.wait(lambda: up.seen() >= len(NAMES), "all repositories were seen")
        first = up.ledger.pushes.get(int(up.work.json("push", self.names[0])["id"]))
        up.wait_ended(first)

    def repo(self, name: str) -> GitRepo:
        """Find the repository of a component."""
        return GitRepo(
            self.cheap.sources / name if self.cheap else self.up.work.sample.repository(name)
        )

    def push(self, count: int, chance: random.Random) -> list[Pushed]:
        """Push one commit after the other."""
        made = []
        for number in range(count):
            name = chance.choice(self.names)
            repo = self.repo(name)
            before = repo.git("rev-parse", "HEAD")
            if self.cheap:
                self.cheap.change(name)
            else:
                repo.commit(f"{number}", NEWS=f"{number}\n")
            made.append((name, before, repo.git("rev-parse", "HEAD")))
        return made

    def send(self, push: Pushed) -> None:
        """Send the hook of a push."""
        name, before, after = push
        told = {"url": str(self.repo(name).path), "ref": "refs/heads/master"}
        body = json.dumps({**told, "before": before, "after": after}).encode()
        sign = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        code, text = self.up.post("change_hook/plain", body, X_Ostci_Signature=f"sha256={sign}")
        assert code == 200, text

    @contextmanager
    def ledger_held(self) -> Iterator[None]:
        """Keep all others from writing into the ledger."""
        with closing(sqlite3.connect(self.up.root / "ledger.sqlite", timeout=60)) as other:
            other.execute("begin immediate")
            yield
            other.rollback()

    def check(self, made: Sequence[Pushed], *, ordered: bool, attempts: int = 1) -> None:
        """Wait for the end of all, and check that none is lost or doubled and each has its place.

        Not ``ordered``: those of one component are in order, others may come between them. Each
        took so many ``attempts`` at most.
        """
        up = self.up
        began = time.monotonic()
        up.wait(lambda: len(self.pushes()) >= len(made), "all were seen", within_s=60 + len(made))
        up.wait_ended(*self.pushes(), within_s=_LONG_S)
        up.wait(lambda: up.get("builds?complete=false")["builds"] == [], "all builds are over")
        pushes = self.pushes()
        self.tell(pushes, time.monotonic() - began)
        found = [(push.component, push.before, push.after) for push in pushes]
        if ordered:
            assert found == list(made)
        for name in self.names:
            mine = [one for one in made if one[0] == name]
            assert [one for one in found if one[0] == name] == mine
        assert {push.state for push in pushes} == {PushState.DONE}
        assert {push.attempts for push in pushes} <= {*range(1, attempts + 1)}
        runs = [push.run for push in pushes]
        assert len(set(runs)) == len(made) and None not in runs
        if self.cheap:
            self.cheap.check_line(up.ledger.pushes.newest(10_000))
            snapshots = {str(self.cheap.record(str(run))["snapshot"]) for run in runs}
            assert len(snapshots) == len(made)

    def pushes(self) -> list[Push]:
        """List those of the burst, as far as they are recorded."""
        return self.up.ledger.pushes.newest(10_000)[1:]

    def tell(self, pushes: Sequence[Push], seconds: float) -> None:
        """Print, to pytest, a line for each push and what ``ostree log`` has of it."""
        commits = {}
        if self.cheap:
            for info in self.cheap.house().repo.history(f"{OSNAME}/compose/{TREE}"):
                commits[str(info.metadata["version"])] = info.commit
        for push in pushes:
            commit = commits.get(str(push.run), "-")
            told = f"{push.component:8} {push.before[:8]} → {push.after[:8]} by {push.via}"
            sys.stdout.write(f"push {push.id:3} {told:40} run {push.run}  commit {commit[:12]}\n")
        sys.stdout.write(f"{len(pushes)} pushes in {seconds:.1f} s\n")
