# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find what some suites need beside the tree under test: what was promoted before, other trees."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.cli.passage import Passage
from pipeline.cli.results import Trees
from pipeline.ports.ledger_rows import PromotionState
from pipeline.ports.worker_home import IDENTITY
from pipeline.stages.testing.needs import Beside
from pipeline.words.manifest import Target
from pipeline.words.records import from_json
from pipeline.words.refs import Commit
from pipeline.words.suite import FROM_PROMOTED, SWITCH, Baseline
from pipeline.words.targets import target_of
from pipeline.words.tree import Disk, Tree

MakeDisk = Callable[[Tree, Target], Disk]
_MOVED = (PromotionState.BEGUN, PromotionState.DONE)


@dataclass(frozen=True, kw_only=True)
class KnownBeside:
    """``assigned/beside-TREE.json``: what a master tells a worker, whose ledger knows nothing."""

    promoted: tuple[Commit, ...] = ()


def beside_file(tree: str) -> str:
    """Name the file of a run with what was promoted before, without ``.json``."""
    return f"assigned/beside-{tree}"


def beside_of(passage: Passage, tree: Tree, suite: str, *, disk_of: MakeDisk) -> Beside:
    """Find what a suite on a tree needs; what cannot be had is told in the answer."""
    name = suite.partition("/")[0]
    osname = passage.manifest.osname
    if name == SWITCH:
        other, why = _other(passage, tree)
        return Beside(osname=osname, other=other, why_no_other=why)
    if name not in FROM_PROMOTED:
        return Beside(osname=osname)
    repo = passage.house.repo
    commit, others = baseline_of(passage, tree)
    if commit is None:
        here = any(repo.has_commit(one) for one in others)
        why = "what was promoted before is newer" if here else "what was promoted is not here"
        return Beside(osname=osname, is_first=not others, why_no_baseline=why)
    version = repo.info(commit).metadata.get("version", "")
    before = replace(tree, commit=commit, version=version)
    disk = disk_of(before, target_of(passage.manifest, tree.target))
    return Beside(osname=osname, baseline=Baseline(tree=before, disk=disk))


def baseline_of(passage: Passage, tree: Tree) -> tuple[Commit | None, tuple[Commit, ...]]:
    """Find the newest that a tree was promoted to before it, and list all other than itself.

    A client refuses to upgrade to what is not later, so that a newer one is no baseline.
    """
    repo = passage.house.repo
    others = tuple(one for one in promoted_before(passage, tree.name) if one != tree.commit)
    time = repo.info(tree.commit).time
    here = (one for one in others if repo.has_commit(one))
    return next((one for one in here if repo.info(one).time < time), None), others


def elsewhere(passage: Passage, tree: Tree, suite: str) -> tuple[KnownBeside | None, list[Commit]]:
    """Tell what a worker elsewhere has to know for a suite, and which commits it needs besides."""
    name = suite.partition("/")[0]
    if name in FROM_PROMOTED:
        commit, others = baseline_of(passage, tree)
        # That there is any is part of the answer, also where the worker cannot have it.
        known = others if commit is None else (commit,)
        return KnownBeside(promoted=known[:1]), [] if commit is None else [commit]
    if name == SWITCH:
        other, _ = _other(passage, tree)
        return None, [] if other is None else [other.commit]
    return None, []


def promoted_before(passage: Passage, tree: str) -> tuple[Commit, ...]:
    """List what a tree was promoted to, the newest first: by our ledger, or by the master's."""
    path = passage.run.file(beside_file(tree))
    # The master's own run has that file, too: what it told a worker a while ago.
    if path.is_file() and (passage.house.workdir.root / IDENTITY).is_file():
        return from_json(KnownBeside, path.read_bytes(), where=str(path)).promoted
    rows = passage.house.ledger.promotions(tree, states=_MOVED)
    osname = passage.manifest.osname
    taken = passage.taken_tree(tree)
    found = [taken] if taken is not None else []
    return tuple(dict.fromkeys([*found, *(row.commit for row in rows if row.osname == osname)]))


def _other(passage: Passage, tree: Tree) -> tuple[Tree | None, str]:
    """Find another target's tree of the same architecture, in the order of the manifest."""
    trees = passage.read("trees", Trees, before="compose").trees
    others = [one for one in trees if one.arch == tree.arch and one.name != tree.name]
    if not others:
        return None, f"{tree.target} is the only target of this run"
    here = [one for one in others if passage.house.repo.has_commit(one.commit)]
    return (here[0], "") if here else (None, f"{others[0].name} is not here")
