# SPDX-License-Identifier: LGPL-2.1-or-later
"""A sample OS in a work directory of its own, driven by the command ``ostci`` as a person would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from pipeline.cli.house import House, init
from pipeline.cli.passage import Passage
from pipeline.cli.results import Disks, Trees
from pipeline.cli.sample import Sample
from pipeline.cli.story import Push, Story, read_story
from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.promote import violations
from pipeline.stages.test import TestRequest
from pipeline.words.targets import target_of

TOP = Path(__file__).resolve().parents[1]
TINY = TOP / "manifests" / "tiny.yaml"
DEBIAN = TOP / "manifests" / "debian.yaml"
_HOUR_S = 3600.0


@dataclass(frozen=True, kw_only=True)
class Said:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str
    seconds: float


def ostci_argv(root: Path | None, *words: str) -> list[str]:
    """Write a command for a work directory; None: for the one that it is given in."""
    place = () if root is None else ("-C", str(root))
    return [sys.executable, "-m", "pipeline.cli.main", *place, *words]


def run_ostci(
    root: Path | None,
    *words: str,
    code: int | None = 0,
    cwd: Path = TOP,
    env: Mapping[str, str] | None = None,
    within_s: float = _HOUR_S,
) -> Said:
    """Give a command that has to end with a code; None: with any."""
    began = time.monotonic()
    done = subprocess.run(
        ostci_argv(root, *words),
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        cwd=cwd,
        env=env,
    )
    said = Said(
        code=done.returncode,
        out=done.stdout,
        err=done.stderr,
        seconds=time.monotonic() - began,
    )
    assert code in (None, said.code), f"{words} ended with {said.code}:\n{said.out}\n{said.err}"
    return said


class Work:
    """A work directory for a sample, below ``root``."""

    def __init__(self, manifest: Path, root: Path) -> None:
        self.root = root / "work"
        self.story: Story = read_story(manifest)
        self.sample = Sample(root / "sample", log=Log())
        self.sample.make(manifest)
        init(self.root, self.sample.manifest)

    def argv(self, *words: str) -> list[str]:
        """Write a command."""
        return ostci_argv(self.root, *words)

    def ostci(self, *words: str, code: int = 0, within_s: float = _HOUR_S) -> Said:
        """Give a command that has to end with a code."""
        return run_ostci(self.root, *words, code=code, within_s=within_s)

    def json(self, *words: str, code: int = 0) -> Any:
        """Give a command with ``--json`` and read what it says."""
        return json.loads(self.ostci(*words, "--json", code=code).out)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command, as the leader of a session of its own."""
        return subprocess.Popen(
            self.argv(*words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd=TOP,
        )

    def push(self, push: Push) -> str:
        """Commit one edit of the sample's story."""
        self.sample.edit(push.component, push.file, push.old, push.new)
        return self.sample.push(push.component, push.subject)

    def house(self) -> House:
        """Open the work directory."""
        return House(self.root, log=Log())

    def request(self, target: str, suite: str, into: Path) -> TestRequest:
        """Ask for one of the tests' own suites on a tree of the last run that made disks."""
        house = self.house()
        passage = Passage(house, house.last_run("disks"))
        [tree] = [one for one in passage.read("trees", Trees).trees if one.target == target]
        return TestRequest(
            run=passage.run.version,
            tree=tree,
            target=target_of(passage.manifest, tree.target),
            disk=passage.read("disks", Disks).disks[tree.name],
            suite=suite,
            into=into,
            repo=house.workdir.repo,
            known_failing=passage.manifest.installed_tests_xfail,
            suites=TOP / "tests" / "vm" / "suites",
        )

    def heads(self) -> dict[str, str]:
        """Tell where every ``buildmaster`` ref of the archive points to."""
        refs = Repo(self.root / "archive", log=Log()).refs()
        return {str(ref): str(commit) for ref, commit in refs.items() if "/buildmaster/" in ref}

    def check_whole(self) -> None:
        """Check both repositories object by object, and the one rule."""
        house = self.house()
        for repo in (house.repo, house.archive):
            repo.fsck()
        broken = violations(repo=house.repo, archive=house.archive, ledger=house.ledger)
        house.ledger.close()
        assert broken == [], broken

    def processes(self) -> list[str]:
        """List the processes that have this work directory in their command line."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes().decode("utf-8", "replace").split("\0")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(path.parent.name) != os.getpid() and any(str(self.root) in one for one in words):
                found.append(f"{path.parent.name} {' '.join(words)[:200]}")
        return found


def files_below(top: Path) -> list[Path]:
    """List files below a directory in which others make and remove some meanwhile."""
    return [Path(at) / name for at, _, names in os.walk(top) for name in names]


@contextlib.contextmanager
def started(
    argvs: Iterable[list[str]], *, stdin: int | None = None, stderr: IO[bytes] | None = None
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Start commands at once; none of them outlives the ``with``, however that ends."""
    children: list[subprocess.Popen[bytes]] = []
    try:
        for argv in argvs:
            children.append(
                subprocess.Popen(
                    argv,
                    stdin=stdin,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    start_new_session=True,
                    cwd=TOP,
                )
            )
        yield children
    finally:
        kill_all(children)


def kill_all(children: Iterable["subprocess.Popen[bytes]"]) -> None:
    """Kill those that still run, with their sessions; each is the leader of its own."""
    for child in children:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def kill_after(child: "subprocess.Popen[bytes]", seconds: float) -> bool:
    """Kill a command with SIGKILL at an instant; tells whether it was still running then."""
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        # Also where whoever waits is stopped: the command is in a session of its own.
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait()
    return False


def is_alive(one: tuple[int, str]) -> bool:
    """Tell whether a process, (pid, start time), still runs; a dead one that is kept does not."""
    pid, started = one
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    state = status.rpartition(")")[2].split()[0]
    return state not in "ZX" and process.start_time(pid) == started


def wait_until_gone(work: Work, within_s: float = 60.0) -> None:
    """Wait until no process is left of what a killed command had started."""
    until = time.monotonic() + within_s
    while left := work.processes():
        assert time.monotonic() < until, f"still running after {within_s:.0f} s: {left}"
        time.sleep(0.05)
