# SPDX-License-Identifier: LGPL-2.1-or-later
"""The first process of ``manifests/tiny``, as it is, in a sandbox of its own instead of a machine.

It is the first process of a namespace that has nothing but this machine's ``/usr``, the services
that a test gives it, and a pipe in the place of the host's port. It may do nothing there that a
kernel would do for everybody: it has no right to mount or to turn anything off.
"""

import os
import select
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.journal import Entry, Lines, parse_entry
from tests.machines import MANIFESTS

_DEADLINE_S = 60.0
_PORT = "vport0p1"
# What the program needs of this machine; a directory that programs are linked from as well.
_WALLS = (
    *("bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--as-pid-1"),
    *("--uid", "0", "--gid", "0", "--clearenv"),
    *(
        "--ro-bind",
        "/usr",
        "/usr",
        "--symlink",
        "usr/bin",
        "/bin",
        "--symlink",
        "usr/sbin",
        "/sbin",
    ),
    *("--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/sys", "--tmpfs", "/run", "--dir", "/var"),
)


class TinyInit:
    """One that runs: what comes from its port, and what it keeps of its journal."""

    def __init__(self, child: process.Child, port: int, top: Path) -> None:
        self.entries: list[Entry] = []
        """What has come and was an entry, in its order."""
        self.garbage = 0
        """Lines that were no entries."""
        self.received = 0
        """Bytes that have come."""
        self.shared = top / "shared"
        """A directory that services see as ``/shared``."""
        self.kept = top / "log/journal.json"
        """The file of its journal."""
        self._child, self._port, self._lines = child, port, Lines()

    def wait(self, look: Callable[[], bool], what: str, *, reading: bool = True) -> None:
        """Wait until something is so; what comes from the port is read meanwhile, or left there."""
        until = time.monotonic() + _DEADLINE_S
        while not look():
            assert time.monotonic() < until, f"waited in vain for {what}"
            assert self._child.poll() is None, f"it ended before {what}"
            select.select([self._port] if reading else [], [], [], 0.05)
            if reading:
                self._read()

    def said(self, name: str) -> list[str]:
        """List what a service has said."""
        return [one.message for one in self.entries if one.get("SYSLOG_IDENTIFIER") == name]

    def has_said(self, name: str, text: str) -> bool:
        """Tell whether a line of a service has this in it."""
        return any(text in line for line in self.said(name))

    def _read(self) -> None:
        try:
            data = os.read(self._port, 1 << 20)
        except BlockingIOError:
            return
        self.received += len(data)
        for line in self._lines.feed(data):
            entry = parse_entry(line)
            if entry is not None:
                self.entries.append(entry)
            elif line.strip():
                self.garbage += 1


def compiled(into: Path, *, log: Log) -> Path:
    """Compile it in a new directory, as its component is."""
    shutil.copytree(MANIFESTS / "tiny/init", into)
    process.run(["make", "-C", into, "init"], log=log, deadline_s=120.0)
    return into / "init"


@contextmanager
def running(
    init: Path, services: Mapping[str, str], top: Path, *, room: int = 0, log: Log
) -> Iterator[TinyInit]:
    """Run it in a directory of its own with services: a name, and the script that it is.

    With ``room`` its journal has no more bytes than that, and cannot be seen from here.
    """
    for name in ("services", "shared", "log"):
        (top / name).mkdir(parents=True, exist_ok=True)
    for name, script in services.items():
        (top / f"shared/{name}").write_text(script)
        line = f"simple wanted /bin/sh /shared/{name}\n"
        (top / f"services/{name}.service").write_text(line)
    (top / "name").write_text("org.ostci.journal.0\n")
    os.mkfifo(top / "port")
    port = os.open(top / "port", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with (
            (top / "console").open("wb") as console,
            process.start(
                _argv(init, top, room), log=log, stdout=console, stderr=console, grace_s=0.0
            ) as child,
        ):
            yield TinyInit(child, port, top)
    finally:
        os.close(port)


def _argv(init: Path, top: Path, room: int) -> list[str | Path]:
    kept: tuple[str | Path, ...] = ("--bind", top / "log", "/run/log")
    return [
        *_WALLS,
        *("--ro-bind", init, "/init", "--ro-bind", top / "services", "/etc/tiny/services"),
        *("--ro-bind", top / "name", f"/sys/class/virtio-ports/{_PORT}/name"),
        *("--bind", top / "port", f"/dev/{_PORT}", "--bind", top / "shared", "/shared"),
        *(("--size", str(room), "--tmpfs", "/run/log") if room else kept),
        *("--", "/init"),
    ]
