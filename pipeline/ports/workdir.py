# SPDX-License-Identifier: LGPL-2.1-or-later
"""The work directory: where a pipeline keeps everything it has.

Layout::

    mirrors/            bare git repositories, by scheme, host and path
    repo/               OSTree, bare-user: what is built
    archive/            OSTree, archive: what is served
    published/          signed verdicts, as JSON; served beside it
    manifests/          each manifest that was pushed, by its digest
    runs/YYYY/MM/DD/N/  one run each; last-run, last-passed: symbolic links to runs
    disks/              bootable qcow2 files, by commit
    cache/              may be deleted at any time
    keys/               GnuPG home of the signing key
    tmp/PROCESS/        one directory a process that works here (``presence``)
    locks/              one file a lock
    workers/            what is remembered of each remote worker
    servers/            keys that are trusted for servers whose artifacts are tried
    sent/               directories that were sent to be tried
    ledger.sqlite       what must not be lost
    pushed              touched when a push was written down by hand
"""

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import remove_tree, symlink
from pipeline.words.errors import BadInput

ADDRESS = "127.0.0.1:8080"
"""Where ``ostci serve`` listens where nothing else is said."""
_VERSION = re.compile(r"(\d{4})(\d{2})(\d{2})\.(\d+)")


@dataclass(frozen=True)
class Workdir:
    """Paths of a work directory; ``root`` is absolute."""

    root: Path

    @property
    def mirrors(self) -> Path:
        return self.root / "mirrors"

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def published(self) -> Path:
        return self.root / "published"

    @property
    def manifests(self) -> Path:
        return self.root / "manifests"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def disks(self) -> Path:
        return self.root / "disks"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger.sqlite"

    @property
    def servers(self) -> Path:
        return self.root / "servers"

    @property
    def sent(self) -> Path:
        return self.root / "sent"

    @property
    def pushed(self) -> Path:
        return self.root / "pushed"

    def lock(self, name: str) -> Path:
        """Name the file of a lock."""
        return self.root / "locks" / f"{name}.lock"

    @property
    def mended(self) -> Path:
        """The mark that what was killed before is mended; it names the start of the machine."""
        return self.root / "locks" / "mended"

    def make(self) -> None:
        """Make the directories that are missing; the key's is for its owner alone."""
        for path in (self.mirrors, self.runs, self.disks, self.cache, self.tmp):
            path.mkdir(parents=True, exist_ok=True)
        self.keys.mkdir(mode=0o700, exist_ok=True)

    def empty_tmp(self) -> None:
        """Remove all of ``tmp``; only while nobody else is in the work directory."""
        for path in self.tmp.iterdir() if self.tmp.is_dir() else ():
            remove_tree(path)

    def run(self, version: str) -> "RunDir":
        """Find a run's directory by its version; raises BadInput for what is none."""
        match = _VERSION.fullmatch(version)
        if match is None or not self.is_run(version):
            raise BadInput(f"there is no run {version}", hint="ostci log lists them")
        return RunDir(version=version, path=self.runs.joinpath(*match.groups()))

    def is_run(self, version: str) -> bool:
        """Tell whether the text is the version of a run that is here."""
        match = _VERSION.fullmatch(version)
        return match is not None and self.runs.joinpath(*match.groups()).is_dir()

    def new_run(self, now: float | None = None) -> "RunDir":
        """Make the directory of the next run of the day (UTC)."""
        day = time.gmtime(now)
        parent = self.runs / time.strftime("%Y/%m/%d", day)
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            numbers = [int(path.name) for path in parent.iterdir() if path.name.isdigit()]
            number = max(numbers, default=-1) + 1
            try:
                (parent / str(number)).mkdir()
            except FileExistsError:
                continue
            version = f"{time.strftime('%Y%m%d', day)}.{number}"
            run = RunDir(version=version, path=parent / str(number))
            symlink(self.root / "last-run", os.path.relpath(run.path, self.root))
            return run

    def versions(self) -> list[str]:
        """List the versions of all runs, oldest first."""
        found = []
        for path in self.runs.glob("[0-9]*/[0-9]*/[0-9]*/[0-9]*"):
            year, month, day, number = path.relative_to(self.runs).parts
            found.append(((year, month, day, int(number)), f"{year}{month}{day}.{number}"))
        return [version for _, version in sorted(found)]


@dataclass(frozen=True, kw_only=True)
class RunDir:
    """The directory of one run and the places in it."""

    version: str
    path: Path

    def file(self, name: str) -> Path:
        """Name a stage's result, such as ``snapshot`` for ``snapshot.json``."""
        return self.path / f"{name}.json"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def lock(self) -> Path:
        """The lock of whoever works on the run: alone, or sharing it with others."""
        return self.path / ".lock"

    @property
    def results_lock(self) -> Path:
        """The lock for reading a result, changing it and writing it again."""
        return self.path / ".results.lock"

    @property
    def built(self) -> Path:
        """The directory of the results of components that were built by name, and of nothing else.

        A component may be named ``x.json``.
        """
        return self.path / "built"

    @property
    def builds(self) -> Path:
        """The directory of what builds leave, a directory a component."""
        return self.path / "build"

    def component(self, name: str) -> Path:
        """Name the directory of one component's build."""
        return self.builds / name

    def test(self, tree: str, suite: str) -> Path:
        """Name the directory of the evidence of one suite on one tree."""
        return self.path / "test" / tree / suite
