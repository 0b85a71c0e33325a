# SPDX-License-Identifier: LGPL-2.1-or-later
"""One git commit of a mirror, read once and then recalled: a resolve asks for the same every time.

Which revision is wanted, and whether it is here at all, is not known here.
"""

import json
from dataclasses import asdict
from pathlib import Path

from pipeline.ports.git_commands import Git
from pipeline.ports.git_known import recalled
from pipeline.ports.submodules import Submodule, list_submodules
from pipeline.words.errors import Trouble
from pipeline.words.refs import Revision
from pipeline.words.snapshot import Pin


def find_revision(mirror: Path, name: str, *, git: Git) -> Revision | None:
    """Tell what revision a name stands for in a mirror; None where it is not there."""
    if not (mirror / "HEAD").is_file():
        return None

    def ask() -> str | None:
        argv: list[str | Path] = ["--git-dir", mirror, "rev-parse", "--verify", "--quiet"]
        done = git.run([*argv, "--end-of-options", f"{name}^{{commit}}"], ok=())
        return done.text if done.code == 0 else None

    found = recalled(mirror, f"revision of {name}", ask)
    return Revision(found) if found is not None else None


def read_commit(mirror: Path, revision: Revision, *, git: Git) -> Pin:
    """Tell what a revision is, without its submodules; raises Trouble for a damaged mirror."""

    def describe() -> str:
        argv: list[str | Path] = ["--git-dir", mirror, "describe", "--long", "--abbrev=42"]
        return git.run([*argv, "--tags", "--always", revision]).text

    def ask() -> str:
        return json.dumps(_read(mirror, revision, git))

    tree, subject, time_s = json.loads(recalled(mirror, f"commit {revision}", ask) or "")
    name = recalled(mirror, f"name of {revision}", describe) or ""
    return Pin(revision=revision, tree=tree, subject=subject, commit_time=time_s, describe=name)


def read_submodules(mirror: Path, revision: Revision, *, where: str, git: Git) -> list[Submodule]:
    """List the submodules of a revision, as ``list_submodules`` does."""

    def ask() -> str:
        found = list_submodules(mirror, revision, where=where, git=git)
        return json.dumps([asdict(one) for one in found])

    told = json.loads(recalled(mirror, f"submodules of {revision}", ask) or "[]")
    return [Submodule(**one) for one in told]


def _read(mirror: Path, revision: Revision, git: Git) -> tuple[str, str, int]:
    # Loaded when first needed: it takes longer than ``ostci plan`` does with everything else.
    import git as gitpython

    try:
        # Closed at once: it keeps a git running for each repository that is open.
        with gitpython.Repo(mirror) as repo:
            repo.git.update_environment(**git.environment(GIT_DIR=str(mirror.absolute())))
            commit = repo.commit(revision)
            return commit.tree.hexsha, str(commit.summary), commit.committed_date
    except (gitpython.GitError, ValueError, OSError) as error:
        raise Trouble(
            f"the mirror is damaged: {error}", where=str(mirror), hint=f"rm -r {mirror}"
        ) from error
