# SPDX-License-Identifier: LGPL-2.1-or-later
"""The artifacts of a try: those of all, and its own, which are nobody else's.

What a try builds may be hostile, and may look as something harmless does from outside. So it is on
refs of the try alone, no component's ref moves to it, and it goes with the try.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.ports.artifacts import Artifacts
from pipeline.ports.key_refs import KeyRefs
from pipeline.ports.ostree import Repo
from pipeline.words.artifact import Artifact
from pipeline.words.refs import Key, RefName, try_keys


class TriedArtifacts(Artifacts):
    """The artifacts as one try sees them; ``osname`` and ``run`` name the try."""

    def __init__(self, repo: Repo, index: Path, *, osname: str, run: str) -> None:
        super().__init__(repo, index)
        self._repo = repo
        self._own_refs = KeyRefs(repo)
        self._place: RefName = try_keys(osname, run)
        self._own_lock = threading.Lock()
        self._read: dict[Key, Artifact] = {}

    def find(self, recipe: Key) -> tuple[Artifact, ...]:
        """Find the artifacts of a recipe that are here whole, its own first."""
        mine = tuple(one for one in self._own() if one.recipe == recipe)
        return (*mine, *super().find(recipe))

    def by_key(self, key: Key) -> Artifact | None:
        """Find the artifact of a key; None where it is not here whole."""
        mine = next((one for one in self._own() if one.key == key), None)
        return mine or super().by_key(key)

    def everything(self) -> tuple[Artifact, ...]:
        """List what is known."""
        return (*self._own(), *super().everything())

    def record(self, artifact: Artifact, *, osname: str) -> Artifact:  # noqa: ARG002
        """Keep an artifact for the rest of this try, and for nobody else."""
        if not artifact.commits:
            artifact = self._with_empty_commit(artifact)
        refs = {
            RefName(f"{self._place}/{artifact.key}-{part}"): at
            for part, at in artifact.commits.items()
        }
        self._repo.set_refs(refs)
        return artifact

    def set_current(self, artifacts: Iterable[Artifact], *, osname: str) -> None:
        """Move nothing: what a try keeps or builds is no component's newest."""

    def _own(self) -> Sequence[Artifact]:
        """Read what the try has built so far, also in other processes."""
        place = self._repo.path / "refs" / "heads" / self._place
        if not place.is_dir():
            return ()
        with self._own_lock:
            for key, refs in self._own_refs.keys([str(place)]).items():
                if key not in self._read:
                    artifact = self._own_refs.read(key, refs)
                    if artifact is not None:
                        self._read[key] = artifact
            return tuple(one for one in self._read.values() if self._own_refs.is_whole(one))
