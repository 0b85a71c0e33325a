# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kernel of a tree and its initramfs: whose they are, and when the latter is made anew.

OSTree deploys exactly one kernel, ``/usr/lib/modules/VERSION/vmlinuz``. One that a component
brings takes the place of the base's. The base comes with an initramfs; another is made where a
component is part of it (``initramfs-depends``) or brings a kernel or modules.
"""

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.ports.dracut import dracut_initramfs
from pipeline.ports.files import write_bytes
from pipeline.ports.initramfs import initramfs_digest, make_initramfs
from pipeline.ports.log import Log
from pipeline.stages.composing.merge import Merger
from pipeline.stages.composing.triggers import Runner
from pipeline.words.dirtree import EMPTY, Listing
from pipeline.words.errors import Failed
from pipeline.words.refs import Commit
from pipeline.words.snapshot import canonical_json

MODULES = "/usr/lib/modules"
_IMAGE = "initramfs.img"
_KERNEL = "vmlinuz"


def one_kernel(merger: Merger, base: bytes, components: bytes) -> bytes:
    """Take the base's kernels out of it where components bring one; tells the base's tree.

    Raises Failed where they bring several.
    """
    brought = sorted(_kernels(merger, components))
    if not brought:
        return base
    if len(brought) > 1:
        raise Failed(
            f"components bring {len(brought)} kernels, {', '.join(brought)}; a tree has one",
            hint="leave all but one of them out of the target",
        )
    others = [name for name in _kernels(merger, base) if name != brought[0]]
    return merger.without(base, [f"{MODULES}/{name}" for name in others])


def with_initramfs(
    runner: Runner,
    merger: Merger,
    tree: bytes,
    components: bytes,
    *,
    kind: str,
    epoch: int,
    depends: Mapping[str, Commit],
    log: Log,
) -> bytes:
    """Make the initramfs of a tree anew if it has to be; tells the tree with it.

    ``depends`` are the artifacts that become a part of it.
    """
    if kind == "none":
        return tree
    ours = _versions(merger, components)
    for version in _kernels(merger, tree):
        if not depends and version not in ours:
            continue
        key = f"initramfs {_key(merger, tree, version, kind, epoch, depends)}"
        known = merger.merges.get(key)
        checksum = None if known is None else bytes.fromhex(known)
        if checksum is None or not merger.objects.has(checksum, "file"):
            with log.step("initramfs", about=version):
                make = dracut_initramfs if kind == "dracut" else make_initramfs
                data = make(runner.checkout(tree), version, log)
                checksum = _store(merger, data)
            merger.merges.put(key, checksum.hex())
        names = [*MODULES.strip("/").split("/"), version, _IMAGE]
        tree = merger.replaced(tree, names, _with_file(checksum))
    return tree


def _versions(merger: Merger, tree: bytes) -> dict[str, Listing]:
    found = merger.find(tree, MODULES)
    if found is None or found[0] != "d":
        return {}
    dirs = merger.listing(found[1]).dirs
    return {name: merger.listing(below) for name, (below, _) in sorted(dirs.items())}


def _kernels(merger: Merger, tree: bytes) -> list[str]:
    return [name for name, here in _versions(merger, tree).items() if _KERNEL in here.files]


def _key(
    merger: Merger,
    tree: bytes,
    version: str,
    kind: str,
    epoch: int,
    depends: Mapping[str, Commit],
) -> str:
    here = _versions(merger, tree)[version]
    files = {name: sum_.hex() for name, sum_ in here.files.items() if name != _IMAGE}
    dirs = {name: below.hex() for name, (below, _) in here.dirs.items()}
    # What is in it besides, and comes from the base as a rule.
    programs = [
        str(merger.find(tree, path))
        for path in ("/usr/bin/busybox", "/usr/lib/ostree/ostree-prepare-root", "/usr/lib/dracut")
    ]
    value = [kind, initramfs_digest(), epoch, files, dirs, dict(depends), programs]
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _store(merger: Merger, data: bytes) -> bytes:
    repo = merger.objects.repo
    with tempfile.TemporaryDirectory(prefix="initramfs-", dir=repo.path / "tmp") as name:
        write_bytes(Path(name) / _IMAGE, data)
        commit = repo.commit_dir(Path(name), subject="initramfs")
    return merger.listing(merger.objects.root(commit)[0]).files[_IMAGE]


def _with_file(checksum: bytes) -> Callable[[Listing, str], Listing]:
    def change(here: Listing, name: str) -> Listing:
        return replace(here, files={**here.files, name: checksum})

    return change


def with_path(merger: Merger, tree: bytes, path: str, checksum: bytes, meta: bytes) -> bytes:
    """Put a file into a tree, with the directories that it lacks on the way (of ``meta``)."""
    *parents, name = [part for part in path.split("/") if part]
    layer = merger.keep(replace(EMPTY, files={name: checksum}))
    for parent in reversed(parents):
        layer = merger.keep(replace(EMPTY, dirs={parent: (layer, meta)}))
    return merger.over(tree, layer)[0]
