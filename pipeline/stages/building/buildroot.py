# SPDX-License-Identifier: LGPL-2.1-or-later
"""Buildroots: the trees that components are compiled in, hardlinked to the repository.

One is the base with the runtime and devel parts of all that a component needs, later ones over
earlier ones. It is only ever read (the sandbox sees to that), so that several builds share one.
Kept in ``<cache>/buildroots`` by the hash of its commits; what nobody used lately is removed.
"""

import hashlib
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock, remove_tree, write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.walls import ENVIRONMENT, INSIDE
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Commit, Part

PARTS = (Part.RUNTIME, Part.DEVEL)
"""What of a component others are built with."""
_VERSION = "1"
_KEEP = 4
"""Buildroots that nobody uses: each costs a directory entry a file, and ext4 allows 65,000."""
_WAIT_S = 900.0
_OPTIONS = ("--user-mode", "--union", "--force-copy-zerosized")
"""Empty files are equal, and a tree has hundreds: hardlinked they would soon reach the limit of
ext4. What has reached it all the same is copied."""
_NO_FIT = re.compile("Not a directory|Is a directory|File exists")
_USER = ENVIRONMENT["USER"]
_ACCOUNTS = {
    "passwd": f"{_USER}:x:{INSIDE}:{INSIDE}:build user:/:/bin/sh\n",
    "group": f"{_USER}:x:{INSIDE}:\n",
}


@dataclass(frozen=True, kw_only=True)
class Layers:
    """What a buildroot is made of: the base, and of each component the commits of its parts."""

    base: Commit
    components: Mapping[str, tuple[Commit, ...]]

    @property
    def commits(self) -> tuple[Commit, ...]:
        """All commits, the base first."""
        return (self.base, *(one for commits in self.components.values() for one in commits))


def layers_of(base: Commit, parts: Mapping[str, Mapping[Part, Commit]]) -> Layers:
    """Choose of components, in the order in which they lie over each other, what others need."""
    chosen = {
        name: tuple(commits[part] for part in PARTS if part in commits)
        for name, commits in parts.items()
    }
    return Layers(base=base, components=chosen)


class Buildroots:
    """Makes buildroots and keeps the newest; threads and processes may share a cache."""

    def __init__(self, repo: Repo, cache: Path, tmp: Path, *, log: Log) -> None:
        self._repo = repo
        self._place = cache / "buildroots"
        self._tmp = tmp
        self._log = log

    @contextmanager
    def use(self, layers: Layers, *, about: str = "") -> Iterator[Path]:
        """Have the buildroot of some layers, for reading, during the ``with``.

        Raises Failed where layers do not fit over each other.
        """
        text = "\n".join((_VERSION, *layers.commits))
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        root = self._place / key
        with lock(self._lock(key), what=f"buildroot {key}", wait_s=_WAIT_S, shared=True):
            if not root.is_dir():
                with self._log.step("make the buildroot", about=about):
                    self._make(layers, root)
            os.utime(root)
            yield root
        self.trim()

    def trim(self) -> None:
        """Remove the oldest of those that nobody uses."""
        used = {}
        for path in self._place.iterdir():
            with suppress(FileNotFoundError):  # another process trims at the same time
                if path.is_dir():
                    used[path] = path.stat().st_mtime
        for old in sorted(used, key=lambda path: used[path])[:-_KEEP]:
            with suppress(Trouble), lock(self._lock(old.name), what="its removal"):
                gone = self._tmp / f"gone-{old.name}-{threading.get_ident()}"
                with suppress(FileNotFoundError):  # another process was quicker
                    old.rename(gone)
                    remove_tree(gone)

    def _lock(self, key: str) -> Path:
        return self._place / f"{key}.lock"

    def _make(self, layers: Layers, root: Path) -> None:
        making = self._tmp / f"root-{root.name}-{threading.get_ident()}"
        remove_tree(making)
        try:
            self._check_out_all(layers.commits, making)
            _add_accounts(making)
            root.parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # somebody made the same one meanwhile
                making.rename(root)
        finally:
            remove_tree(making)
        if not root.is_dir():
            raise Trouble(f"the buildroot cannot be put at {root}")

    def _check_out_all(self, commits: Sequence[Commit], making: Path) -> None:
        """Check out everything by one command: there may be hundreds of small ones."""
        listed = making.with_name(f"{making.name}.layers")
        listed.write_text("".join(f"{commit}\0/\0" for commit in commits))
        try:
            self._repo.run("checkout", *_OPTIONS, f"--from-file={listed}", str(making))
        except (Failed, process.CommandError):
            # Which one it is that does not fit is not told: that is found one by one.
            remove_tree(making)
            for commit in commits:
                self._check_out(commit, making)
        finally:
            listed.unlink()

    def _check_out(self, commit: Commit, making: Path) -> None:
        try:
            self._repo.run("checkout", *_OPTIONS, commit, str(making))
        except (Failed, process.CommandError) as error:
            if isinstance(error, process.CommandError) and not _NO_FIT.search(str(error)):
                raise
            subject = self._repo.info(commit).subject
            what = f"{subject} does not fit over what is below it: {error.what}"
            raise Failed(what, hint=error.hint) from error


def _add_accounts(root: Path) -> None:
    """Give the build user a name, in files of their own: those there are the repository's."""
    for name, line in _ACCOUNTS.items():
        path = root / "usr/etc" / name
        text = path.read_text() if path.is_file() else ""
        if f"{_USER}:" not in text:
            write_text(path, text + line)
