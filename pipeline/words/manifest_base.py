# SPDX-License-Identifier: LGPL-2.1-or-later
"""The base of a manifest: Debian packages, archives, another repository, or the original's."""

import re
from collections.abc import Iterable

from pipeline.words.findings import Findings, Wrong, one_of
from pipeline.words.manifest import Base, BaseKind
from pipeline.words.manifest_schema import BaseKeys
from pipeline.words.manifest_sources import Sources
from pipeline.words.source_urls import absolute, check_url
from pipeline.words.yaml_nodes import Path

REPOSITORY_SCHEMES = ("https", "http", "file")
_KINDS = ("debian", "tar", "ostree")
_PATH = ("base",)
_FIRST = "runtime"
"""The list that every base has; components are built in it and ``devel``."""
_MIRROR = re.compile(r"(https?|file|copy):/[^\s\[\]]+")
_MIRROR_LINE = re.compile(r"deb (\[[^\]]*\] )?[^\s\[-]\S* \S+( [A-Za-z0-9._-]+)*")
_PATTERN = re.compile(r"[*?[]")


def read_base(keys: BaseKeys, sources: Sources) -> Base | None:
    """Make the base; None where that was told to be wrong."""
    findings = sources.findings
    given = [kind for kind in (*_KINDS, "src") if keys.has(kind)]
    if len(given) != 1:
        if not any(findings.is_wrong(*_PATH, kind) for kind in (*_KINDS, "src")):
            told = f"this has {' and '.join(given)}" if given else ""
            findings.problem(_PATH, f"a base needs one of {', '.join(_KINDS)}", told)
        return None
    if given != ["src"]:
        for pin in ("branch", "tag", "revision"):
            if keys.has(pin):
                findings.problem((*_PATH, pin), f"{pin} is for a base with src alone", key=True)
        return {"debian": _debian, "tar": _tar, "ostree": _ostree}[given[0]](keys, sources)
    return _original(keys, sources)


def lists_of(base: Base) -> tuple[str, ...]:
    """Name the package lists that targets can choose from."""
    if base.kind is BaseKind.YOCTO:
        return (_FIRST, "devel")
    return tuple(dict.fromkeys((*base.packages, *base.files, *base.refs)))


def _debian(keys: BaseKeys, sources: Sources) -> Base:
    findings, path, debian = sources.findings, (*_PATH, "debian"), keys.debian
    if not debian.suite and not findings.is_wrong(*path, "suite"):
        findings.problem((*path, "suite"), "debian needs a suite", "such as bookworm", key=True)
    if not findings.is_wrong(*path, "packages"):
        if not debian.packages:
            hint = "such as packages: {runtime: [systemd]}"
            findings.problem((*path, "packages"), "debian needs package lists", hint, key=True)
        else:
            _check_first(debian.packages, (*path, "packages"), findings)
    for name in debian.variant:
        if name not in debian.packages and not findings.is_wrong(*path, "packages", name):
            hint = one_of(name, debian.packages)
            message = f"there is no package list {name!r}"
            findings.problem((*path, "variant", name), message, hint, key=True)
    _check_patterns(keys, findings)
    for place, mirror in enumerate(debian.mirrors):
        if not (_MIRROR.fullmatch(mirror) or _MIRROR_LINE.fullmatch(mirror)):
            hint = "a URL, or a line such as deb http://deb.debian.org/debian bookworm main"
            findings.problem((*path, "mirrors", place), f"{mirror!r} is no Debian mirror", hint)
    return _base(
        keys,
        BaseKind.DEBIAN,
        suite=debian.suite,
        mirrors=tuple(debian.mirrors),
        packages={name: tuple(dict.fromkeys(names)) for name, names in debian.packages.items()},
        variants=dict(debian.variant),
    )


def _check_patterns(keys: BaseKeys, findings: Findings) -> None:
    """Note patterns in lists whose packages come with all that they need."""
    for name, packages in keys.debian.packages.items():
        if keys.debian.variant.get(name) == "exact":
            continue
        for place, package in enumerate(packages):
            if _PATTERN.search(package):
                findings.problem(
                    (*_PATH, "debian", "packages", name, place),
                    f"{package!r} is a pattern, for lists of the variant exact alone",
                    "write each package",
                )


def _tar(keys: BaseKeys, sources: Sources) -> Base:
    findings, path = sources.findings, (*_PATH, "tar")
    _check_first(keys.tar, path, findings)
    files, checksums = {}, {}
    for name, archive in keys.tar.items():
        where = (*path, name)
        if not archive.file:
            if not findings.is_wrong(*where, "file"):
                findings.problem((*where, "file"), "an archive needs a file, its path")
            continue
        if re.match(r"-|[A-Za-z][A-Za-z0-9+.-]*:", archive.file):
            message = f"{archive.file!r} is no path"
            findings.problem((*where, "file"), message, "fetch it first; a file is read from here")
        files[name] = absolute(archive.file, sources.relative_to)
        if archive.checksum:
            checksums[name] = archive.checksum
    return _base(keys, BaseKind.TAR, files=files, checksums=checksums)


def _ostree(keys: BaseKeys, sources: Sources) -> Base:
    findings, path, ostree = sources.findings, (*_PATH, "ostree"), keys.ostree
    location = ""
    if ostree.location:
        try:
            location = check_url(
                ostree.location, schemes=REPOSITORY_SCHEMES, relative_to=sources.relative_to
            )
        except Wrong as wrong:
            findings.problem((*path, "location"), wrong.message, wrong.hint)
    elif not findings.is_wrong(*path, "location"):
        hint = "URL or path of a repository"
        findings.problem((*path, "location"), "ostree needs a location", hint, key=True)
    if not findings.is_wrong(*path, "refs"):
        _check_first(ostree.refs, (*path, "refs"), findings)
    for name, ref in ostree.refs.items():
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*", ref):
            findings.problem((*path, "refs", name), f"{ref!r} is no ref", "such as os/x86_64/base")
    return _base(keys, BaseKind.OSTREE, location=location, refs=dict(ostree.refs))


def _original(keys: BaseKeys, sources: Sources) -> Base | None:
    """Take the original's base, a Yocto tree in git; no stage here can build it."""
    if not sources.original:
        findings = sources.findings
        hint = f"one of {', '.join(_KINDS)}"
        findings.problem((*_PATH, "src"), "only the original's base has src", hint, key=True)
        return None
    source = sources.read_text(keys.src, keys, _PATH)
    return None if source is None else _base(keys, BaseKind.YOCTO, source=source)


def _base(keys: BaseKeys, kind: BaseKind, **given: object) -> Base:
    values = {
        "name": keys.name or str(kind),
        "kind": kind,
        "remove": tuple(keys.remove),
        "initramfs": keys.initramfs,
    }
    return Base(**{**values, **given})  # type: ignore[arg-type]


def _check_first(lists: Iterable[str], path: Path, findings: Findings) -> None:
    if _FIRST not in lists and not findings.is_wrong(*path, _FIRST):
        message = f"the base has no {_FIRST!r} list"
        findings.problem((*path, _FIRST), message, one_of(_FIRST, lists), key=True)
