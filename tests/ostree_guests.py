# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests that upgrade, boot in seconds: tiny's tree with this machine's ``ostree`` and GnuPG in it.

They have no systemd, so that nothing arms or blesses boots by itself; tests do so by hand.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName, buildmaster_ref
from pipeline.words.tree import Disk, Tree
from tests import machines

_PROGRAMS = ("/usr/bin/ostree", "/usr/bin/gpg", "/usr/bin/gpgconf", "/usr/bin/gpg-agent")
_SIZE = 640 * 1024**2
OSNAME = "tiny"


@dataclass(frozen=True, kw_only=True)
class Upgrading:
    """A target and the repository with its trees."""

    repo: Repo
    target: Target
    tree: Tree

    def tree_of(self, files: Mapping[str, str], *, time_s: int, target: str = "runtime") -> Tree:
        """Commit the guest with files of one's own."""
        state = hashlib.sha256(repr((self.tree.commit, sorted(files.items()))).encode())
        ref = RefName(f"made/upgrading-{target}-{time_s}-{state.hexdigest()[:24]}")
        found = self.repo.resolve(ref)
        if found is None:
            with tempfile.TemporaryDirectory(prefix="ostci-layer-") as name:
                for path, text in files.items():
                    place = Path(name) / path.lstrip("/")
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(text)
                layer = self.repo.commit_dir(Path(name), subject="files")
            found = self.repo.commit_layers(
                [self.tree.commit, layer],
                subject="a guest that upgrades",
                metadata={"version": f"20260101.{time_s}"},
                bind=[buildmaster_ref(OSNAME, f"{machines.ARCH}-{target}")],
                time_s=time_s,
            )
            self.repo.set_ref(ref, found)
        return replace(
            self.tree,
            name=f"{machines.ARCH}-{target}",
            target=target,
            commit=found,
            content=self.repo.info(found).content,
            version=f"20260101.{time_s}",
        )

    def disk_of(self, tree: Tree, *, log: Log) -> Disk:
        """Have the disk of a tree."""
        request = DiskRequest(
            osname=OSNAME,
            ref=buildmaster_ref(OSNAME, tree.name),
            commit=tree.commit,
            target=self.target,
        )
        disks = self.repo.path.parent / "disks"
        return make_disk(request, repo=self.repo.path, disks=disks, log=log)


def upgrading(log: Log, **target: object) -> Upgrading:
    """Have tiny's tree with the programs that upgrade it."""
    made = machines.tiny_disk(log)
    programs = [program for name in _PROGRAMS if (program := shutil.which(name))]
    facts = [f"{one} {Path(one).stat().st_mtime_ns}" for one in programs]
    state = hashlib.sha256("\n".join([made.tree.commit, *facts]).encode()).hexdigest()[:24]
    ref = RefName(f"made/with-ostree-{state}")
    with lock(machines.cache_of_tests() / "test-tiny/upgrading.lock", what="guest", wait_s=600.0):
        commit = made.repo.resolve(ref)
        if commit is None:
            commit = _with_programs(made.repo, made.tree.commit, programs, log)
            made.repo.set_ref(ref, commit)
    wanted = replace(made.target, disk_size=_SIZE, **target)  # type: ignore[arg-type]
    return Upgrading(repo=made.repo, target=wanted, tree=replace(made.tree, commit=commit))


def _with_programs(repo: Repo, tree: Commit, programs: list[str], log: Log) -> Commit:
    with tempfile.TemporaryDirectory(prefix="ostci-programs-") as name:
        root = Path(name)
        for program in programs:
            _copy(Path(program), root / program.lstrip("/"))
            for line in process.run(["ldd", program], log=log).text.splitlines():
                library = next((word for word in line.split() if word.startswith("/")), None)
                if library is not None and "ld-linux" not in library:
                    below = root / "usr/lib/x86_64-linux-gnu" / Path(library).name
                    _copy(Path(library).resolve(), below)
        for number in range(5):
            file = root / f"usr/etc/setting-{number}"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"a default {number}\n")
        layer = repo.commit_dir(root, subject="ostree and GnuPG")
    return repo.commit_layers([tree, layer], subject="tiny with ostree")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copy(source, target)
        target.chmod(0o755)
