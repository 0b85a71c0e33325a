# SPDX-License-Identifier: LGPL-2.1-or-later
"""A work directory with real repositories that are pushed to, and a base that is made in no time.

Nothing is built here: it is for what comes before, from a push to its run's snapshot.
"""

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipeline.cli.house import House, init
from pipeline.ports.log import ListSink, Log
from pipeline.words.push import Push
from pipeline.words.records import from_json
from pipeline.words.snapshot import Snapshot
from tests.repos import GitRepo, git_repo
from tests.work import ostci_argv, run_ostci


@dataclass
class Town:
    """``repos`` by component; all of them are followed on ``main``."""

    root: Path
    repos: dict[str, GitRepo]
    sink: ListSink
    more: str = ""

    @staticmethod
    def make(root: Path, *names: str, more: str = "") -> "Town":
        """Make repositories, a manifest of them with ``more`` lines, and a work directory."""
        _tar(root / "base.tar", {"usr/lib/os-release": "ID=town\n"})
        repos = {name: git_repo(root / "git" / name) for name in names}
        town = Town(root=root, repos=repos, sink=ListSink(), more=more)
        town.write_manifest(*names)
        init(root / "work", root / "os.yaml")
        return town

    def write_manifest(
        self,
        *names: str,
        more: str = "",
        branches: Mapping[str, str] = MappingProxyType({}),
        tags: Mapping[str, str] = MappingProxyType({}),
        keys: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write the manifest, of these components; they follow ``main`` unless told.

        ``keys`` are more of a component's own.
        """
        components = []
        for name in names:
            pin = f"tag: {tags[name]}" if name in tags else f"branch: {branches.get(name, 'main')}"
            pin += f", {keys[name]}" if name in keys else ""
            components.append(f"  - {{src: 'git:./git/{name}', name: {name}, {pin}}}")
        lines = [
            "osname: town",
            "base: {name: plain, initramfs: none, tar: {runtime: {file: ./base.tar}}}",
            "components:",
            *components,
            "targets: {runtime: {components: all}}",
            self.more,
            more,
        ]
        (self.root / "os.yaml").write_text("\n".join(line for line in lines if line) + "\n")

    def add(self, name: str) -> GitRepo:
        """Make one more repository; the manifest does not name it yet."""
        self.repos[name] = git_repo(self.root / "git" / name)
        return self.repos[name]

    def change_base(self) -> None:
        """Make the base another one."""
        _tar(self.root / "base.tar", {"usr/lib/os-release": "ID=town\nVERSION=2\n"})

    def house(self) -> House:
        """Open the work directory as a new command does."""
        return House(self.root / "work", log=Log(self.sink))

    def pushes(self) -> list[Push]:
        """List all pushes."""
        house = self.house()
        found = house.ledger.pushes.newest(1000)
        house.ledger.close()
        return found

    def snapshot(self, version: str) -> Snapshot:
        """Read the snapshot of a run."""
        path = self.house().workdir.run(version).file("snapshot")
        return from_json(Snapshot, path.read_bytes())

    def pins(self, version: str) -> dict[str, str]:
        """Tell the revisions in the snapshot of a run."""
        return {name: pin.revision for name, pin in self.snapshot(version).pins.items()}

    def argv(self, *words: str) -> list[str]:
        """Write a command."""
        return ostci_argv(self.root / "work", *words)

    def ostci(self, *words: str, code: int = 0) -> str:
        """Give a command that has to end with a code; tells what it wrote."""
        said = run_ostci(self.root / "work", *words, code=code)
        return said.out if code == 0 else said.out + said.err

    def json(self, *words: str) -> Any:
        """Give a command with ``--json`` and read what it says."""
        return json.loads(self.ostci(*words, "--json"))


def _tar(path: Path, files: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
