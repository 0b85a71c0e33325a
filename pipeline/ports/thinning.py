# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commits that lose their files and stay in the history.

A commit object that is deleted cuts its line: ``ostree log`` ends there, and the next prune takes
all that is older. So the object stays, marked partial as by ``pull --commit-metadata-only``, and
only its root directory goes; what that alone led to is then unreachable for ``ostree prune``,
which, like ``fsck`` and a pull of the newest tree, passes over a partial commit. No pull of the
whole history with all files is possible any more; one of its metadata is.
"""

from collections.abc import Collection
from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.ports.ostree import Repo
from pipeline.words.refs import Commit


def drop_files(repo: Repo, commits: Collection[Commit]) -> None:
    """Give up the files of commits, but for those that others have too.

    A prune by refs has to follow, which frees the room. May be given again for what a kill left
    half done. Whoever calls sees to it that nobody makes a commit meanwhile: its root directory
    could be one that is about to go.
    """
    here = [commit for commit in commits if repo.has_metadata(commit)]
    for commit in here:
        # First: a commit without its root that is not marked would be damage.
        write_text(repo.path / "state" / f"{commit}.commitpartial", "")
    roots = {repo.info(commit, thinned=True).tree for commit in here}
    going = [root for root in roots if _place(repo, root).exists()]
    used = _directories(repo) if going else set()
    for root in going:
        if root not in used:
            _place(repo, root).unlink()


def _directories(repo: Repo) -> set[str]:
    """List the directories of all trees that a ref leads to, by history too, and are whole.

    What no ref leads to is removed by the prune that follows, as a whole.
    """
    heads = dict.fromkeys(repo.refs().values())
    infos = [info for at in heads for info in repo.history(at)]
    todo = [info.tree for info in infos if repo.has_commit(info.commit)]
    found: set[str] = set()
    while todo:
        tree = todo.pop()
        if tree not in found:
            found.add(tree)
            todo += [inner for inner, _meta in repo.directory(tree).dirs.values()]
    return found


def _place(repo: Repo, tree: str) -> Path:
    return repo.path / "objects" / tree[:2] / f"{tree[2:]}.dirtree"
