# SPDX-License-Identifier: LGPL-2.1-or-later
"""What leads from one revision of a mirror to another."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.ports.git_commands import Git
from pipeline.ports.git_revision import find_revision
from pipeline.words.push import History

_MOST = 1000
"""First-parent commits that are told of one move, and those that a merge brought in; of more, the
newest."""


def read_history(mirror: Path, before: str, after: str, *, git: Git) -> History:
    """Tell the commits between two revisions, oldest first; ``after`` is in the mirror.

    A merge comes right behind what it brought in. Where the old revision is no ancestor of the
    new one, the branch was rewritten, and what is told are the commits since they parted.
    """
    common: list[str | Path] = ["--git-dir", mirror]
    if find_revision(mirror, before, git=git) is None:
        return History(rewritten=True)
    ask = [*common, "merge-base", "--is-ancestor", before, after]
    rewritten = git.run(ask, ok=(0, 1)).code == 1
    argv = [*common, "rev-list", "--first-parent", "--parents", f"--max-count={_MOST + 1}"]
    told = git.run([*argv, after, f"^{before}", "--"]).text.splitlines()
    line: list[str] = []
    every: list[str] = []
    for one in reversed(told[:_MOST]):
        commit, *parents = one.split()
        line.append(commit)
        if len(parents) > 1:
            every += _brought_in(mirror, commit, [parents[0], before], git)
        every.append(commit)
    is_cut = len(told) > _MOST
    return History(line=tuple(line), all=tuple(every), rewritten=rewritten, cut=is_cut)


def _brought_in(mirror: Path, merge: str, known: list[str], git: Git) -> list[str]:
    """List what a merge brought in that was not there, without the merge itself."""
    argv: list[str | Path] = ["--git-dir", mirror, "rev-list", "--topo-order"]
    argv += [f"--max-count={_MOST}", merge, *(f"^{one}" for one in known), "--"]
    return [one for one in reversed(git.run(argv).text.splitlines()) if one != merge]


def read_messages(mirror: Path, revisions: Sequence[str], *, git: Git) -> list[str]:
    """Read the messages of commits that are in the mirror."""
    argv: list[str | Path] = ["--git-dir", mirror, "log", "--no-walk=unsorted", "-z"]
    done = git.run([*argv, "--format=%B", "--end-of-options", *revisions, "--"])
    return done.stdout.decode("utf-8", "replace").split("\0")


def is_within(mirror: Path, revision: str, tip: str, *, git: Git) -> bool:
    """Tell whether a commit, by how its revision begins, is in the mirror and led to another."""
    argv: list[str | Path] = ["--git-dir", mirror, "merge-base", "--is-ancestor", revision, tip]
    return git.run(argv, ok=()).code == 0
