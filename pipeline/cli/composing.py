# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stage ``compose`` of a run: its trees, when it is the run's turn."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext

from pipeline.cli.passage import Passage
from pipeline.cli.results import Resolved, Trees
from pipeline.cli.turns import turn
from pipeline.stages import base as base_stage
from pipeline.stages import compose as compose_stage
from pipeline.stages.building.request import BuildResult
from pipeline.words.errors import BadInput, Failed
from pipeline.words.manifest import Manifest, OnFailed, Target
from pipeline.words.records import from_json
from pipeline.words.refs import Commit, Part
from pipeline.words.targets import target_of
from pipeline.words.tree import Tree


def compose(passage: Passage, *, targets: Sequence[str] = (), wait_s: float | None = None) -> None:
    """Make the trees of the targets that were named, or of all, when it is this run's turn."""
    with passage.stage("compose"):
        manifest = passage.manifest
        result = passage.read("build", BuildResult)
        whole = not result.failed and not result.blocked
        if not whole and manifest.on_failed is not OnFailed.LAST_GOOD:
            raise Failed(
                f"nothing is composed without {', '.join((*result.failed, *result.blocked))}",
                hint=passage.command("build"),
            )
        parts = {**_last_good(passage, (*result.failed, *result.blocked)), **result.parts()}
        targets = targets or passage.wish.targets
        before = _composed_before(passage) if not targets else ()
        if before:
            passage.tell(f"composed before: {_named(before)}")
            return
        digest = passage.snapshot.digest
        # What is tried stands in no line, and waits for nobody.
        with turn(passage, wait_s=wait_s) if passage.trial is None else nullcontext():
            trees = _compose(passage, targets, parts, whole=whole)
            # Before the next one's turn: what is killed then finds its trees when it goes on.
            passage.merge(
                "trees",
                Trees,
                lambda old: _with_trees(old if targets else None, trees, of=digest),
            )
        passage.tell(_named(trees))


def _named(trees: Sequence[Tree]) -> str:
    return ", ".join(f"{tree.name} {tree.commit[:12]}" for tree in trees)


def _composed_before(passage: Passage) -> tuple[Tree, ...]:
    """Find the trees of a run that goes on after a later one has composed: they are in the line."""
    house, run = passage.house, passage.run
    if passage.trial is not None or not run.file("trees").is_file():
        return ()
    trees = passage.read("trees", Trees).trees
    digest = passage.snapshot.digest
    if any(tree.snapshot != digest or not house.repo.has_commit(tree.commit) for tree in trees):
        return ()
    newer = house.ledger.tickets.renew(run.version, passage.record.osname)
    return () if newer is None else trees


def _compose(
    passage: Passage,
    targets: Sequence[str],
    parts: Mapping[str, Mapping[Part, Commit]],
    *,
    whole: bool,
) -> list[Tree]:
    house = passage.house
    base = passage.read("base", base_stage.BaseResult)
    overrides = passage.read("resolve", Resolved).overrides
    trees = []
    for target in _chosen(passage.manifest, house.arch, targets):
        request = compose_stage.ComposeRequest(
            snapshot=passage.snapshot,
            run=passage.run.version,
            arch=house.arch,
            target=target,
            base=_variant(base, target, passage),
            parts=parts,
            promotable=whole and not overrides,
            tried=passage.trial is not None,
            parent=_start(passage, target) if passage.trial is not None else None,
        )
        tree = compose_stage.compose(
            request, repo=house.repo, cache=house.workdir.cache, tmp=house.tmp, log=house.log
        )
        revisions = {name: pin.revision for name, pin in passage.snapshot.pins.items()}
        chosen = {name: revisions[name] for name in target.components if name in revisions}
        house.ledger.record_tree(passage.run.version, tree, chosen)
        trees.append(tree)
    return trees


def _start(passage: Passage, target: Target) -> Commit | None:
    """Find the tree that a try began from: it is compared with that."""
    house = passage.house
    assert passage.trial is not None
    start = passage.trial.start
    if passage.trial.server:
        # A run of ours may have the same version.
        return passage.taken_tree(f"{house.arch}-{target.name}")
    if not house.workdir.is_run(start) or not house.workdir.run(start).file("trees").is_file():
        return None
    path = house.workdir.run(start).file("trees")
    for tree in from_json(Trees, path.read_bytes(), where=str(path)).trees:
        if (tree.target, tree.arch) == (target.name, house.arch):
            return tree.commit if house.repo.has_commit(tree.commit) else None
    return None


def _with_trees(earlier: Trees | None, made: Sequence[Tree], *, of: str) -> Trees:
    """Keep the trees of other targets that the run has made before of the same snapshot.

    What a run promotes together is of one snapshot, also where it was resolved once more.
    """
    names = {tree.name for tree in made}
    there = earlier.trees if earlier else ()
    kept = [tree for tree in there if tree.name not in names and tree.snapshot == of]
    return Trees(trees=(*kept, *made))


def _last_good(passage: Passage, names: Iterable[str]) -> dict[str, Mapping[Part, Commit]]:
    """Find what stands in for components that failed; raises Failed where nothing can."""
    house = passage.house
    found = {}
    for name in names:
        component = passage.manifest.component(name)
        arch = "noarch" if component.noarch else house.arch
        artifact = house.artifacts.latest(name, arch)
        if artifact is None:
            raise Failed(f"{name} failed and never was built before", where=name)
        house.log.warning("its last good artifact stands in for it", about=name)
        found[name] = artifact.commits
    return found


def _chosen(manifest: Manifest, arch: str, names: Sequence[str]) -> tuple[Target, ...]:
    if names:
        return tuple(target_of(manifest, name.removeprefix(f"{arch}-")) for name in names)
    return tuple(target for _, own, target in manifest.trees() if own == arch)


def _variant(base: base_stage.BaseResult, target: Target, passage: Passage) -> Commit:
    name = "+".join(target.packages)
    if name not in base.variants:
        raise BadInput(f"the base has no variant {name}", hint=passage.command("base"))
    return base.variants[name]
