# SPDX-License-Identifier: LGPL-2.1-or-later
"""The samples' trees with a few files replaced, on a disk, to see what becomes of their boot.

The disk of a spoilt tree grows on that of the tree as it should be, so that it is made in a second
and takes no room. Debian's is its base alone: components make no difference to a boot.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.ports.files import lock
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.test import TestRequest
from pipeline.words import journal
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
from pipeline.words.tree import Tree
from tests import machines
from tests.layers import write_files

_REF = RefName("spoilt/compose/x86_64-runtime")
Layer = Mapping[str, str | bytes | None]


def tiny_request(
    layer: Layer,
    into: Path,
    *,
    options: tuple[str, ...] = (),
    smoke: Mapping[str, object] | None = None,
    log: Log,
) -> TestRequest:
    """Ask for the smoke suite on a tiny that is spoilt."""
    made = machines.tiny_disk(log)
    return _request(made.repo, made.tree.commit, made.target, layer, into, options, smoke, log)


def debian_request(
    layer: Layer,
    into: Path,
    *,
    options: tuple[str, ...] = (),
    smoke: Mapping[str, object] | None = None,
    log: Log,
) -> TestRequest:
    """Ask for the smoke suite on a Debian that is spoilt."""
    manifest = machines.sample("debian")
    top = machines.cache_of_tests() / "test-spoilt"
    with lock(top / "lock", what="the Debian of the tests", wait_s=1800.0):
        repo = Repo(top / "repo", log=log).create(Mode.BARE_USER)
        _, variants = machines.import_sample(manifest, repo, variants=(("runtime",),), log=log)
    target = manifest.target("runtime")
    # Of the components there is none here that could greet.
    required = {journal.JOURNAL_STARTED: "", journal.STARTUP_FINISHED: ""}
    target = replace(target, smoke=replace(target.smoke, required=required))
    return _request(repo, variants["runtime"], target, layer, into, options, smoke, log)


def _request(
    repo: Repo,
    clean: Commit,
    target: Target,
    layer: Layer,
    into: Path,
    options: tuple[str, ...],
    smoke: Mapping[str, object] | None,
    log: Log,
) -> TestRequest:
    given: dict[str, Any] = dict(smoke or {})
    target = replace(
        target,
        kernel_options=(*target.kernel_options, *options),
        smoke=replace(target.smoke, **given),
    )
    disks = repo.path.parent / "disks"
    with lock(repo.path.parent / "spoilt.lock", what="a spoilt tree", wait_s=1800.0):
        ground = _commit(repo, clean, {})
        spoilt = _commit(repo, ground, layer) if layer else ground
        for commit in dict.fromkeys((ground, spoilt)):
            request = DiskRequest(osname="spoilt", ref=_REF, commit=commit, target=target)
            disk = make_disk(request, repo=repo.path, disks=disks, log=log)
    tree = Tree(
        name="x86_64-runtime",
        arch="x86_64",
        target=target.name,
        commit=spoilt,
        content="",
        version=machines.VERSION,
        snapshot="",
    )
    return TestRequest(
        run=machines.VERSION, tree=tree, target=target, disk=disk, suite="smoke", into=into
    )


def _commit(repo: Repo, below: Commit, layer: Layer) -> Commit:
    """Commit a tree with files replaced, or, with None, taken out; the same one only once."""
    state = hashlib.sha256(repr((below, sorted(layer.items()))).encode()).hexdigest()[:24]
    ref = RefName(f"spoilt/{state}")
    found = repo.resolve(ref)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="ostci-spoilt-") as name:
        if None in layer.values():
            top = Path(name) / "whole"
            repo.checkout(below, top)
            for path in layer:
                (top / path).unlink(missing_ok=True)
            # Taken out first: what lies there is linked with the repository.
            write_files(top, {path: text for path, text in layer.items() if text is not None})
            layers = [repo.commit_dir(top, subject="spoilt")]
        else:
            texts = {path.lstrip("/"): text for path, text in layer.items()}
            top = write_files(Path(name) / "layer", texts)
            for program in top.rglob("crashes"):
                program.chmod(0o755)
            layers = [below, repo.commit_dir(top, subject="layer")] if layer else [below]
        made = repo.commit_layers(layers, subject="spoilt", bind=[_REF])
    repo.set_ref(ref, made)
    return made
