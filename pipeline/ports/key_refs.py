# SPDX-License-Identifier: LGPL-2.1-or-later
"""Artifacts as they stand in the repository: what is true of them.

Refs ``<osname>/keys/<key>-<part>`` lead to their commits, and the metadata of each commit holds
the artifact without its commits. Knows nothing of the index that is made of this.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.ports.ostree import Repo
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Trouble
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Commit, Key, Part

METADATA_KEY = "ostci.artifact"
PARTS_KEY = "ostci.parts"
_PARTS = frozenset(map(str, Part))


def commit_metadata(artifact: Artifact, parts: Iterable[Part]) -> dict[str, str]:
    """Make what each of an artifact's commits says in its metadata.

    It names all parts that there are, so that an artifact of which one is missing is known to be
    incomplete.
    """
    told = to_json(replace(artifact, commits={}), indent=None)
    return {METADATA_KEY: told, PARTS_KEY: " ".join(sorted(parts))}


class KeyRefs:
    """The refs of artifacts and what their commits say."""

    def __init__(self, repo: Repo) -> None:
        self._repo = repo
        self._objects = f"{repo.path}/objects"
        self._state = f"{repo.path}/state"
        self._partial: frozenset[str] = frozenset()
        self._partial_at = 0

    def places(self) -> dict[str, int]:
        """Tell the directories of these refs and when, in nanoseconds, each was last changed."""
        heads = self._repo.path / "refs" / "heads"
        found = {}
        for top in os.scandir(heads) if heads.is_dir() else ():
            try:
                found[f"{top.path}/keys"] = os.stat(f"{top.path}/keys").st_mtime_ns  # noqa: PTH116
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def keys(self, places: Iterable[str]) -> dict[Key, dict[Part, Path]]:
        """List the keys that have refs, and the file of each part's."""
        found: dict[Key, dict[Part, Path]] = defaultdict(dict)
        for place in places:
            for name in os.listdir(place):  # noqa: PTH208
                key, _, part = name.rpartition("-")
                if key and part in _PARTS:
                    found[Key(key)][Part(part)] = Path(place, name)
        return dict(found)

    def read(self, key: Key, refs: Mapping[Part, Path]) -> Artifact | None:
        """Read an artifact from its commits; None for one that is not whole or not ours."""
        try:
            commits = {part: Commit(path.read_text().strip()) for part, path in refs.items()}
            metadata = self._repo.info(next(iter(commits.values()))).metadata
            artifact = from_json(Artifact, metadata.get(METADATA_KEY, ""), where=key)
        except (Trouble, FileNotFoundError) as error:
            self._repo.log.detail(f"{key} is passed over: {error}", about="artifacts")
            return None
        parts = metadata.get(PARTS_KEY, " ".join(commits)).split()
        if artifact.key != key or set(parts) != set(commits):
            self._repo.log.detail(f"{key} is passed over: not whole", about="artifacts")
            return None
        return replace(artifact, commits=dict(sorted(commits.items())))

    def current(self, places: Iterable[str]) -> Iterator[tuple[str, str, Key]]:
        """List (component, architecture, key) of what the components' refs lead to."""
        for place in places:
            for path in Path(place).parent.joinpath("components").glob("*/*"):
                try:
                    metadata = self._repo.info(path.read_text().strip()).metadata
                    artifact = from_json(Artifact, metadata.get(METADATA_KEY, ""))
                except Trouble:
                    continue  # not ours or damaged: then nothing is current there
                yield artifact.component, artifact.arch, artifact.key

    def is_whole(self, artifact: Artifact) -> bool:
        """Tell whether all commits are here; asked 1,000 times in a plan, so without Path."""
        partial = self._partial_commits()
        return all(
            os.path.exists(f"{self._objects}/{commit[:2]}/{commit[2:]}.commit")  # noqa: PTH110
            and commit not in partial
            for commit in artifact.commits.values()
        )

    def _partial_commits(self) -> frozenset[str]:
        """Name the commits that a pull has not brought whole; usually there are none."""
        try:
            changed = os.stat(self._state).st_mtime_ns  # noqa: PTH116
        except FileNotFoundError:
            return frozenset()
        if changed != self._partial_at:
            names = os.listdir(self._state)  # noqa: PTH208
            self._partial = frozenset(name.partition(".")[0] for name in names)
            self._partial_at = changed
        return self._partial
