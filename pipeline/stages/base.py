# SPDX-License-Identifier: LGPL-2.1-or-later
"""Import the base: the tree that components are layered on, and the one they are built in.

Whatever a base is made from, each of its variants becomes a commit in the layout that OSTree
deploys, with a kernel and its initramfs in ``/usr/lib/modules``. A base that was imported before
is found by its key in the repository, or in a cache that all work directories of a person share.
"""

import contextvars
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.ports.depmod import add_module_lists
from pipeline.ports.dracut import dracut_initramfs
from pipeline.ports.files import lock, write_bytes
from pipeline.ports.initramfs import initramfs_digest, make_initramfs
from pipeline.ports.log import Log
from pipeline.ports.mmdebstrap import Moved
from pipeline.ports.ostree import Mode, Repo, dump_metadata
from pipeline.ports.userns import remove_tree
from pipeline.stages.basing import archives, debian
from pipeline.stages.basing.archive import convert
from pipeline.stages.basing.layout import LAYOUT_VERSION
from pipeline.stages.basing.request import (
    BaseRequest,
    BaseResult,
    Fetched,
    Resolved,
    not_here,
    variant_name,
)
from pipeline.words.errors import BadInput
from pipeline.words.manifest import BaseKind
from pipeline.words.refs import Commit, Key, RefName, base_ref, ref_part
from pipeline.words.snapshot import BasePin, canonical_json

__all__ = [
    "BaseRequest",
    "BaseResult",
    "have_base",
    "import_base",
    "resolve_base",
    "shared_cache",
]

METADATA_KEY = "ostci.base"
MAX_AGE_S = 3600.0
"""How old apt's lists may be when a base is resolved."""
_KEEP_SHARED = 8
"""Bases in the shared cache; the one that was used longest ago goes first."""
_TIMES = 3
_WAIT_S = 3600.0


def have_base(
    request: BaseRequest, *, repo: Repo, cache: Path, log: Log, max_age_s: float = MAX_AGE_S
) -> BaseResult:
    """Resolve the base and import it; from new lists where the archive moves on in between.

    An archive is written to while it is read (a security fix comes at any time), so that lists
    of an hour or a minute ago may name what nobody has any more. Raises as ``resolve_base`` and
    ``import_base``.
    """

    def have() -> BaseResult:
        pin = resolve_base(request, cache=cache, log=log, max_age_s=max_age_s)
        return import_base(request, pin, repo=repo, cache=cache, log=log)

    for _ in range(_TIMES - 1):
        try:
            return have()
        except Moved as moved:
            log.fact(f"{moved.what}; resolved anew", about="base")
            max_age_s = 0.0
    return have()


def resolve_base(
    request: BaseRequest, *, cache: Path, log: Log, max_age_s: float = MAX_AGE_S
) -> BasePin:
    """Find out what the base consists of now; its key is the hash of all that decides it.

    No package is downloaded. ``max_age_s`` is how old the mirrors' lists may be; 0 asks anew.
    Raises Failed where something named is not there, Trouble where nobody can tell.
    """
    found = _resolve(request, cache=cache, max_age_s=max_age_s, log=log)
    key = hashlib.sha256(
        canonical_json(
            {
                "kind": request.base.kind,
                "arch": request.arch,
                "remove": request.base.remove,
                "initramfs": [request.base.initramfs, initramfs_digest()],
                "layout": LAYOUT_VERSION,
                "inputs": found.inputs,
                "packages": found.packages,
            }
        ).encode()
    ).hexdigest()
    merged = {name: version for one in found.packages.values() for name, version in one.items()}
    return BasePin(key=Key(key), packages=dict(sorted(merged.items())))


def import_base(
    request: BaseRequest, pin: BasePin, *, repo: Repo, cache: Path, log: Log
) -> BaseResult:
    """Have a commit of every variant in ``repo``, and its ref on it.

    Made is only what neither the repository nor the shared cache has. Raises Failed where the
    base cannot be made, and Trouble where it can no longer be had as it was resolved.
    """
    with lock(cache / "locks" / f"base-{pin.key[:16]}.lock", what="the base", wait_s=_WAIT_S):
        found = {}
        for lists in request.variants:
            commit = _present(request, lists, pin, repo) or _take_shared(
                request, lists, pin, repo, log
            )
            if commit is not None:
                found[variant_name(lists)] = commit
        missing = [lists for lists in request.variants if variant_name(lists) not in found]
        if missing and request.offline and _needs_server(request):
            names = ", ".join(variant_name(lists) for lists in missing)
            raise not_here(request, f"what makes {names}")
        if missing:
            with log.step("make the base", about=request.base.name):
                found |= _make_all(request, missing, pin, repo=repo, cache=cache, log=log)
        for lists in request.variants:
            repo.set_ref(_ref(request, lists), found[variant_name(lists)])
        for lists in missing:
            _give_shared(lists, pin, repo, found[variant_name(lists)], log)
        _mark_used(pin)
    return BaseResult(pin=pin, variants=found, cached=not missing)


def _resolve(request: BaseRequest, *, cache: Path, max_age_s: float, log: Log) -> Resolved:
    kind = request.base.kind
    if kind is BaseKind.DEBIAN:
        return debian.resolve(request, cache=cache, max_age_s=max_age_s, log=log)
    if kind is BaseKind.TAR:
        return archives.resolve_tar(request)
    if kind is BaseKind.OSTREE:
        return archives.resolve_ostree(request, cache=cache, log=log)
    raise BadInput(
        f"a base of kind {kind} can be read but not made here",
        where="base",
        hint="let Yocto write a tar archive, and name that with tar:",
    )


def _needs_server(request: BaseRequest) -> bool:
    kind = request.base.kind
    return kind is BaseKind.DEBIAN or (kind is BaseKind.OSTREE and archives.is_served(request))


def _ref(request: BaseRequest, lists: tuple[str, ...]) -> RefName:
    return base_ref(request.osname, request.base.name, request.arch, variant_name(lists))


def _present(
    request: BaseRequest, lists: tuple[str, ...], pin: BasePin, repo: Repo
) -> Commit | None:
    commit = repo.resolve(_ref(request, lists))
    return commit if commit and _is_of(repo, commit, pin, variant_name(lists)) else None


def _is_of(repo: Repo, commit: Commit, pin: BasePin, variant: str) -> bool:
    if not repo.has_commit(commit):
        return False
    told = json.loads(repo.info(commit).metadata.get(METADATA_KEY, "{}"))
    return bool(told.get("key") == pin.key and told.get("variant") == variant)


# The cache that work directories share: a repository, because taking from it is only linking.


def shared_cache() -> Path | None:
    """Name the directory that work directories share; None when ``OSTCI_CACHE`` is set empty."""
    named = os.environ.get("OSTCI_CACHE")
    if named is not None:
        return Path(named).resolve() if named else None
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "ostci"


@contextmanager
def _shared(log: Log, *, alone: bool) -> Iterator[Repo | None]:
    directory = shared_cache()
    if directory is None:
        yield None
        return
    what = "the shared bases"
    with lock(directory / "bases.lock", what=what, wait_s=_WAIT_S, shared=not alone):
        repo = Repo(directory / "bases", log=log)
        yield repo.create(Mode.BARE_USER) if alone else repo


def _shared_ref(pin: BasePin, variant: str) -> RefName:
    return RefName(f"bases/{pin.key}/{ref_part(variant)}")


def _take_shared(
    request: BaseRequest, lists: tuple[str, ...], pin: BasePin, repo: Repo, log: Log
) -> Commit | None:
    variant = variant_name(lists)
    with _shared(log, alone=False) as shared:
        commit = shared.resolve(_shared_ref(pin, variant)) if shared else None
        if shared is None or commit is None or not _is_of(shared, commit, pin, variant):
            return None
        with log.step(f"take {variant} from {shared.path}", about=request.base.name):
            repo.pull_local(shared.path, [commit])
    return commit


def _give_shared(
    lists: tuple[str, ...], pin: BasePin, repo: Repo, commit: Commit, log: Log
) -> None:
    with _shared(log, alone=True) as shared:
        if shared is None:
            return
        shared.pull_local(repo.path, [commit])
        shared.set_ref(_shared_ref(pin, variant_name(lists)), commit)
        # The one that was used last stands last.
        keys = sorted(_shared_refs(shared.path).iterdir(), key=lambda path: path.stat().st_mtime)
        for old in keys[:-_KEEP_SHARED]:
            for ref in shared.refs(f"bases/{old.name}"):
                shared.set_ref(ref, None)
            remove_tree(old)
        if len(keys) > _KEEP_SHARED:
            shared.prune()


def _shared_refs(bases: Path) -> Path:
    return bases / "refs/heads/bases"


def _mark_used(pin: BasePin) -> None:
    """Mark a shared base as used, also where a work directory has it from before.

    No lock is waited for: whoever removes old ones meanwhile leaves the newest alone.
    """
    directory = shared_cache()
    if directory is not None:
        with suppress(FileNotFoundError):
            os.utime(_shared_refs(directory / "bases") / pin.key)


# Making


def _make_all(
    request: BaseRequest,
    missing: list[tuple[str, ...]],
    pin: BasePin,
    *,
    repo: Repo,
    cache: Path,
    log: Log,
) -> dict[str, Commit]:
    """Make several variants side by side: each spends much of its time on one processor."""
    makings = cache / "base-making" / pin.key[:16]
    remove_tree(makings)
    makings.mkdir(parents=True)
    try:
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            futures = {}
            for number, lists in enumerate(missing):
                into = makings / str(number)
                into.mkdir()
                context = contextvars.copy_context()
                futures[variant_name(lists)] = pool.submit(
                    context.run, _make, request, lists, pin, into, repo, cache, log
                )
            return {name: future.result() for name, future in futures.items()}
    finally:
        remove_tree(makings)


def _make(
    request: BaseRequest,
    lists: tuple[str, ...],
    pin: BasePin,
    into: Path,
    repo: Repo,
    cache: Path,
    log: Log,
) -> Commit:
    variant = variant_name(lists)
    with log.step("fetch and install", about=variant):
        fetched = _fetch(request, lists, pin, into=into, repo=repo, cache=cache, log=log)
    with log.step("commit", about=variant):
        subject = f"base {request.base.name} {variant}"
        tree, packages = _commit(request, fetched, pin, subject, into, repo, cache)
        told = {"key": pin.key, "variant": variant, "packages": dict(packages)}
        layers = [tree, *_initramfs(request, tree, into, repo, log)]
        metadata = {METADATA_KEY: dump_metadata(told)}
        return repo.commit_layers(layers, subject=subject, metadata=metadata)


def _fetch(
    request: BaseRequest,
    lists: tuple[str, ...],
    pin: BasePin,
    *,
    into: Path,
    repo: Repo,
    cache: Path,
    log: Log,
) -> Fetched:
    if request.base.kind is BaseKind.DEBIAN:
        return debian.fetch(request, lists, pin.packages, into=into, cache=cache, log=log)
    if request.base.kind is BaseKind.TAR:
        return archives.fetch_tar(request, lists)
    found = archives.resolve_ostree(request, cache=cache, log=log)
    commits: Mapping[str, Commit] = found.inputs["commits"]  # type: ignore[assignment]
    return archives.fetch_ostree(request, lists, commits, repo=repo, cache=cache, log=log)


def _commit(
    request: BaseRequest,
    fetched: Fetched,
    pin: BasePin,
    subject: str,
    into: Path,
    repo: Repo,
    cache: Path,
) -> tuple[Commit, Mapping[str, str]]:
    """Commit the files of a variant in their layout; tell the packages that are in it."""
    if fetched.commit is not None:
        return fetched.commit, fetched.packages
    tree = into / "tree.tar"
    found = convert(fetched.archives, tree, remove=request.base.remove)
    packages = fetched.packages or found.packages
    if request.base.kind is BaseKind.DEBIAN:
        debian.check(packages, pin.packages, request, cache=cache)
    for path in fetched.archives:
        if path.is_relative_to(into):
            path.unlink()
    argv = ["commit", "--orphan", f"--subject={subject}", "--timestamp=@0", f"--tree=tar={tree}"]
    commit = Commit(repo.run(*argv).text.strip())
    tree.unlink()
    return commit, packages


def _initramfs(
    request: BaseRequest, tree: Commit, into: Path, repo: Repo, log: Log
) -> list[Commit]:
    """Make the initramfs of every kernel, and what its modules need, as a layer of its own."""
    if request.base.initramfs == "none":
        return []
    top = repo.info(tree).tree
    for name in ("usr", "lib", "modules"):
        entry = repo.directory(top).dirs.get(name)
        if entry is None:
            return []
        top = entry[0]
    kernels = [
        name
        for name, (inner, _) in sorted(repo.directory(top).dirs.items())
        if "vmlinuz" in repo.directory(inner).files
    ]
    layer = into / "initramfs"
    with tempfile.TemporaryDirectory(prefix="tree-", dir=repo.path / "tmp") as name:
        root = Path(name) / "root"
        if kernels:
            repo.checkout(tree, root)
        for kernel in kernels:
            place = layer / "usr/lib/modules" / kernel
            for path in add_module_lists(root, kernel, log=log):
                write_bytes(place / path.name, path.read_bytes())
            make = dracut_initramfs if request.base.initramfs == "dracut" else make_initramfs
            data = make(root, kernel, log)
            write_bytes(place / "initramfs.img", data)
    return [repo.commit_dir(layer, subject="initramfs")] if kernels else []
