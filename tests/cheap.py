# SPDX-License-Identifier: LGPL-2.1-or-later
"""The cheapest OS there is: busybox as its base, components that are shell commands; never booted.

For what the command line does with several runs and several processes at once. A run of it ends
at the disk, for there is no kernel; its trees are real.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import pytest

from pipeline.cli.house import init
from pipeline.ports import process
from pipeline.words.push import Push
from pipeline.words.run import place_of
from tests.repos import GitRepo, wait_until
from tests.work import TOP, Work, kill_all

OSNAME = "cheap"
TREE = "x86_64-runtime"
_END_S = 600.0
NO_KERNEL = 1
"""How a run ends that came as far as it can."""
_BUSYBOX = Path("/bin/busybox")
_APPLETS = ("sh", "cat", "cp", "echo", "env", "ls", "mkdir", "mv", "rm", "sleep", "true", "uname")
_WALLS = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What a worker of the master has round each of its commands."""


class Cheap(Work):
    """A work directory; each component takes as many seconds to build as its source says."""

    def __init__(self, root: Path, **seconds: float) -> None:
        if not _BUSYBOX.is_file():
            pytest.skip("there is no /bin/busybox to make a base of")
        self.root = root / "work"
        self.sources = root / "git"
        self._versions = self._started = 0
        self._files: dict[int, Path] = {}
        self.children: list[subprocess.Popen[bytes]] = []
        self._make_base(root / "rootfs.tar")
        for name, after_s in seconds.items():
            self.change(name, after_s)
        manifest = root / "cheap.yaml"
        manifest.write_text(json.dumps(self._manifest(tuple(seconds))))
        init(self.root, manifest)

    @classmethod
    def composed(cls, root: Path, **seconds: float) -> Self:
        """Make one of which a run has composed."""
        made = cls(root, **seconds)
        made.ostci("run", code=NO_KERNEL)
        return made

    def _make_base(self, path: Path) -> None:
        with tarfile.open(path, "w") as archive:
            archive.add(_BUSYBOX, "usr/bin/busybox")
            for name in _APPLETS:
                link = tarfile.TarInfo(f"usr/bin/{name}")
                link.type, link.linkname = tarfile.SYMTYPE, "busybox"
                archive.addfile(link)
            for name, to in (("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")):
                link = tarfile.TarInfo(name)
                link.type, link.linkname = tarfile.SYMTYPE, to
                archive.addfile(link)

    def _manifest(self, names: tuple[str, ...]) -> dict[str, Any]:
        commands = ["sh ./build.sh"]
        return {
            "osname": OSNAME,
            "base": {
                "name": "busybox",
                "tar": {"runtime": {"file": "./rootfs.tar"}},
                "initramfs": "none",
            },
            "components": [
                {"src": f"git:./git/{name}", "build": {"commands": commands}, "depends": []}
                for name in names
            ],
            "targets": {"runtime": {}},
        }

    def change(self, name: str, after_s: float = 0.0, *, fails: bool = False) -> None:
        """Push to a component something new, which takes so long to build, or fails then."""
        repo = GitRepo(self.sources / name)
        if not repo.path.is_dir():
            repo.path.mkdir(parents=True)
            repo.git("init", "--quiet", "--initial-branch=master")
        self._versions += 1
        lines = [
            f"sleep {after_s}",
            "exit 1" if fails else "mkdir -p $DESTDIR/usr/share/cheap",
            f"echo {self._versions} > $DESTDIR/usr/share/cheap/{name}",
        ]
        repo.commit(f"{self._versions}", build_sh="\n".join([*lines, ""]))

    def start(self, *words: str, apart: bool = False) -> "subprocess.Popen[bytes]":
        """Start a command as the leader of a session; ``apart``: in a process namespace, too."""
        self._started += 1
        walls = _WALLS if apart else ()
        with (self.root.parent / f"said-{self._started}.txt").open("wb") as file:
            child = subprocess.Popen(
                [*walls, *self.argv(*words)],
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=TOP,
            )
        self.children.append(child)
        self._files[child.pid] = Path(file.name)
        return child

    def end_cancelled(self, child: "subprocess.Popen[bytes]") -> None:
        """Wait for a command that is cancelled: it ends by itself, or is killed on a busy host."""
        assert self.end_of(child) in (130, -signal.SIGKILL)

    def end_of(self, child: "subprocess.Popen[bytes]") -> int:
        """Wait for a command that was started; tells its code, and (to pytest) what it wrote."""
        code = child.wait(_END_S)
        sys.stdout.write(f"{child.args!r} ended with {code}:\n")
        sys.stdout.write(self._files[child.pid].read_text())
        return code

    def said(self, child: "subprocess.Popen[bytes]") -> str:
        """Tell what a command has written so far that was started."""
        return self._files[child.pid].read_text()

    def kill_children(self) -> None:
        """Kill every command that was started and has not ended."""
        kill_all(self.children)

    def wake(self, *children: "subprocess.Popen[bytes]") -> None:
        """End the sleep of a component that one of these builds, as if its time were over."""
        wait_until(lambda: any(self._wake(child) for child in children))

    def _wake(self, child: "subprocess.Popen[bytes]") -> bool:
        found = False
        for pid, _ in process.descendants(child.pid):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep\0"):
                    os.kill(pid, signal.SIGKILL)
                    found = True
        return found

    def log_of(self, version: str) -> str:
        """Tell the log of a run so far."""
        path = self.house().workdir.run(version).log
        return path.read_text() if path.is_file() else ""

    def wait_for(self, version: str, text: str, within_s: float = 300.0) -> None:
        """Wait until a run's log says something."""
        until = time.monotonic() + within_s
        while text not in self.log_of(version):
            assert time.monotonic() < until, f"no {text!r} in\n{self.log_of(version)}"
            time.sleep(0.05)

    def wait_for_run(self, but: tuple[str, ...] = (), within_s: float = 300.0) -> str:
        """Wait until there is one more run, with a record; tells its version."""
        workdir, until = self.house().workdir, time.monotonic() + within_s
        while True:
            for version in workdir.versions():
                if version not in but and workdir.run(version).file("run").is_file():
                    return version
            assert time.monotonic() < until, "no run was begun"
            time.sleep(0.05)

    def line(self) -> list[str]:
        """List the versions on the ``compose`` ref, oldest first."""
        history = self.house().repo.history(f"{OSNAME}/compose/{TREE}")
        return [str(info.metadata["version"]) for info in history][::-1]

    def record(self, version: str) -> dict[str, object]:
        """Read a run's record."""
        found: dict[str, object] = json.loads(
            self.house().workdir.run(version).file("run").read_text()
        )
        return found

    def processes_below(self, pid: int) -> list[tuple[int, str]]:
        """List all that a process has started, and it itself, whatever session they are in."""
        return [(pid, process.start_time(pid)), *process.descendants(pid)]

    def check_line(self, pushes: Sequence[Push]) -> None:
        """Check that each push has a run and a commit on ``compose`` of its own, in push order."""
        runs = [str(push.run) for push in pushes]
        assert sorted(set(runs), key=place_of) == runs, runs
        commits = list(self.house().repo.history(f"{OSNAME}/compose/{TREE}"))[::-1]
        assert [info.metadata["version"] for info in commits] == runs, pushes
        for push, info in zip(pushes, commits, strict=True):
            found = json.loads(str(info.metadata["ostci.components"]))
            assert found[push.component] == push.after, push


class CheapByCommit(Cheap):
    """The same, of which every git commit is a push."""

    def _manifest(self, names: tuple[str, ...]) -> dict[str, Any]:
        return {**super()._manifest(names), "unit": "commit"}
