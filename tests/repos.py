# SPDX-License-Identifier: LGPL-2.1-or-later
"""Git repositories for tests, and servers of them; made with git itself."""

import os
import random
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

from pipeline.words.manifest import Source, SourceKind

ENV = {
    "PATH": os.environ["PATH"],
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.org",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.org",
    "GIT_AUTHOR_DATE": "@1700000000 +0000",
    "GIT_COMMITTER_DATE": "@1700000000 +0000",
    "GIT_ALLOW_PROTOCOL": "file",
}


@dataclass(frozen=True)
class GitRepo:
    """A repository that somebody works in."""

    path: Path

    def git(self, *argv: str, input: bytes | None = None) -> str:
        """Run git in it."""
        done = subprocess.run(
            ["git", *argv], cwd=self.path, env=ENV, input=input, capture_output=True
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().rstrip("\n")

    def commit(self, subject: str, **files: str) -> str:
        """Write files (``_`` in a name stands for a dot) and commit; tells the revision."""
        for name, text in files.items():
            (self.path / name.replace("_", ".")).write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def patch(self, **files: str) -> bytes:
        """Make a patch as ``git format-patch`` does; the repository stays as it was."""
        self.commit("a patch", **files)
        text = self.git("format-patch", "-1", "--stdout", "--full-index") + "\n"
        self.git("reset", "--quiet", "--hard", "HEAD^")
        return text.encode()

    def add_submodule(self, url: str, path: str) -> None:
        """Add a submodule under the URL as it stands, and commit."""
        self.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", url, path)
        self.git("commit", "--quiet", "-m", f"add {path}")


def git_repo(path: Path, **files: str) -> GitRepo:
    """Make a repository with one commit on ``main``."""
    path.mkdir(parents=True)
    made = GitRepo(path)
    made.git("init", "--quiet", "--initial-branch=main")
    made.commit("first", **(files or {"file_txt": "one\n"}))
    return made


def git_source(where: GitRepo | str, **given: Any) -> Source:
    """Name a repository as a manifest does."""
    location = where if isinstance(where, str) else str(where.path)
    return Source(kind=SourceKind.GIT, location=location, **(given or {"branch": "main"}))


@contextmanager
def http_server(directory: Path) -> Iterator[str]:
    """Serve files; tells the URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


@contextmanager
def git_daemon(directory: Path) -> Iterator[str]:
    """Serve repositories by git's own protocol; tells the URL."""
    port = closed_port()
    argv = ["git", "daemon", "--export-all", "--reuseaddr", "--listen=127.0.0.1"]
    argv += [f"--port={port}", f"--base-path={directory}", str(directory)]
    with subprocess.Popen(argv, env=ENV, stderr=subprocess.DEVNULL) as daemon:
        try:
            _wait_for(port)
            yield f"git://127.0.0.1:{port}"
        finally:
            subprocess.run(["pkill", "-P", str(daemon.pid)], check=False)
            daemon.kill()


def _wait_for(port: int) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError("git daemon does not answer")


def closed_port() -> int:
    """Tell a port where nobody listens, and that nobody is given who asks for any."""
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for _ in range(100):
        found = random.SystemRandom().randrange(lowest // 2, lowest)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", found))
            return found
    raise AssertionError("all ports are taken")


def wait_until(happened: Callable[[], bool], within_s: float = 300.0) -> None:
    """Wait for a fact of another process."""
    until = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


@dataclass
class Stalling:
    """A server that falls silent amid an answer until it is let go."""

    url: str
    let_go: Event
    is_silent: Event
    connections: int = 0


@contextmanager
def stalling(url: str, after: int = 300_000) -> Iterator[Stalling]:
    """Stand before a server of git; after so many bytes of an answer nothing comes any more."""
    scheme, _, address = url.partition("://")
    port = int(address.rpartition(":")[2])
    state = Stalling(url="", let_go=Event(), is_silent=Event())

    class Between(StreamRequestHandler):
        def handle(self) -> None:
            state.connections += 1
            with socket.create_connection(("127.0.0.1", port)) as server:
                Thread(target=_pass_on, args=(self.connection, server), daemon=True).start()
                _pass_on(server, self.connection, after, state)

    with ThreadingTCPServer(("127.0.0.1", 0), Between) as between:
        between.daemon_threads = True
        Thread(target=between.serve_forever, daemon=True).start()
        state.url = f"{scheme}://127.0.0.1:{between.server_address[1]}"
        try:
            yield state
        finally:
            state.let_go.set()
            between.shutdown()


def _pass_on(
    one: socket.socket, other: socket.socket, after: int = 0, state: Stalling | None = None
) -> None:
    passed = 0
    with suppress(OSError):  # either side may have gone
        while data := one.recv(1 << 15):
            other.sendall(data)
            passed += len(data)
            if state is not None and passed > after:
                state.is_silent.set()
                state.let_go.wait(60)
        other.shutdown(socket.SHUT_WR)
