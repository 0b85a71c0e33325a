# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a suite needs beside the tree's own disk: what was promoted before, other trees, sizes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.testing.own_repository import make_own_repository
from pipeline.words.refs import Commit
from pipeline.words.suite import (
    FROM_PROMOTED,
    MEMORY,
    NO_BASELINE,
    SWITCH,
    Baseline,
    OwnRepository,
)
from pipeline.words.tree import Tree

BOOTS: Mapping[str, int] = {"upgrade": 3, "rollback": 10, SWITCH: 5}
"""How many boots a suite may take the time of, where it is more than one."""
UPGRADES: Mapping[str, int] = {"upgrade": 3, "rollback": 2, SWITCH: 3}
UPGRADE_S = 120.0
"""What a download and a deployment may take on a host with KVM."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What may be needed: ``baseline`` was promoted before, ``other`` is another target's tree.

    ``why_no_baseline`` and ``why_no_other`` say in a line why there is none; ``is_first``: nothing
    else was ever promoted.
    """

    osname: str = ""
    baseline: Baseline | None = None
    why_no_baseline: str = "nothing is known of what was promoted"
    is_first: bool = False
    other: Tree | None = None
    why_no_other: str = "nothing is known of other targets"


@dataclass(frozen=True, kw_only=True)
class Skip:
    """Why a suite cannot be run on a tree, and the cause of that as it is recorded."""

    message: str
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a suite's process is given."""

    own: OwnRepository | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


def skip_of(suite: str, beside: Beside) -> Skip | None:
    """Tell why a suite cannot be run; None where it can."""
    if suite in FROM_PROMOTED and beside.baseline is None:
        if beside.is_first:
            return Skip(message="no baseline: nothing else was promoted yet", cause=NO_BASELINE)
        return Skip(message=f"no baseline here: {beside.why_no_baseline}")
    if suite == SWITCH and beside.other is None:
        return Skip(message=f"no other tree: {beside.why_no_other}")
    return None


def besides_s(suite: str, boot_s: float, speed: float) -> float:
    """Tell how much longer than a boot and some tests a suite may take, in seconds."""
    more = max(0, BOOTS.get(suite, 1) - 1) * boot_s
    return more + UPGRADES.get(suite, 0) * UPGRADE_S * speed


def needs_of(
    suite: str, tree: Tree, beside: Beside, *, repo: Path | None, into: Path, log: Log
) -> Needs:
    """Make what a suite needs, in a directory that is thrown away after it."""
    if suite in FROM_PROMOTED or suite == SWITCH:
        assert repo is not None, "a guest that upgrades needs the repository that has the tree"
        with log.step("the run's own repository"):
            return Needs(own=_own(suite, tree, beside, repo, into, log))
    if suite == MEMORY and repo is not None:
        return Needs(sizes=_sizes(Repo(repo, log=log), tree.commit))
    return Needs()


def _own(suite: str, tree: Tree, beside: Beside, repo: Path, into: Path, log: Log) -> OwnRepository:
    trees = [tree]
    if suite == SWITCH and beside.other is not None:
        trees.append(beside.other)
    upgrade = None
    if suite == "upgrade" and beside.baseline is not None:
        upgrade = (beside.baseline.tree.commit, tree.commit)
    return make_own_repository(
        trees,
        into / "own",
        osname=beside.osname,
        built_in=repo,
        also=[beside.baseline.tree.commit] if beside.baseline is not None else [],
        upgrade=upgrade,
        is_to_break=suite == "rollback",
        log=log,
    )


def _sizes(repo: Repo, commit: Commit) -> dict[str, int]:
    """Add up a tree's files, each once, and its initramfs."""
    files = {path: checksum for path, checksum in repo.walk(commit) if not path.endswith("/")}
    size = {checksum: repo.file_size(checksum) for checksum in set(files.values())}
    initramfs = [one for path, one in files.items() if path.endswith("/initramfs.img")]
    return {
        "tree_bytes": sum(size.values()),
        "initramfs_bytes": sum(size[one] for one in initramfs),
        "files": len(files),
    }
