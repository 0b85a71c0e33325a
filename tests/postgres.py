# SPDX-License-Identifier: LGPL-2.1-or-later
"""A PostgreSQL of our own, for as long as a test session takes: a process and a directory."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

_START_S = 120.0


def missing() -> str:
    """Tell what is not here that it takes; empty where all is."""
    if _programs() is None:
        return "there is no PostgreSQL (Debian: postgresql)"
    return "" if find_spec("psycopg2") else "there is no psycopg2"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


@dataclass
class Server:
    """A server that listens on a socket in its directory alone."""

    directory: Path
    databases: int = 0

    def url(self, database: str) -> str:
        """Name a database."""
        return f"postgresql+psycopg2://ostci@/{database}?host={self.directory}"

    def new_database(self) -> str:
        """Make an empty database; tells its URL."""
        self.databases += 1
        name = f"test{self.databases}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql(f"create database {name}")
        engine.dispose()
        return self.url(name)


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server, as a user of its own where we are root: it refuses to be root."""
    programs = _programs()
    assert programs is not None
    directory = Path(tempfile.mkdtemp(prefix="ostci-pg-"))
    data = directory / "data"
    become: list[str] = []
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(directory, nobody.pw_uid, nobody.pw_gid)
        become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}"]
        become += ["--clear-groups", "--pdeathsig=INT"]
    try:
        init = [*become, str(programs / "initdb"), "-D", str(data), "-U", "ostci", "-A", "trust"]
        done = subprocess.run([*init, "-N"], capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stderr
        argv = [*become, str(programs / "postgres"), "-D", str(data), "-k", str(directory)]
        argv += ["-c", "listen_addresses=", "-c", "fsync=off"]
        with subprocess.Popen(argv, cwd="/", stderr=subprocess.DEVNULL) as child:
            try:
                server = Server(directory)
                _wait_for(server, child)
                yield server
            finally:
                # SIGTERM would wait for whoever is still connected, for ever.
                child.send_signal(signal.SIGINT)
    finally:
        shutil.rmtree(directory)


def _wait_for(server: Server, child: "subprocess.Popen[bytes]") -> None:
    engine = create_engine(server.url("postgres"))
    until = time.monotonic() + _START_S
    while True:
        assert child.poll() is None, f"PostgreSQL ended with {child.returncode}"
        try:
            engine.connect().close()
        except OperationalError:
            assert time.monotonic() < until, "PostgreSQL does not answer"
            time.sleep(0.05)
        else:
            break
    engine.dispose()
