# SPDX-License-Identifier: LGPL-2.1-or-later
"""The artifacts of a try: those of all, and its own, which are nobody else's.

What a try builds may be hostile, and may look as something harmless does from outside. So it is on
refs of the try alone, no component's ref moves to it, and it goes with the try. So is what a try
takes from a server.
"""

import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.ports.artifacts import RACY_NS, Artifacts
from pipeline.ports.key_refs import KeyRefs
from pipeline.ports.ostree import Repo
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Trouble
from pipeline.words.keys import is_consistent
from pipeline.words.published import PublishedArtifact
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
        self._own_seen = 0

    def find(self, recipe: Key) -> tuple[Artifact, ...]:
        """Find the artifacts of a recipe that are here whole, its own first."""
        mine = tuple(
            one for one in self._own() if one.recipe == recipe and self._own_refs.is_whole(one)
        )
        return (*mine, *super().find(recipe))

    def by_key(self, key: Key) -> Artifact | None:
        """Find the artifact of a key; None where it is not here whole."""
        mine = next((one for one in self._own() if one.key == key), None)
        if mine is not None and self._own_refs.is_whole(mine):
            return mine
        return super().by_key(key)

    def everything(self) -> tuple[Artifact, ...]:
        """List what is known."""
        return (*self._own(), *super().everything())

    def latest(self, component: str, arch: str) -> Artifact | None:
        """Find what a component was last built or kept as; of what was taken where that is none."""
        found = super().latest(component, arch)
        if found is not None:
            return found
        mine = (one for one in self._own() if (one.component, one.arch) == (component, arch))
        return next(filter(self._own_refs.is_whole, mine), None)

    def take(self, artifacts: Iterable[PublishedArtifact]) -> None:
        """Have artifacts that were made elsewhere for this try; their commits are here.

        Raises Trouble for one that does not say of itself what it was published as.
        """
        wanted = tuple(artifacts)
        self._repo.set_refs(
            {
                RefName(f"{self._place}/{one.key}-{part}"): at
                for one in wanted
                for part, at in one.commits.items()
            }
        )
        known = {one.key: one for one in self._own()}
        for one in wanted:
            mine = known.get(one.key)
            told = (mine.component, mine.arch, mine.recipe) if mine is not None else None
            if mine is None or told != (one.component, one.arch, one.recipe):
                what = f"its artifact {one.key[:12]} is not what it was published as"
                raise Trouble(what, where=one.component)
            if not is_consistent(mine) or not self._own_refs.is_whole(mine):
                what = f"its artifact {one.key[:12]} does not agree with itself"
                raise Trouble(what, where=one.component)

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
        """Read what the try has of its own so far, also what other processes have built."""
        place = self._repo.path / "refs" / "heads" / self._place
        with self._own_lock:
            try:
                changed, now = place.stat().st_mtime_ns, time.time_ns()
            except FileNotFoundError:
                return ()
            if changed != self._own_seen:
                for key, refs in self._own_refs.keys([str(place)]).items():
                    if key not in self._read:
                        artifact = self._own_refs.read(key, refs)
                        if artifact is not None:
                            self._read[key] = artifact
                # Two changes soon after each other may have one time.
                self._own_seen = changed if now - changed > RACY_NS else 0
            return tuple(self._read.values())
