# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compose: put the artifacts of a target over the base, and commit the tree.

Nothing is checked out for that: directories are merged in metadata, and what was merged before is
remembered, so that a run in which one of a thousand components changed costs a few dozen small
merges. Files are only looked at by triggers (``composing.triggers``), over an overlay.
"""

import hashlib
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import merges
from pipeline.ports.files import no_space
from pipeline.ports.log import Log
from pipeline.ports.merges import Merges
from pipeline.ports.ostree import CommitInfo, Repo, dump_metadata
from pipeline.ports.ostree_objects import Missing, Objects
from pipeline.stages.composing.boot import one_kernel, with_initramfs, with_path
from pipeline.stages.composing.merge import EMPTY_TREE, Merged, Merger
from pipeline.stages.composing.triggers import Runner, all_triggers, write_whole
from pipeline.words.conflicts import Conflict, Meeting, refuse, told
from pipeline.words.errors import Trouble
from pipeline.words.layers import Layer, shape
from pipeline.words.manifest import Component, Conflicts, Target
from pipeline.words.refs import (
    Commit,
    Part,
    RefName,
    buildmaster_ref,
    compose_ref,
    try_ref,
)
from pipeline.words.snapshot import Snapshot, deciding_json
from pipeline.words.tree import Tree

__all__ = ["SNAPSHOT_PATH", "ComposeRequest", "compose"]

SNAPSHOT_PATH = "/usr/share/ostci/snapshot.json"
VERSION_KEY = "version"
SNAPSHOT_KEY = "ostci.snapshot"
COMPONENTS_KEY = "ostci.components"
_MACHINE_ID = "/usr/etc/machine-id"
_SHOWN_CHANGES = 50


@dataclass(frozen=True, kw_only=True)
class ComposeRequest:
    """``base`` is the variant of the target's package lists, ``parts`` what was built.

    What is not ``promotable`` (a stand-in for a component that failed, a working copy) is bound
    to its compose ref alone, so that no client takes it from another. What is ``tried`` is on a ref
    of its run and bound to that; ``parent`` is the tree that it is a change of.
    """

    snapshot: Snapshot
    run: str
    arch: str
    target: Target
    base: Commit
    parts: Mapping[str, Mapping[Part, Commit]]
    promotable: bool = True
    tried: bool = False
    parent: Commit | None = None


@dataclass(frozen=True, kw_only=True)
class _Made:
    tree: bytes
    meta: bytes
    conflicts: tuple[str, ...]
    digest: str
    """``Snapshot.digest``."""


def compose(request: ComposeRequest, *, repo: Repo, cache: Path, tmp: Path, log: Log) -> Tree:
    """Make the tree of a target, commit it and move its compose ref; or find it unchanged.

    Raises Failed where layers cannot be put over each other or a trigger fails.
    """
    objects = Objects(repo)
    with merges.opened(cache / "compose.sqlite") as remembered:
        try:
            return _compose(request, objects, remembered, tmp=tmp, log=log)
        except Missing as missing:
            log.detail(f"{missing} is gone; what was remembered is forgotten")
        remembered.clear()
        try:
            return _compose(request, objects, remembered, tmp=tmp, log=log)
        except Missing as missing:
            raise Trouble(
                f"{missing} is missing or damaged",
                where=str(repo.path),
                hint=f"ostree fsck --repo={repo.path}",
            ) from missing


def _compose(
    request: ComposeRequest, objects: Objects, remembered: Merges, *, tmp: Path, log: Log
) -> Tree:
    merger = Merger(objects, remembered)
    # Written once: of a thousand components it is a large part of all the work.
    text = deciding_json(request.snapshot)
    made = _make(request, text, merger, tmp=tmp, log=log)
    remembered.save()
    return _commit(request, made, merger, log=log)


# The tree


def _make(request: ComposeRequest, snapshot: str, merger: Merger, *, tmp: Path, log: Log) -> _Made:
    manifest = request.snapshot.manifest
    chosen = _components(request)
    base_tree, meta = merger.objects.root(request.base)
    node = shape(_layers(request, chosen))
    layers = Merged(tree=EMPTY_TREE, meta=meta) if node is None else merger.merged(node)
    conflicts = _judge_conflicts(request, layers.conflicts, log=log)
    below = one_kernel(merger, base_tree, layers.tree)
    tree = _over_base(request, merger, below, layers.tree, chosen, log=log)
    base = f"{base_tree.hex()}:{meta.hex()}"
    with Runner(merger, meta, base, layers.tree, tmp=tmp, log=log) as runner:
        for trigger in all_triggers(manifest.triggers):
            tree = runner.run(trigger, tree)
        tree = with_initramfs(
            runner,
            merger,
            tree,
            layers.tree,
            kind=manifest.base.initramfs,
            epoch=manifest.initramfs_epoch,
            depends=_initramfs_parts(request, chosen),
            log=log,
        )
    tree = _with_snapshot(snapshot, merger, tree)
    tree = _without_identity(merger, tree, base_tree)
    digest = hashlib.sha256(snapshot.encode()).hexdigest()
    return _Made(tree=tree, meta=meta, conflicts=conflicts, digest=digest)


def _components(request: ComposeRequest) -> tuple[Component, ...]:
    """List the target's components in the manifest's order, without those that only bootstrap."""
    wanted = frozenset(request.target.components)
    return tuple(
        component
        for component in request.snapshot.manifest.components
        if component.name in wanted
        and not component.bootstrap
        and (not component.architectures or request.arch in component.architectures)
    )


def _layers(request: ComposeRequest, chosen: Sequence[Component]) -> list[Layer]:
    found = []
    for component in chosen:
        if component.name not in request.parts:
            raise Trouble(
                f"nothing was built of {component.name}",
                where=f"{request.arch}-{request.target.name}",
                hint=f"ostci build --run {request.run}",
            )
        parts = request.parts[component.name]
        found += [
            Layer(name=f"{component.name}/{part}", owner=component.name, commit=parts[part])
            for part in request.target.subtrees
            if part in parts
        ]
    return found


def _initramfs_parts(request: ComposeRequest, chosen: Sequence[Component]) -> dict[str, Commit]:
    return {
        component.name: request.parts[component.name][Part.RUNTIME]
        for component in chosen
        if component.initramfs_depends and Part.RUNTIME in request.parts[component.name]
    }


def _judge_conflicts(
    request: ComposeRequest, conflicts: Sequence[Conflict], *, log: Log
) -> tuple[str, ...]:
    """Report what components both install; raises Failed for what no tree can be made of."""
    where = f"{request.arch}-{request.target.name}"
    of_kind = [one for one in conflicts if one.is_of_kind]
    refuse(
        of_kind,
        "components cannot be put over each other",
        where=where,
        hint="let only one of them install the path, or leave one out of the target",
    )
    lines = told(conflicts)
    if conflicts and request.snapshot.manifest.conflicts is Conflicts.FATAL:
        refuse(
            conflicts,
            "components install the same paths",
            where=where,
            hint="let only one of them install each, or set conflicts: warn in the manifest",
        )
    for line in lines:
        log.warning(f"conflict: {line}", about=where)
    return tuple(str(one) for one in conflicts)


def _over_base(
    request: ComposeRequest,
    merger: Merger,
    base: bytes,
    components: bytes,
    chosen: Sequence[Component],
    *,
    log: Log,
) -> bytes:
    """Put the components over the base; replacing its files is what they are for, no conflict."""
    where = f"{request.arch}-{request.target.name}"
    tree, met = merger.over(base, components)
    replaced = [path for path, was, now in met if was == now]
    if replaced:
        log.detail(f"{len(replaced)} files of the base are replaced", about=where)
        for path in replaced:
            log.detail(f"replaced: {path}", about=where)
    impossible = []
    for path, was, now in met:
        if was != now:
            first, second = merger.find(base, path), merger.find(components, path)
            impossible.append(
                Conflict(
                    path=path,
                    first="the base",
                    second=_owners_of(request, merger, path, chosen),
                    was=merger.meeting(*first) if first else Meeting.DIRECTORY,
                    now=merger.meeting(*second) if second else Meeting.DIRECTORY,
                )
            )
    refuse(
        impossible,
        "components cannot be put over the base",
        where=where,
        hint="install below /usr, where the directories of the base are no links",
    )
    return tree


def _owners_of(
    request: ComposeRequest, merger: Merger, path: str, chosen: Sequence[Component]
) -> str:
    owners = {
        layer.owner
        for layer in _layers(request, chosen)
        if merger.find(merger.objects.root(layer.commit)[0], path) is not None
    }
    return ", ".join(sorted(owners)) or "a component"


def _with_snapshot(snapshot: str, merger: Merger, tree: bytes) -> bytes:
    """Put the snapshot into the tree, as text that equal snapshots have in common."""
    text = snapshot + "\n"
    key = f"snapshot {hashlib.sha256(text.encode()).hexdigest()}"
    known = merger.merges.get(key)
    checksum = None if known is None else bytes.fromhex(known)
    if checksum is None or not merger.objects.has(checksum, "file"):
        repo = merger.objects.repo
        with tempfile.TemporaryDirectory(prefix="snapshot-", dir=repo.path / "tmp") as name:
            with no_space(Path(name), len(text)):
                Path(name, "snapshot.json").write_text(text)
            Path(name, "snapshot.json").chmod(0o644)
            commit = repo.commit_dir(Path(name), subject="snapshot")
        checksum = merger.listing(merger.objects.root(commit)[0]).files["snapshot.json"]
        merger.merges.put(key, checksum.hex())
    meta = merger.objects.write_dirmeta(mode=0o755)
    return with_path(merger, tree, SNAPSHOT_PATH, checksum, meta)


def _without_identity(merger: Merger, tree: bytes, base: bytes) -> bytes:
    """Have the base's machine-id, which is empty: a tree is not a machine."""
    ours, own = merger.find(tree, _MACHINE_ID), merger.find(base, _MACHINE_ID)
    if ours == own:
        return tree
    tree = merger.without(tree, [_MACHINE_ID])
    if own is None or own[0] != "f":
        return tree
    return with_path(merger, tree, _MACHINE_ID, own[1], merger.objects.write_dirmeta())


# The commit


def _commit(request: ComposeRequest, made: _Made, merger: Merger, *, log: Log) -> Tree:
    """Commit a tree and move its ref, which is the last thing that happens."""
    repo, objects = merger.objects.repo, merger.objects
    name = f"{request.arch}-{request.target.name}"
    osname = request.snapshot.manifest.osname
    ref = try_ref(osname, request.run, name) if request.tried else compose_ref(osname, name)
    is_bound = request.promotable and not request.tried
    bind = [ref, *([buildmaster_ref(osname, name)] if is_bound else [])]
    revisions = {
        component.name: request.snapshot.pins[component.name].revision
        for component in _components(request)
        if component.name in request.snapshot.pins
    }
    metadata = {
        VERSION_KEY: request.run,
        SNAPSHOT_KEY: made.digest,
        COMPONENTS_KEY: dump_metadata(revisions),
    }
    with repo.locked(f"compose of {name}"), repo.without_prune():
        head = repo.resolve(ref)
        here = repo.info(head) if head is not None else None
        content = f"{made.tree.hex()}:{made.meta.hex()}"
        if here is not None and _is_same(here, content, metadata, bind):
            log.detail(f"unchanged since {here.metadata[VERSION_KEY]}", about=name)
            return _tree(request, name, made, here.commit, here.metadata[VERSION_KEY], True)
        first = repo.info(request.parent) if request.parent is not None else None
        parent = first if request.tried else here
        write_whole(merger, made.tree, bytes.fromhex(parent.tree) if parent else None)
        commit = objects.write_commit(
            made.tree,
            made.meta,
            subject=f"{name} {request.run}",
            body=_body(parent, revisions),
            metadata=metadata,
            parent=parent.commit if parent else None,
            bind=bind,
            time_s=max(int(time.time()), parent.time + 1 if parent else 0),
        )
        repo.set_refs({ref: commit})
    return _tree(request, name, made, commit, request.run, False)


def _is_same(
    parent: CommitInfo, content: str, metadata: Mapping[str, str], bind: Sequence[RefName]
) -> bool:
    """Tell whether the newest commit is what would be made, but for its version and time."""
    same = all(parent.metadata.get(key) == metadata[key] for key in (SNAPSHOT_KEY, COMPONENTS_KEY))
    return same and parent.content == content and set(parent.bindings) == set(bind)


def _tree(
    request: ComposeRequest, name: str, made: _Made, commit: Commit, version: str, unchanged: bool
) -> Tree:
    return Tree(
        name=name,
        arch=request.arch,
        target=request.target.name,
        commit=commit,
        content=f"{made.tree.hex()}:{made.meta.hex()}",
        version=version,
        snapshot=made.digest,
        unchanged=unchanged,
        conflicts=made.conflicts,
    )


def _body(parent: CommitInfo | None, revisions: Mapping[str, str]) -> str:
    """Say which components changed since the commit before."""
    if parent is None:
        return ""
    before = json.loads(parent.metadata.get(COMPONENTS_KEY, "{}"))
    lines = []
    for name in sorted(before.keys() | revisions.keys()):
        was, now = before.get(name), revisions.get(name)
        if was != now:
            told = f"{was[:12] if was else 'new'} → {now[:12] if now else 'gone'}"
            lines.append(f"{name}: {told}")
    if len(lines) > _SHOWN_CHANGES:
        lines[_SHOWN_CHANGES:] = [f"and {len(lines) - _SHOWN_CHANGES} more"]
    return "\n".join(lines)
