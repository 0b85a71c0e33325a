# SPDX-License-Identifier: LGPL-2.1-or-later
"""Root file systems from archives, and trees from other OSTree repositories, as a base."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock, sha256_file
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.basing.request import BaseRequest, Fetched, Resolved, not_here
from pipeline.words.errors import BadInput, Failed, Trouble
from pipeline.words.refs import Commit, is_commit

_REMOTE = "base"
_PULL_S, _WAIT_S = 3600.0, 900.0
_SCHEMES = ("http://", "https://", "file://")


def resolve_tar(request: BaseRequest) -> Resolved:
    """Hash the archives of all variants; raises Failed for a wrong checksum or a missing file."""
    sums = {}
    for name in sorted({name for lists in request.variants for name in lists}):
        path = _archive(request, name)
        sums[name] = sha256_file(path)
        wanted = request.base.checksums.get(name, "").removeprefix("sha256:")
        if wanted and wanted.lower() != sums[name]:
            raise Failed(
                f"has the wrong checksum: {sums[name]} instead of {wanted}",
                where=str(path),
                hint="fetch it again, or correct base.checksums in the manifest",
            )
    return Resolved(inputs={"archives": sums})


def fetch_tar(request: BaseRequest, lists: tuple[str, ...]) -> Fetched:
    """Name the archives of one variant; the later list wins where both have a file."""
    return Fetched(archives=tuple(_archive(request, name) for name in lists))


def _archive(request: BaseRequest, name: str) -> Path:
    if name not in request.base.files:
        raise BadInput(
            f"the base has no archive {name!r}",
            where="base.files",
            hint=f"there are {', '.join(request.base.files) or 'none'}",
        )
    path = Path(request.base.files[name])
    if not path.is_file():
        raise Failed("there is no such archive", where=str(path))
    return path


def resolve_ostree(request: BaseRequest, *, cache: Path, log: Log) -> Resolved:
    """Look up the commits that the refs of all variants stand for."""
    commits = {}
    for name in sorted({name for lists in request.variants for name in lists}):
        commits[name] = _look_up(request, name, cache=cache, log=log)
    return Resolved(inputs={"commits": commits})


def fetch_ostree(
    request: BaseRequest,
    lists: tuple[str, ...],
    commits: Mapping[str, Commit],
    *,
    repo: Repo,
    cache: Path,
    log: Log,
) -> Fetched:
    """Bring the commits of one variant into ``repo``, put over one another in order."""
    layers = [commits[name] for name in lists]
    source = _local(request) or _mirror(request, cache, log).path
    for layer in layers:
        if not repo.has_commit(layer):
            if _local(request) is None:
                _pull(request, layer, metadata_only=False, cache=cache, log=log)
            repo.pull_local(source, [layer])
    return Fetched(commit=repo.commit_layers(layers, subject=f"base from {request.base.location}"))


def _look_up(request: BaseRequest, name: str, *, cache: Path, log: Log) -> Commit:
    ref = request.base.refs.get(name)
    if not ref:
        raise BadInput(f"the base has no ref {name!r}", where="base.refs")
    if ref.startswith("-"):
        raise BadInput(f"not a ref: {ref!r}", where="base.refs")
    local = _local(request)
    if local is not None:
        found = Repo(local, log=log).resolve(ref)
    else:
        if not request.offline:
            _pull(request, ref, metadata_only=True, cache=cache, log=log)
        mirror = _mirror(request, cache, log)
        found = mirror.resolve(ref) if is_commit(ref) else _remote_ref(mirror, ref)
    if found is None and request.offline and local is None:
        raise not_here(request, f"what {ref} of {request.base.location} is at")
    if found is None:
        raise Failed(f"the repository has no ref {ref}", where=request.base.location)
    return found


def _remote_ref(mirror: Repo, ref: str) -> Commit | None:
    path = mirror.path / "refs/remotes" / _REMOTE / ref
    return Commit(path.read_text().strip()) if path.is_file() else None


def is_served(request: BaseRequest) -> bool:
    """Tell whether the repository is a server's, not a directory of this machine."""
    return request.base.location.startswith(_SCHEMES)


def _local(request: BaseRequest) -> Path | None:
    location = request.base.location
    if location.startswith(_SCHEMES):
        return None
    path = Path(location)
    if not path.is_absolute() or not (path / "config").is_file():
        raise Failed("there is no OSTree repository", where=f"base: {location}")
    return path


def _mirror(request: BaseRequest, cache: Path, log: Log) -> Repo:
    digest = hashlib.sha256(request.base.location.encode()).hexdigest()[:16]
    return Repo(cache / "base-mirrors" / digest, log=log)


def _pull(request: BaseRequest, ref: str, *, metadata_only: bool, cache: Path, log: Log) -> None:
    """Pull from a server. It is trusted as far as the base's address is: by its https."""
    mirror = _mirror(request, cache, log)
    with lock(mirror.path.with_suffix(".lock"), what="the base's mirror", wait_s=_WAIT_S):
        mirror.create(Mode.BARE_USER)
        add = ["remote", "add", "--if-not-exists", "--no-gpg-verify", _REMOTE]
        mirror.run(*add, request.base.location)
        options = ["--commit-metadata-only"] if metadata_only else []
        try:
            mirror.run("pull", *options, _REMOTE, ref, deadline_s=_PULL_S)
        except process.CommandError as error:
            text = error.finished.error_text
            if "No such branch" in text or "404" in text or "not found" in text.lower():
                raise Failed(
                    f"the repository has no ref {ref}", where=request.base.location
                ) from error
            raise Trouble(
                f"the repository cannot be reached: {text.splitlines()[-1:]}",
                where=request.base.location,
                hint=error.hint,
            ) from error
