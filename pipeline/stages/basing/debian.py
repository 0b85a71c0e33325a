# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian as a base: what lists of packages stand for today, and their root file systems."""

import io
import tarfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.ports.mmdebstrap import (
    EPOCH,
    VARIANTS,
    Archive,
    Moved,
    PrivateApt,
    archive,
    bootstrap,
    check_names,
    hash_text,
    is_pattern,
    unpack_to_tar,
)
from pipeline.stages.basing.request import BaseRequest, Fetched, Resolved, not_here, variant_name
from pipeline.words.errors import BadInput
from pipeline.words.records import from_json, to_json
from pipeline.words.snapshot import canonical_json


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What apt said, and of which lists: it holds as long as they do."""

    state: str
    packages: Mapping[str, Mapping[str, str]]


def resolve(request: BaseRequest, *, cache: Path, max_age_s: float, log: Log) -> Resolved:
    """Ask apt for the versions of all variants; lists not older than ``max_age_s`` will do."""
    source = archive(request.base.suite, request.base.mirrors, request.arch)
    inputs: dict[str, object] = {
        "suite": source.suite,
        "architecture": source.architecture,
        "sources": source.sources,
        "epoch": EPOCH,
        "variants": {
            variant_name(lists): [_variant(request, lists), _names(request, lists)]
            for lists in request.variants
        },
    }
    apt = _apt(source, cache, log)
    age_s = apt.age() if request.offline else apt.update(max_age_s=max_age_s)
    if age_s is None:
        raise not_here(request, f"the list of packages of Debian {source.suite}")
    when = time.strftime("%H:%M:%S", time.gmtime(time.time() - age_s))
    log.fact(f"Debian {source.suite} as of {when} UTC", about="base")
    kept = cache / "base-answers" / f"{hash_text(canonical_json(inputs))}.json"
    state = apt.state()
    if kept.is_file():
        answer = from_json(_Answer, kept.read_bytes(), where=str(kept))
        if answer.state == state:
            return Resolved(inputs=inputs, packages=answer.packages)
    packages = {}
    for lists in request.variants:
        variant, names = _variant(request, lists), _names(request, lists)
        with log.step(f"versions of {variant_name(lists)}", about="base"):
            packages[variant_name(lists)] = apt.versions(variant, names)
    write_text(kept, to_json(_Answer(state=state, packages=packages)))
    return Resolved(inputs=inputs, packages=packages)


def fetch(
    request: BaseRequest,
    lists: tuple[str, ...],
    packages: Mapping[str, str],
    *,
    into: Path,
    cache: Path,
    log: Log,
) -> Fetched:
    """Make the root file system of one variant; ``packages`` are the versions it has to have."""
    source = archive(request.base.suite, request.base.mirrors, request.arch)
    variant, names = _variant(request, lists), _names(request, lists)
    if variant == "exact":
        # Which of the pinned packages belong to these lists, only apt can tell.
        apt = _apt(source, cache, log)
        chosen = apt.versions(variant, names)
        _check(chosen, packages, cache, source)
        return _unpack(apt, chosen, into=into, log=log)
    output = into / "root.tar"
    bootstrap(source, variant, names, output, temporary=into / "tmp", log=log)
    return Fetched(archives=(output,))


def check(
    found: Mapping[str, str], pinned: Mapping[str, str], request: BaseRequest, *, cache: Path
) -> None:
    """Raise Moved where what was installed is not what was resolved."""
    source = archive(request.base.suite, request.base.mirrors, request.arch)
    _check(found, pinned, cache, source)


def _check(
    found: Mapping[str, str], pinned: Mapping[str, str], cache: Path, source: Archive
) -> None:
    other = sorted(
        f"{name} {pinned.get(name, 'none')} → {version}"
        for name, version in found.items()
        if pinned.get(name) != version
    )
    if other:
        # The lists that gave the wrong answer are not to be asked again.
        (_directory(source, cache) / "updated").unlink(missing_ok=True)
        raise Moved(
            f"the archive has moved on since the base was resolved: {', '.join(other[:5])}",
            where="base",
            hint="resolve it again: ostci base --refresh",
        )


def _unpack(apt: PrivateApt, packages: Mapping[str, str], *, into: Path, log: Log) -> Fetched:
    archives = []
    for package in apt.download(packages, into / "packages"):
        archives.append(package.with_suffix(".tar"))
        unpack_to_tar(package, archives[-1], log=log)
    lists = into / "packages" / "lists.tar"
    _write_lists(archives, lists)
    return Fetched(archives=(*archives, lists), packages=packages)


def _write_lists(archives: Sequence[Path], output: Path) -> None:
    """Write dpkg's lists of files, by which a build tells what it used of which package."""
    with tarfile.open(output, "w") as lists:
        for path in archives:
            with tarfile.open(path, "r:") as archive:
                names = ["/" + name.removeprefix(".").strip("/") for name in archive.getnames()]
            text = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
            info = tarfile.TarInfo(f"var/lib/dpkg/info/{path.name.partition('_')[0]}.list")
            info.size, info.mode = len(text), 0o644
            lists.addfile(info, io.BytesIO(text))


def _apt(source: Archive, cache: Path, log: Log) -> PrivateApt:
    return PrivateApt(source, _directory(source, cache), log=log)


def _directory(source: Archive, cache: Path) -> Path:
    return cache / "apt" / hash_text(f"{source.architecture} {source.sources}")[:16]


def _variant(request: BaseRequest, lists: tuple[str, ...]) -> str:
    asked = {request.base.variants.get(name, VARIANTS[0]) for name in lists}
    unknown = sorted(asked - set(VARIANTS))
    if unknown:
        raise BadInput(
            f"there is no variant {unknown[0]!r}",
            where="base.variant",
            hint=f"choose one of {', '.join(VARIANTS)}",
        )
    return next(variant for variant in VARIANTS if variant in asked)


def _names(request: BaseRequest, lists: tuple[str, ...]) -> tuple[str, ...]:
    """List what is named in all lists, once, in order."""
    for name in lists:
        if name not in request.base.packages:
            raise BadInput(
                f"the base has no package list {name!r}",
                where="base.packages",
                hint=f"there are {', '.join(request.base.packages) or 'none'}",
            )
    exact = _variant(request, lists) == "exact"
    found = {entry: None for name in lists for entry in request.base.packages[name]}
    names = tuple(entry for entry in found if exact or not is_pattern(entry))
    check_names(names, patterns=exact)
    return names
