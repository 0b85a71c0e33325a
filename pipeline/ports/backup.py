# SPDX-License-Identifier: LGPL-2.1-or-later
"""A backup directory: one state of a work directory, which is replaced whole.

Layout, readable by its owner alone::

    repo/           OSTree, archive: the commits of both repositories, each object once
    state/now       → the newest number
    state/N/        backup.json, ledger.sqlite, ostci.toml, manifest, keys/, secrets/, published/,
                    manifests/, runs/

Objects come before the state that names them and go after it: whatever a kill leaves, ``now`` has
all that its ledger and its refs name.
"""

import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.ports.files import no_space, remove_tree, symlink, write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.refs import Commit, RefName

FORMAT = 1
_BATCH = 500
_TOLD = "backup.json"
Refs = Mapping[RefName, Commit]


@dataclass(frozen=True)
class Backup:
    """Paths of a backup, and what is done to it."""

    root: Path
    log: Log

    @property
    def repo(self) -> Repo:
        """Its repository."""
        return Repo(self.root / "repo", log=self.log)

    @property
    def now(self) -> Path:
        """The newest state."""
        return self.root / "state" / "now"

    def make(self) -> None:
        """Make what is missing; raises BadInput for a directory of something else."""
        if self.root.exists() and any(self.root.iterdir()) and not (self.root / "state").is_dir():
            raise BadInput(f"{self.root} holds something else than a backup")
        with no_space(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            (self.root / "state").mkdir(exist_ok=True)
        self.repo.create(Mode.ARCHIVE)
        self.repo.run("config", "set", "archive.zlib-level", "1")

    def begin_state(self) -> Path:
        """Make the directory of the next state; what a killed backup began is removed."""
        now = self._number()
        for path in (self.root / "state").glob("[0-9]*"):
            if path.name != now:
                remove_tree(path)
        place = self.root / "state" / str(int(now or 0) + 1)
        place.mkdir()
        if now is not None:
            # What is the same is linked and not read again.
            _link_tree(self.root / "state" / now / "runs", place / "runs")
        return place

    def finish_state(self, place: Path, told: Mapping[str, Any]) -> None:
        """Let a state be the newest, and drop the one before and its objects."""
        write_text(place / _TOLD, json.dumps({"format": FORMAT, **told}, indent=2) + "\n")
        old = self._number()
        symlink(self.now, place.name)
        if old is not None:
            remove_tree(self.root / "state" / old)
        self.repo.prune()

    def read(self) -> dict[str, Any]:
        """Read what the newest state tells of itself; raises BadInput where there is none."""
        path = self.now / _TOLD
        hint = "ostci -C WORK backup DIR makes one"
        if not path.is_file():
            raise BadInput(f"{self.root} holds no backup that was finished", hint=hint)
        found: dict[str, Any] = json.loads(path.read_text())
        if found.get("format") != FORMAT:
            raise BadInput(
                f"it is of a newer ostci (format {found.get('format')})", where=str(path)
            )
        return found

    def take(self, source: Repo, name: str, refs: Refs, also: Iterable[Commit]) -> None:
        """Take what refs of a repository lead to, and other commits with their signatures."""
        transfer(source, self.repo, refs, also)
        gone = [
            ref for ref in self.repo.refs(name) if RefName(ref.removeprefix(f"{name}/")) not in refs
        ]
        for batch in _batches(gone):
            self.repo.run("refs", "--delete", *batch)
        self.repo.set_refs({RefName(f"{name}/{ref}"): at for ref, at in refs.items()})

    def _number(self) -> str | None:
        return str(self.now.readlink()) if self.now.is_symlink() else None


def transfer(source: Repo, into: Repo, refs: Refs, also: Iterable[Commit] = ()) -> None:
    """Copy the commits that refs lead to, their history too, thinned ones as they are.

    Of ``also``, and of where the refs are, the signatures are brought up to date.
    """
    tips = dict.fromkeys([*refs.values(), *also])
    lines = dict.fromkeys(info.commit for tip in tips for info in source.history(tip))
    whole = [one for one in lines if source.has_commit(one)]
    wanted = [one for one in whole if one in tips or not into.has_commit(one)]
    for batch in _batches(wanted):
        into.pull_local(source.path, batch)
    thin = [one for one in lines if not source.has_commit(one) and not into.has_metadata(one)]
    for batch in _batches(thin):
        into.pull_local(source.path, batch, metadata_only=True)


def copy_ledger(path: Path, to: Path) -> None:
    """Copy one state of a SQLite ledger while others write; see ``sqlite3_backup_init``."""
    try:
        with (
            closing(sqlite3.connect(path, timeout=60.0)) as one,
            closing(sqlite3.connect(to)) as other,
        ):
            one.backup(other)
            other.execute("pragma journal_mode = delete")
    except sqlite3.Error as error:
        raise Trouble(f"the ledger cannot be copied: {error}", where=str(path)) from error


def copy_tree(source: Path, to: Path, *, only: Collection[str] | None = None) -> None:
    """Bring a copy of a directory up to date; modes and times are kept, links stay links.

    Locks, sockets and what begins with a dot are left out; ``only``: just these names at its top.
    """
    to.mkdir(parents=True, exist_ok=True)
    shutil.copystat(source, to)
    here = {path.name: path for path in _listed(source) if only is None or path.name in only}
    for path in list(to.iterdir()) if only is None else ():
        if path.name not in here:
            remove_tree(path)
    for name, path in here.items():
        place = to / name
        found = path.lstat()
        if stat.S_ISDIR(found.st_mode):
            copy_tree(path, place)
        elif not _is_same(found, place):
            # A new file: the old one may be linked from the state before.
            place.unlink(missing_ok=True)
            shutil.copy2(path, place, follow_symlinks=False)


def _listed(source: Path) -> Iterator[Path]:
    for path in sorted(source.iterdir()):
        mode = path.lstat().st_mode
        plain = stat.S_ISDIR(mode) or stat.S_ISREG(mode) or stat.S_ISLNK(mode)
        if plain and not path.name.startswith("."):
            yield path


def _is_same(found: os.stat_result, place: Path) -> bool:
    try:
        there = place.lstat()
    except FileNotFoundError:
        return False
    same = (found.st_mtime_ns, found.st_size) == (there.st_mtime_ns, there.st_size)
    return same and stat.S_ISREG(there.st_mode) and stat.S_ISREG(found.st_mode)


def _link_tree(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to, symlinks=True, copy_function=os.link)


def _batches(found: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(found), _BATCH):
        yield found[start : start + _BATCH]
