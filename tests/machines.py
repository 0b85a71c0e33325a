# SPDX-License-Identifier: LGPL-2.1-or-later
"""A deployed tiny system in seconds, for tests that want a machine and not how it was built.

The base is the real one of ``manifests/tiny.yaml``; its components are compiled by this machine's
compiler, without sandbox, keys or split. What was made is kept in the shared cache, by the hash
of all that went in.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock
from pipeline.ports.log import Log
from pipeline.ports.mmdebstrap import Moved
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.base import BaseRequest, import_base, resolve_base, shared_cache
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.words.manifest import Manifest, Target
from pipeline.words.manifest_text import parse_manifest
from pipeline.words.refs import Commit, RefName, buildmaster_ref, compose_ref
from pipeline.words.snapshot import BasePin
from pipeline.words.tree import Disk, Tree

MANIFESTS = Path(__file__).parents[1] / "manifests"
ARCH = "x86_64"
VERSION = "20261125.0"
MAX_AGE_S = 24 * 3600.0
"""Tests do not mind lists of yesterday."""
BOTH = (("runtime",), ("runtime", "devel"))
"""The variants that each sample's base has."""
_LIBDIR = "/usr/lib/x86_64-linux-gnu"


@dataclass(frozen=True, kw_only=True)
class Tiny:
    """A tree of tiny, the repository that it is in, and its disk."""

    repo: Repo
    tree: Tree
    target: Target
    disk: Disk


def sample(name: str) -> Manifest:
    """Read a sample's manifest."""
    path = MANIFESTS / f"{name}.yaml"
    manifest, _warnings = parse_manifest(path.read_text(), str(path), relative_to=str(MANIFESTS))
    return manifest


def cache_of_tests() -> Path:
    """Name where tests keep what is expensive; it may be deleted at any time."""
    return shared_cache() or Path(tempfile.gettempdir()) / "ostci-tests"


def import_sample(
    manifest: Manifest, repo: Repo, *, variants: tuple[tuple[str, ...], ...], log: Log
) -> tuple[BasePin, dict[str, Commit]]:
    """Have variants of a sample's base in a repository.

    It is the base that a run of the sample has, whichever variants are wanted of it: else each
    variant would be made once for runs and once for tests, minutes for Debian.
    """
    cache, age_s = cache_of_tests(), MAX_AGE_S
    whole = sample_request(manifest)
    for is_last in (False, True):
        pin = resolve_base(whole, cache=cache, log=log, max_age_s=age_s)
        try:
            wanted = replace(whole, variants=variants)
            found = import_base(wanted, pin, repo=repo, cache=cache, log=log)
        except Moved:
            if is_last:
                raise
            age_s = 0.0
        else:
            break
    return pin, dict(found.variants)


def sample_request(manifest: Manifest) -> BaseRequest:
    """Ask for a sample's base as its runs do: with all that its targets and builds need."""
    return BaseRequest(base=manifest.base, osname=manifest.osname, arch=ARCH, variants=BOTH)


def tiny_base(log: Log) -> tuple[Repo, Commit]:
    """Have tiny's base, with a kernel, in a repository of the cache."""
    with _tiny_repo(log) as repo:
        _, variants = import_sample(sample("tiny"), repo, variants=(("runtime",),), log=log)
    return repo, variants["runtime"]


@contextmanager
def _tiny_repo(log: Log) -> Iterator[Repo]:
    top = cache_of_tests() / "test-tiny"
    with lock(top / "lock", what="the tiny guest of the tests", wait_s=900.0):
        yield Repo(top / "repo", log=log).create(Mode.BARE_USER)


def tiny_disk(log: Log, *, changed: Path | None = None) -> Tiny:
    """Make tiny's runtime tree and its disk, or find them; ``changed`` holds other sources."""
    manifest = sample("tiny")
    target = manifest.target("runtime")
    sources = changed or MANIFESTS / "tiny"
    with _tiny_repo(log) as repo:
        pin, variants = import_sample(manifest, repo, variants=(("runtime",),), log=log)
        tree = _tree(repo, sources, variants["runtime"], pin)
        disk = make_disk(
            DiskRequest(
                osname=manifest.osname,
                ref=compose_ref(manifest.osname, tree.name),
                commit=tree.commit,
                target=target,
            ),
            repo=repo.path,
            disks=repo.path.parent / "disks",
            log=log,
        )
    return Tiny(repo=repo, tree=tree, target=target, disk=disk)


def _tree(repo: Repo, sources: Path, base: Commit, pin: BasePin) -> Tree:
    state = hashlib.sha256("\n".join([pin.key, *_state(sources)]).encode()).hexdigest()
    ref = RefName(f"made/{state}")
    commit = repo.resolve(ref)
    if commit is None:
        with tempfile.TemporaryDirectory(prefix="ostci-tiny-") as name:
            layer = repo.commit_dir(_compiled(sources, Path(name), repo.log), subject="tiny")
        bound = (compose_ref("tiny", f"{ARCH}-runtime"), buildmaster_ref("tiny", f"{ARCH}-runtime"))
        commit = repo.commit_layers(
            [base, layer], subject="tiny", metadata={"version": VERSION}, bind=bound
        )
        repo.set_ref(ref, commit)
    repo.set_ref(compose_ref("tiny", f"{ARCH}-runtime"), commit)
    return Tree(
        name=f"{ARCH}-runtime",
        arch=ARCH,
        target="runtime",
        commit=commit,
        content=repo.info(commit).content,
        version=VERSION,
        snapshot=state,
    )


def _state(sources: Path) -> Iterable[str]:
    for path in sorted(path for path in sources.rglob("*") if path.is_file()):
        yield f"{path.relative_to(sources)} {hashlib.sha256(path.read_bytes()).hexdigest()}"


def _compiled(sources: Path, into: Path, log: Log) -> Path:
    """Install the components of tiny below a directory, in a tree's layout."""
    copy, layer = into / "sources", into / "layer"
    shutil.copytree(sources, copy)
    layer.mkdir()
    env = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "LIBDIR": _LIBDIR,
        "PKG_CONFIG_SYSROOT_DIR": str(layer),
        "PKG_CONFIG_PATH": f"{layer}{_LIBDIR}/pkgconfig",
    }
    for name in ("init", "hello-lib", "hello", "greeting"):
        argv = ["make", "-C", str(copy / name), "install", f"DESTDIR={layer}"]
        process.run(argv, log=log, env=env, deadline_s=120.0)
    (layer / "etc").rename(layer / "usr/etc")
    return layer
