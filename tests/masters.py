# SPDX-License-Identifier: LGPL-2.1-or-later
"""A real master and worker under ``ostci up``, and their page asked over HTTP."""

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.ports.files import write_text
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_place import read_ledger_url
from pipeline.ports.process import descendants
from pipeline.ports.remote_settings import AWAY
from pipeline.ports.workdir import Workdir
from pipeline.words.push import NewPush, Push
from tests.work import TINY, TOP, Work, is_alive

_LOOK = "watch "
RESULTS = ("success", "warnings", "failure", "skipped", "exception", "retry", "cancelled")
# Whoever fails waits so long, nobody else: a busy host takes ten times what a quiet one does.
_UP_S = 300.0
_DONE_S = 300.0
_DEAD_S = 60.0
_ANSWER_S = 60.0


class Up:
    """``ostci up`` on a work directory, for the length of a ``with``."""

    def __init__(
        self, root: Path, *, work: Work | None = None, ledger: str = "", **settings: object
    ) -> None:
        self.work = work or Work(TINY, root)
        self.root = self.work.root
        self.home = self.root / "buildbot"
        self.process: subprocess.Popen[bytes] | None = None
        with (self.root / "ostci.toml").open("a") as file:
            file.write(f"ledger = {_toml(ledger)}\n[master]\n" if ledger else "[master]\n")
            file.writelines(f"{key} = {_toml(value)}\n" for key, value in settings.items())
        self.ledger = Ledger(read_ledger_url(Workdir(self.root)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            for name in ("master", "worker"):
                path = self.home / name / "twistd.log"
                text = path.read_text(errors="replace") if path.is_file() else ""
                sys.stderr.write(f"\n--- {name}\n" + "\n".join(text.splitlines()[-60:]) + "\n")
        self.stop()
        self.ledger.close()

    def start(self) -> None:
        """Start it and wait until the page answers and a worker is there."""
        self.process = subprocess.Popen(
            self.argv("up", "--port", "0", "--worker-port", "0"),
            stdout=subprocess.DEVNULL,
            stderr=(self.root.parent / "up.log").open("a"),
            start_new_session=True,
            cwd=TOP,
        )
        self.wait(self.is_up, "the master is up", within_s=_UP_S)

    def argv(self, *words: str) -> list[str]:
        """Write a command."""
        return self.work.argv(*words)

    def is_up(self) -> bool:
        """Tell whether the page answers and all slots of this machine are there."""
        assert self.process is not None
        assert self.process.poll() is None, (self.root.parent / "up.log").read_text()
        try:
            workers = self.get("workers")["workers"]
        except (OSError, KeyError, FileNotFoundError):
            return False
        ours = [one for one in workers if not one["name"].startswith(AWAY)]
        return bool(ours) and all(one["connected_to"] for one in ours)

    def stop(self) -> int | None:
        """End it as Ctrl-C does; nothing of it is alive afterwards."""
        if self.process is None or self.process.poll() is not None:
            return None
        below = descendants(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        # What a dying parent takes with it is dead a moment later than the parent.
        self.wait(
            lambda: not any(is_alive(one) for one in below),
            "nothing that ostci up started is alive",
            within_s=_DEAD_S,
        )
        return code

    def pid_of(self, name: str) -> int:
        """Find the process of the ``master`` or the ``worker``."""
        assert self.process is not None
        mark = str(self.home / name / "buildbot.tac")
        for pid, _ in descendants(self.process.pid):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(mark in word for word in words):
                return pid
        raise AssertionError(f"there is no {name}")

    def kill(self, name: str) -> None:
        """Kill the ``master`` or the ``worker``, as the machine's lack of memory would."""
        pid = self.pid_of(name)
        os.kill(pid, signal.SIGKILL)
        self.wait(lambda: not Path(f"/proc/{pid}").exists(), f"{name} is dead")

    def log_of(self, name: str) -> str:
        """Read the log of the ``master`` or the ``worker``."""
        return (self.home / name / "twistd.log").read_text(errors="replace")

    @property
    def url(self) -> str:
        """The address of the page."""
        place = tomllib.loads((self.home / "master" / "master.toml").read_text())
        return f"http://127.0.0.1:{place['port']}/"

    def get(self, path: str) -> Any:
        """Ask the page's data."""
        for again in (True, False):
            try:
                with urllib.request.urlopen(
                    f"{self.url}api/v2/{path}", timeout=_ANSWER_S
                ) as answer:
                    return json.load(answer)
            except http.client.IncompleteRead:
                # Seen once in some hundred answers of a busy Buildbot: a head without its body.
                if not again:
                    raise
        raise AssertionError

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        """Send something to the page; tells code and text of the answer."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.url + path, data=body, headers=sent, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def control(
        self, path: str, *, user: str = "", password: str = "", **params: object
    ) -> tuple[int, Any]:
        """Ask the page for what changes something, such as ``builds/1 stop``, as a user or nobody.

        Tells code and answer.
        """
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        if user:
            key = b64encode(f"{user}:{password}".encode()).decode()
            headers = {"Authorization": f"Basic {key}"}
            login = urllib.request.Request(f"{self.url}auth/login", headers=headers)
            with opener.open(login, timeout=_ANSWER_S) as answer:
                answer.read()
        what, method = path.split()
        body = {"jsonrpc": "2.0", "method": method, "id": 1, "params": params}
        wanted = urllib.request.Request(
            f"{self.url}api/v2/{what}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with opener.open(wanted, timeout=_ANSWER_S) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"null")

    def builds(self, builder: str = "run") -> list[dict[str, Any]]:
        """List the builds of a builder, oldest first; ``word`` is the result."""
        builders = {one["name"]: one["builderid"] for one in self.get("builders")["builders"]}
        if builder not in builders:
            return []
        found = self.get(f"builders/{builders[builder]}/builds?property=*&order=buildid")["builds"]
        for build in found:
            build["word"] = "" if build["results"] is None else RESULTS[build["results"]]
            build["props"] = {name: value[0] for name, value in build["properties"].items()}
        return list(found)

    def steps(self, build: dict[str, Any]) -> dict[str, str]:
        """Tell how each step of a build ended."""
        found = self.get(f"builds/{build['buildid']}/steps")["steps"]
        return {one["name"]: RESULTS[one["results"]] for one in found if one["results"] is not None}

    def logs(self, build: dict[str, Any]) -> str:
        """Tell what all steps of a build wrote."""
        told = []
        for step in self.get(f"builds/{build['buildid']}/steps")["steps"]:
            for log in self.get(f"steps/{step['stepid']}/logs")["logs"]:
                for chunk in self.get(f"logs/{log['logid']}/contents")["logchunks"]:
                    told.append(f"--- {step['name']} {log['name']}\n{chunk['content']}")
        return "\n".join(told)

    def push(self, component: str = "greeting", after: str = "a" * 40) -> Push:
        """Write a push down as a person would with ``ostci push``."""
        new = NewPush(
            component=component, url="/srv/git", branch="master", before="0" * 40, after=after
        )
        return self.ledger.pushes.add(new)

    def seen(self) -> int:
        """Count the branches that were seen: what a change of them is, is known from then on."""
        return sum(not branch.endswith(":") for _, branch in self.ledger.pushes.heads())

    def wait(self, fact: Callable[[], bool], what: str, *, within_s: float = _DONE_S) -> None:
        """Wait for a fact."""
        until = time.monotonic() + within_s
        while not fact():
            assert time.monotonic() < until, f"not within {within_s:.0f} s: {what}"
            time.sleep(0.1)

    def wait_ended(self, *pushes: Push, within_s: float = _DONE_S) -> list[Push]:
        """Wait until pushes have an ending."""

        def ended() -> bool:
            return not any(self.ledger.pushes.get(push.id).is_open for push in pushes)

        self.wait(ended, f"pushes {[push.id for push in pushes]} end", within_s=within_s)
        return [self.ledger.pushes.get(push.id) for push in pushes]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


class FakeUp(Up):
    """The same with a pretended ``ostci`` on the worker's path."""

    def __init__(self, root: Path, **settings: object) -> None:
        self.fake = root / "fake"
        self.fake.mkdir(parents=True)
        script = self.fake / "ostci"
        module = TOP / "tests" / "master" / "fake_ostci.py"
        script.write_text(
            f"#!/bin/sh\nPYTHONPATH={TOP} FAKE_OSTCI={self.fake} "
            f'exec {sys.executable} {module} "$@"\n'
        )
        script.chmod(0o755)
        path = f"{self.fake}:/usr/bin:/bin"
        given: dict[str, Any] = {"path": path, "reconcile": 1, "slots": 2, "runs": 2, **settings}
        super().__init__(root, **given)

    def tell(self, verb: str, *codes: object) -> None:
        """Say how the next commands of a verb end: exit codes, ``hang``, ``silent`` or ``held-3``.

        What is held ends with that code as soon as it is ``let_go``.
        """
        # A command takes the first line of the file away: it never sees half of it.
        write_text(self.fake / f"exit-{verb}", "".join(f"{code}\n" for code in codes))

    def let_go(self) -> None:
        """End what is held."""
        (self.fake / "go").touch()

    def calls(self) -> list[str]:
        """List the commands of runs that were given, oldest first.

        When the master looks at base and manifest is its own affair, and may be at any moment.
        """
        return [call for call in self._written() if not call.startswith(_LOOK)]

    def looks(self) -> int:
        """Count the looks at base and manifest."""
        return sum(call.startswith(_LOOK) for call in self._written())

    def _written(self) -> list[str]:
        path = self.fake / "calls"
        return path.read_text().splitlines() if path.is_file() else []
