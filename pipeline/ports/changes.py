# SPDX-License-Identifier: LGPL-2.1-or-later
"""What differs between two trees of a repository, read from their metadata.

Only directories that differ are read, so that two trees of 20,000 files that differ in one cost
a few reads. Sizes are those of the objects of a ``bare-user`` repository.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.ports.ostree import Dir, Repo
from pipeline.words.refs import Commit

_EMPTY = Dir(files={}, dirs={})


class How(StrEnum):
    """What happened to a path on the way from the first tree to the second."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One file; sizes are in bytes, 0 where it is not there. A mode alone counts as a change."""

    path: str
    how: How
    old_size: int = 0
    new_size: int = 0


def changes(repo: Repo, old: Commit, new: Commit) -> Iterator[Change]:
    """List the files that differ, in the order of their paths within each directory."""
    yield from _walk(repo, repo.info(old).tree, repo.info(new).tree, "")


def _walk(repo: Repo, old: str | None, new: str | None, path: str) -> Iterator[Change]:
    if old == new:
        return
    before = repo.directory(old) if old else _EMPTY
    after = repo.directory(new) if new else _EMPTY
    for name in sorted({*before.files, *after.files}):
        first, second = before.files.get(name), after.files.get(name)
        if first != second:
            yield _change(repo, f"{path}/{name}", first, second)
    for name in sorted({*before.dirs, *after.dirs}):
        first_dir, second_dir = before.dirs.get(name), after.dirs.get(name)
        yield from _walk(
            repo,
            first_dir[0] if first_dir else None,
            second_dir[0] if second_dir else None,
            f"{path}/{name}",
        )


def _change(repo: Repo, path: str, old: str | None, new: str | None) -> Change:
    how = How.CHANGED if old and new else How.ADDED if new else How.REMOVED
    return Change(path=path, how=how, old_size=_size(repo, old), new_size=_size(repo, new))


def _size(repo: Repo, checksum: str | None) -> int:
    return repo.file_size(checksum) if checksum else 0
