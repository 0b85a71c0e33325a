# SPDX-License-Identifier: LGPL-2.1-or-later
"""What promoted trees were made of, published beside them for tries elsewhere.

In this order, which a kill may cut: objects into the archive, their refs, the signed index of the
run, the list that names it. Taken back in the other one. A run is on the list if it has an index
and the ledger says that it was promoted, so that nothing here decides about what was.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger, PromotionState
from pipeline.ports.ostree import Repo
from pipeline.stages.promoting.move import prepare_archive
from pipeline.words.published import (
    FOLDER,
    LIST,
    ListedRun,
    PublishedList,
    PublishedRun,
    index_name,
)
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import (
    Commit,
    RefName,
    is_of_artifacts,
    published_ref,
)
from pipeline.words.run import is_version, place_of

_WAIT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class ArtifactsPublisher:
    """Publishes artifacts in an archive, and their indexes in the directory that is served."""

    repo: Repo
    archive: Repo
    ledger: Ledger
    keyring: Keyring
    into: Path

    def publish(self, index: PublishedRun) -> bool:
        """Publish what the trees of a run were made of; may be given again.

        Tells whether that was done: a run that was not promoted publishes nothing. Raises Trouble
        where the repository has an artifact no more.
        """
        with self.archive.locked(f"artifacts of run {index.run}", wait_s=_WAIT_S):
            if self._listed(index.run, index.osname) is None:
                return False
            missing = [one for one in index.commits() if not self.archive.has_commit(one)]
            if missing:
                prepare_archive(self.archive)
                self.archive.pull_local(self.repo.path, dict.fromkeys(missing))
            self.archive.set_refs(refs_of(index))
            self._write(index_name(index.run), to_json(index))
            self._write_list(index.osname)
        return True

    def published(self) -> list[str]:
        """Name the runs that have an index, newest first."""
        found = [path.stem for path in (self.into / FOLDER).glob("*.json")]
        return sorted(filter(is_version, found), key=place_of, reverse=True)

    def unneeded_refs(self, runs: Iterable[str]) -> list[RefName]:
        """Name the archive's refs of artifacts that none of these runs' indexes has."""
        needed: set[RefName] = set()
        for run in runs:
            needed |= refs_of(self._read(run)).keys()
        return [ref for ref in self.archive.refs() if is_of_artifacts(ref) and ref not in needed]

    def size_of(self, run: str) -> int:
        """Tell the bytes of a run's index."""
        return self._path(run).stat().st_size

    def take_back(self, run: str) -> None:
        """Publish the index of a run no more; its artifacts go by ``unneeded_refs``."""
        with self.archive.locked(f"artifacts of run {run}", wait_s=_WAIT_S):
            path = self._path(run)
            osname = self._read(run).osname
            self._write_list(osname, but=run)
            path.with_name(f"{path.name}.asc").unlink(missing_ok=True)
            path.unlink()

    # Helpers

    def _path(self, run: str) -> Path:
        return self.into / index_name(run)

    def _read(self, run: str) -> PublishedRun:
        path = self._path(run)
        return from_json(PublishedRun, path.read_bytes(), where=str(path))

    def _write_list(self, osname: str, *, but: str = "") -> None:
        lines = (self._listed(run, osname) for run in self.published() if run != but)
        runs = tuple(line for line in lines if line is not None)
        self._write(LIST, to_json(PublishedList(osname=osname, runs=runs)))

    def _listed(self, run: str, osname: str) -> ListedRun | None:
        rows = self.ledger.promotions(run=run, states=(PromotionState.DONE,))
        mine = [row for row in rows if row.osname == osname]
        if not mine:
            return None
        when = max(row.ended or row.began for row in mine)
        return ListedRun(run=run, when=when, trees={row.tree: row.commit for row in mine[::-1]})

    def _write(self, name: str, text: str) -> None:
        with self.keyring.unlocked():
            write_text(self.into / name, text)
            write_text(self.into / f"{name}.asc", self.keyring.sign_text(text))


def refs_of(index: PublishedRun) -> dict[RefName, Commit]:
    """Name the archive's refs to what a run was made of: by commit, a key may be built twice."""
    return {published_ref(index.osname, at): at for at in index.commits()}
