# SPDX-License-Identifier: LGPL-2.1-or-later
"""The demo's Buildbot: ``ostci up`` on its work directory, told of pushes by a hook of git's.

What becomes of a push is read from the ledger and from its run's directory, as a person would;
the page is asked for nothing but the address of a run.
"""

import json
import secrets
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pipeline.cli.demo_told import Told
from pipeline.cli.follow import Followed
from pipeline.cli.house import House
from pipeline.cli.record import read_record
from pipeline.ports import process
from pipeline.ports.master_home import answers, free_port
from pipeline.ports.master_settings import write_secret
from pipeline.words.errors import Failed, Trouble
from pipeline.words.push import MANIFEST, Push, PushState
from pipeline.words.run import RunRecord

T = TypeVar("T")
_SECRET = "hook-plain"
_LOOK_S = 0.2
_GRACE_S = 30.0
_ANSWER_S = 10.0
_TAIL_LINES = 20

HOOK = """\
#!{python}
# Git starts this when somebody has pushed. It tells ostci, which then looks for itself.
import hashlib
import hmac
import json
import os
import pathlib
import tomllib
import urllib.request

master = pathlib.Path({master!r})
secret = (master / "secrets" / "{secret}").read_bytes()
port = tomllib.loads((master / "master.toml").read_text())["port"]
body = json.dumps({{"url": os.getcwd()}}).encode()
sign = hmac.new(secret, body, hashlib.sha256).hexdigest()
request = urllib.request.Request(
    f"http://127.0.0.1:{{port}}/change_hook/plain",
    data=body,
    headers={{"X-Ostci-Signature": f"sha256={{sign}}"}},
)
try:
    urllib.request.urlopen(request, timeout=10)
    print("ostci was told")
except OSError as error:
    print(f"ostci was not told, and sees it in its next round: {{error}}")
"""


class Buildbot:
    """``ostci up``, as long as the ``with`` of ``up`` goes on."""

    def __init__(self, house: House, told: Told) -> None:
        self.house = house
        self.told = told
        self.port = free_port()
        self._master = house.workdir.root / "buildbot" / "master"
        self._log = house.workdir.root.parent / "up.log"
        self._child: process.Child | None = None

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def hook(self) -> str:
        """Make a secret and write the program that tells of a push with it."""
        self._master.mkdir(parents=True)
        write_secret(self._master, _SECRET, secrets.token_hex(16))
        return HOOK.format(python=sys.executable, master=str(self._master), secret=_SECRET)

    @contextmanager
    def up(self) -> Iterator[None]:
        """Have master and worker for the length of the ``with``."""
        ostci = [sys.executable, "-m", "pipeline.cli.main", "-C", str(self.house.workdir.root)]
        argv = [*ostci, "up", "--port", str(self.port), "--worker-port", "0"]
        with (
            self._log.open("wb") as said,
            process.start(
                argv, log=self.house.log, stdout=said, stderr=said, grace_s=_GRACE_S
            ) as self._child,
        ):
            with self.told.waiting("Buildbot starts"):
                self.wait(lambda: answers(self.port) or None)
            yield

    def wait(self, fact: Callable[[], T | None]) -> T:
        """Wait until a fact is there; raises Trouble where master and worker are not any more."""
        assert self._child is not None
        while (found := fact()) is None:
            code = self._child.poll()
            if code is not None:
                last = self._log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
                what = f"ostci up ended with {process.describe_code(code)}"
                raise Trouble("\n".join([what, *last]), where=str(self._log))
            threading.Event().wait(_LOOK_S)
        return found

    def wait_watched(self, component: str) -> None:
        """Wait until a repository was looked at: what is pushed before is no news."""
        place = f"/{component}"
        with self.told.waiting("all repositories are looked at"):
            heads = self.house.ledger.pushes.heads
            self.wait(lambda: any(url.endswith(place) for url, _ in heads()) or None)

    def follow_manifest(self) -> RunRecord:
        """Go along with the run of the manifest's push."""
        return self._follow(lambda push: push.component == MANIFEST, "")

    def follow(self, revision: str) -> RunRecord:
        """Go along with the run of what was just pushed."""
        began = time.monotonic()
        with self.told.waiting("the push is seen"):
            push = self.wait(lambda: self._find(lambda one: one.after == revision))
        seconds = time.monotonic() - began
        seen = f"seen by {push.via} {seconds:.1f} s after git push, "
        return self._follow(lambda one: one.id == push.id, seen)

    def _find(self, wanted: Callable[[Push], bool]) -> Push | None:
        found = [push for push in self.house.ledger.pushes.newest(100) if wanted(push)]
        return found[-1] if found else None

    def _follow(self, wanted: Callable[[Push], bool], seen: str) -> RunRecord:
        with self.told.waiting("its run begins"):
            push = self.wait(lambda: _with_run(self._find(wanted)))
        assert push.run is not None
        run = self.house.workdir.run(push.run)
        self.told.fact(f"push {push.id} {seen}is run {run.version}   {self._page_of(push)}")
        followed = Followed(run, self.told.sink.running)

        def ended() -> Push | None:
            for one in followed.look():
                self.told.done(one)
            found = self.house.ledger.pushes.get(push.id)
            return None if found.is_open else found

        over = self.wait(ended)
        for one in (*followed.look(), *followed.look()):
            self.told.done(one)
        if over.state is not PushState.DONE:
            raise Failed(f"push {over.id} ended as {over.state}: {over.message}", where=run.version)
        return read_record(run)

    def _page_of(self, push: Push) -> str:
        """Find the page of a push's build."""
        asked = f"{self.url}api/v2/builders/run/builds?property=push&order=-number&limit=20"
        with urllib.request.urlopen(asked, timeout=_ANSWER_S) as answer:
            builds = json.load(answer)["builds"]
        for build in builds:
            if build["properties"].get("push", [None])[0] == push.id:
                return f"{self.url}#/builders/{build['builderid']}/builds/{build['number']}"
        return self.url


def _with_run(push: Push | None) -> Push | None:
    return push if push is not None and push.run else None
