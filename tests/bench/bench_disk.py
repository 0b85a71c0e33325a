# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a new commit to its guest's first instruction, by the size of the change.

The system is the largest at hand, as for ``bench_boot``. Each round has a new commit, in which the
files of one component changed, and finds the disk of its parent; the baseline makes the disk of
the same commit in full, where no other is.
"""

import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports import accelerator, image
from pipeline.ports.domain import MachineSpec, hypervisor
from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.disking.boot_files import first_boot
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
from tests import bare
from tests.bench.bench_boot import find_system
from tests.bench.frame import Row, interleaved, timed

ROUNDS = 3
FEW, MANY = 10, 1000
_REF = RefName("bench/compose/x86_64-bench")


def bench(scratch: Path) -> Iterator[Row]:
    """Measure starts of new commits, and disks of small and large changes."""
    log = Log()
    name, source, base, target = find_system()
    repo = Repo(scratch / "repo", log=log).create(Mode.BARE_USER)
    repo.pull_local(source, [base])
    system = _System(repo, base, scratch)
    make = _Maker(repo, target, log)
    make(system.first, scratch / "disks")
    files = sum(1 for path, _ in repo.walk(system.first) if not path.endswith("/"))
    yield _first_instruction(scratch, name, files, system, make)
    yield _growth(scratch, name, system, make)


class _System:
    """A system with one component, of which there are ever new commits."""

    def __init__(self, repo: Repo, base: Commit, scratch: Path) -> None:
        self._repo, self._base, self._scratch = repo, base, scratch
        self._number = 0
        self.first = self._commit(MANY, None)

    def changed(self, files: int) -> Commit:
        """Commit the system with so many files of the component changed."""
        return self._commit(files, self.first)

    def _commit(self, files: int, parent: Commit | None) -> Commit:
        self._number += 1
        root = self._scratch / "component"
        for number in range(MANY):
            path = root / f"usr/share/component/{number // 100}/{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{number} of {self._number if number < files else 1}\n" * 300)
        layer = self._repo.commit_dir(root, subject="component")
        return self._repo.commit_layers(
            [self._base, layer],
            subject="bench",
            metadata={"version": f"20260101.{self._number}"},
            parent=parent,
        )


class _Maker:
    """Makes disks, and tells the time that one took."""

    def __init__(self, repo: Repo, target: Target, log: Log) -> None:
        self._repo, self.target, self.log = repo.path, target, log

    def __call__(self, commit: Commit, disks: Path) -> Path:
        request = DiskRequest(osname="bench", ref=_REF, commit=commit, target=self.target)
        return Path(make_disk(request, repo=self._repo, disks=disks, log=self.log).path)

    def seconds(self, commit: Commit, disks: Path) -> float:
        """Make a disk that grows."""
        began = time.monotonic()
        made = self(commit, disks)
        taken = time.monotonic() - began
        assert image.below(made), "the disk was made in full"
        return taken


def _first_instruction(scratch: Path, name: str, files: int, system: _System, make: _Maker) -> Row:
    by = accelerator.choose(log=make.log)
    with bare.short_directory() as room, hypervisor("qemu:///embed", room, log=make.log) as driver:

        def start(commit: Commit, disks: Path) -> float:
            began = time.monotonic()
            disk = make(commit, disks)
            layer = room / "layer"
            image.overlay(disk, layer, log=make.log)
            spec = MachineSpec(
                name="bench",
                boot=first_boot(disk, into=room / "boot", log=make.log),
                into=room / "s",
                accelerator=by,
                disk=layer,
                memory=make.target.memory,
                processors=make.target.processors,
            )
            with driver.start(spec) as machine:
                return machine.started - began

        def grown() -> float:
            return start(system.changed(FEW), scratch / "disks")

        def anew() -> float:
            commit = system.changed(FEW)
            try:
                return start(commit, scratch / "fresh")
            finally:
                remove_tree(scratch / "fresh")

        ours, whole = interleaved(grown, anew, rounds=ROUNDS)
    return Row(
        name=f"commit of {name} → guest's first instruction",
        ours=ours,
        baseline=whole,
        against="deploy and mke2fs -d of the whole tree each time",
        reach="report",
        note=f"each a new commit with {FEW} changed files of {files}; ours finds its parent's disk",
        rounds=ROUNDS,
    )


def _growth(scratch: Path, name: str, system: _System, make: _Maker) -> Row:
    newest = system.first

    def change(files: int) -> float:
        nonlocal newest
        newest = system.changed(files)
        return make.seconds(newest, scratch / "disks")

    def anew() -> float:
        try:
            return timed(lambda: make(newest, scratch / "fresh"))
        finally:
            remove_tree(scratch / "fresh")

    few, whole, many = interleaved(lambda: change(FEW), anew, lambda: change(MANY), rounds=ROUNDS)
    return Row(
        name=f"disk of {name} with {FEW} changed files",
        ours=few,
        baseline=whole,
        against="deploy and mke2fs -d of the same commit",
        reach="report",
        note=f"{(many - few) / (MANY - FEW) * 1000:.1f} ms for each file more, up to {MANY}",
        rounds=ROUNDS,
    )
