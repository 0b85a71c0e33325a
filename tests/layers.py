# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bases, components and snapshots for tests that compose: real commits of small directories."""

import shutil
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.compose import ComposeRequest, compose
from pipeline.words.manifest import Component, Target
from pipeline.words.refs import Commit, Part, component_ref
from pipeline.words.snapshot import Snapshot
from pipeline.words.tree import Tree
from tests import small

Files = Mapping[str, str | bytes | None]
"""Path → content; ``-> TO`` is a link, None a directory, ``#!…`` is executable."""


def write_files(top: Path, files: Files) -> Path:
    """Write files below a directory."""
    top.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = top / name.lstrip("/")
        (path if content is None else path.parent).mkdir(parents=True, exist_ok=True)
        if isinstance(content, str) and content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        elif content is not None:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
            if path.read_bytes()[:2] == b"#!":
                path.chmod(0o755)
    return top


def busybox_files(top: Path) -> Path:
    """Write a tree in which a shell runs."""
    if not Path("/usr/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    (top / "usr/bin").mkdir(parents=True, exist_ok=True)
    shutil.copy("/usr/bin/busybox", top / "usr/bin/busybox")
    listed = subprocess.run(["/usr/bin/busybox", "--list"], capture_output=True, check=True)
    for name in listed.stdout.decode().split():
        place = top / "usr/bin" / name
        if name != "busybox" and not place.exists():
            place.symlink_to("busybox")
    (top / "bin").symlink_to("usr/bin")
    (top / "sbin").symlink_to("usr/sbin")
    (top / "lib").symlink_to("usr/lib")
    return top


@dataclass
class World:
    """One target and what it is composed of; ``compose`` does."""

    repo: Repo
    room: Path
    log: Log
    base: Commit | None = None
    parts: dict[str, dict[Part, Commit]] = field(default_factory=dict)
    components: dict[str, Component] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    run: int = 0
    given: dict[str, Any] = field(default_factory=dict)
    initramfs: str = "none"
    target: Target = field(default_factory=lambda: Target(name="runtime"))

    def commit(self, files: Files) -> Commit:
        """Commit files."""
        self.run += 1
        top = write_files(self.room / f"files-{self.run}", files)
        return self.repo.commit_dir(top, subject="files")

    def set_base(self, files: Files, *, shell: bool = False) -> None:
        """Make the base."""
        self.run += 1
        top = self.room / f"base-{self.run}"
        if shell:
            busybox_files(top)
        plain = {"/usr/etc/machine-id": "", "/usr/lib/os-release": "ID=test\n", "/var": None}
        write_files(top, {**plain, **files})
        self.base = self.repo.commit_dir(top, subject="base")
        self.repo.set_refs({component_ref("os", "base", "x86_64", Part.RUNTIME): self.base})

    def add(self, name: str, files: Files, *, part: Part = Part.RUNTIME, **given: Any) -> Commit:
        """Build a component anew."""
        commit = self.commit(files)
        self.parts.setdefault(name, {})[part] = commit
        self.components[name] = small.component(name, **given)
        self.pins[name] = f"{name}-{self.run}"
        self.repo.set_refs({component_ref("os", name, "x86_64", part): commit})
        return commit

    def snapshot(self) -> Snapshot:
        """Make the snapshot of all components."""
        pins = {name: small.pin(text, self.components[name]) for name, text in self.pins.items()}
        made = small.snapshot(*self.components.values(), pins=pins, **self.given)
        base = replace(made.manifest.base, initramfs=self.initramfs)
        return replace(made, manifest=replace(made.manifest, base=base))

    def request(self, *names: str, **given: Any) -> ComposeRequest:
        """Make the request for components, or for all."""
        self.run += 1
        assert self.base is not None
        target = replace(self.target, components=names or tuple(self.components))
        made = ComposeRequest(
            snapshot=self.snapshot(),
            run=f"20260102.{self.run}",
            arch="x86_64",
            target=target,
            base=self.base,
            parts=self.parts,
        )
        return replace(made, **given)

    def compose(self, *names: str, **given: Any) -> Tree:
        """Compose components, or all."""
        return compose(
            self.request(*names, **given),
            repo=self.repo,
            cache=self.room / "cache",
            tmp=self.room / "tmp",
            log=self.log,
        )

    def paths(self, tree: Tree) -> set[str]:
        """List all files of a tree."""
        return {path for path, _ in self.repo.walk(tree.commit) if not path.endswith("/")}

    def read(self, tree: Tree, path: str) -> str:
        """Read a file of a tree."""
        return self.repo.read(tree.commit, path).decode()

    def mode(self, tree: Tree, path: str) -> int:
        """Tell the mode of a directory."""
        metas = dict(self.repo.walk(tree.commit))
        return stat.S_IMODE(self.repo.dir_mode(metas[f"{path}/"])[2])
