# SPDX-License-Identifier: LGPL-2.1-or-later
"""Used-sets: of the files that a build opened, whose they are and what each looked like.

Knows buildroots and dpkg's lists of files; how it is found out what was opened is in
``ports/opens``. What belongs to no package of a base (what its packages' scripts made) is
passed over: it changes with a package that did it.
"""

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.base_facts import WHOLE
from pipeline.ports.files import write_text
from pipeline.ports.interface import name_in
from pipeline.ports.opens import Opens
from pipeline.ports.ostree import Repo, dump_metadata
from pipeline.stages.building.buildroot import Layers
from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import BaseFacts

_LISTS = "usr/lib/sysimage/dpkg/info"
_MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


@dataclass(frozen=True, kw_only=True)
class Buildroot:
    """A buildroot as it stands, and the artifacts that are in it."""

    root: Path
    layers: Layers
    artifacts: Mapping[str, Artifact]


class Providers:
    """Finds out who brought a file of a buildroot."""

    def __init__(self, repo: Repo, base: BaseFacts, cache: Path) -> None:
        self._repo = repo
        self._base = base
        self._cache = cache
        self._lock = threading.Lock()
        self._packages: Mapping[str, str] | None = None
        self._paths: dict[str, frozenset[str]] = {}

    def used(self, opens: Opens, buildroot: Buildroot) -> dict[str, dict[str, str]]:
        """Tell the used-set of a build: provider → name → digest, packages → version.

        Where not all opens could be seen, all that is there was used.
        """
        if not opens.complete:
            everything = {name: dict(one.interface) for name, one in buildroot.artifacts.items()}
            return _tidy({BASE: dict(self._base.packages), **everything})
        found: dict[str, dict[str, str]] = {BASE: {}}
        for path in opens.paths:
            provider = self._component_of(path, buildroot.layers)
            if provider is None:
                found[BASE] |= self._package_of(path, buildroot.root)
                continue
            name = name_in(buildroot.root, path)
            digest = buildroot.artifacts[provider].interface.get(name)
            if digest is not None:
                found.setdefault(provider, {})[name] = digest
        return _tidy(found)

    def _component_of(self, path: str, layers: Layers) -> str | None:
        for name, commits in reversed(tuple(layers.components.items())):
            if any(path in self._paths_of(commit) for commit in commits):
                return name
        return None

    def _paths_of(self, commit: str) -> frozenset[str]:
        with self._lock:
            if commit not in self._paths:
                self._paths[commit] = frozenset(path for path, _ in self._repo.walk(commit))
            return self._paths[commit]

    def _package_of(self, path: str, root: Path) -> dict[str, str]:
        if WHOLE in self._base.packages:
            return {WHOLE: self._base.packages[WHOLE]}
        packages = self._package_map(root)
        if not packages:
            # Unpacked without dpkg's database: whose a file is nobody knows.
            return dict(self._base.packages)
        package = packages.get(path)
        version = self._base.packages.get(package) if package else None
        return {package: version} if package and version else {}

    def _package_map(self, root: Path) -> Mapping[str, str]:
        with self._lock:
            if self._packages is None:
                self._packages = _read_map(root, self._cache, self._base.commit)
            return self._packages


def _read_map(root: Path, cache: Path, commit: str) -> dict[str, str]:
    path = cache / "base-files" / f"{commit}.json"
    if path.is_file():
        found: dict[str, str] = json.loads(path.read_bytes())
        return found
    made = dict(_lists(root))
    write_text(path, dump_metadata(made))
    return made


def _lists(root: Path) -> Iterator[tuple[str, str]]:
    """Yield (path in the tree, package); directories too, which nobody opens as files."""
    for one in sorted((root / _LISTS).glob("*.list")):
        package = one.stem.partition(":")[0]
        for line in one.read_text(errors="surrogateescape").splitlines():
            yield _in_tree(line), package


def _in_tree(path: str) -> str:
    first = path.split("/", 2)[1] if path.startswith("/") else ""
    return f"/usr{path}" if first in _MERGED or first == "etc" else path


def _tidy(used: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {name: dict(sorted(names.items())) for name, names in sorted(used.items()) if names}
