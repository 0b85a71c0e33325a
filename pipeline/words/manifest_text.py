# SPDX-License-Identifier: LGPL-2.1-or-later
"""The text of a manifest to the manifest it means, or to all that is wrong with it at once.

Reads no file and asks nobody: paths are resolved as text. What has to be there for the manifest
to be good is listed in ``Reading.files``, for who can look.
"""

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from pipeline.words.errors import Problem
from pipeline.words.findings import Findings, Wrong
from pipeline.words.manifest import (
    Base,
    BaseKind,
    Component,
    Conflicts,
    Manifest,
    MergeRequests,
    OnFailed,
    Retention,
    Source,
    SourceKind,
    Target,
    Trigger,
)
from pipeline.words.manifest_base import REPOSITORY_SCHEMES, read_base
from pipeline.words.manifest_components import Names, list_names, read_components
from pipeline.words.manifest_schema import VERSION_KEY, ManifestKeys
from pipeline.words.manifest_shape import read_keys
from pipeline.words.manifest_sources import ARCHIVES, Sources
from pipeline.words.manifest_targets import INSTALLED_TESTS, read_targets, selectable
from pipeline.words.source_urls import check_url
from pipeline.words.yaml_nodes import Path, read_nodes

__all__ = ["NeededFile", "Reading", "parse_manifest", "read_manifest"]


class NeededKind(StrEnum):
    """What has to be at a path."""

    PATCH = "patch"
    FILE = "file"
    DIRECTORY = "directory"
    REPOSITORY = "repository"


@dataclass(frozen=True, kw_only=True)
class NeededFile:
    """Something on this machine that the manifest names, and the place where it does."""

    kind: NeededKind
    path: str
    place: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What became of a text; ``manifest`` is None where there are problems."""

    manifest: Manifest | None
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    files: tuple[NeededFile, ...]


def parse_manifest(
    text: str, name: str, *, relative_to: str
) -> tuple[Manifest, tuple[Problem, ...]]:
    """Read a manifest; tells it and its warnings.

    ``name`` is what places begin with; paths in the text are taken from ``relative_to``. Raises
    BadInput with every problem.
    """
    findings, found = _read(text, name, relative_to)
    findings.raise_problems()
    assert found.manifest is not None, "what is missing was told"
    return found.manifest, findings.warnings()


def read_manifest(text: str, name: str, *, relative_to: str) -> Reading:
    """Read a manifest as ``parse_manifest``, but tell the problems.

    Raises BadInput for what is no YAML: there is nothing else to be told then.
    """
    findings, found = _read(text, name, relative_to)
    problems = findings.problems()
    return Reading(
        manifest=None if problems else found.manifest,
        problems=problems,
        warnings=findings.warnings(),
        files=found.files,
    )


@dataclass(frozen=True, kw_only=True)
class _Found:
    manifest: Manifest | None
    files: tuple[NeededFile, ...]


def _read(text: str, name: str, relative_to: str) -> tuple[Findings, _Found]:
    findings = Findings(read_nodes(text, name))
    keys = read_keys(findings)
    original = keys.has("original_version") or findings.is_wrong(VERSION_KEY)
    _check_required(keys, findings)
    sources = Sources(findings=findings, original=original, relative_to=relative_to)
    sources = sources.with_prefixes(keys.vcsconfig)
    names = list_names(keys, sources)
    base = read_base(keys.base, sources) if keys.has("base") else None
    patches = _patch_source(keys, sources)
    components = read_components(keys, names, sources)
    components += _installed_tests(components, names, findings)
    targets = _targets(keys, base, components, names, findings, original=original)
    _check_tests(keys, findings)
    _check_gates(keys, findings)
    triggers = _triggers(keys, findings)
    repo = _repo(keys, findings)
    files = tuple(_files(components, names, base, patches, keys.patches.subdir, findings))
    if base is None:
        return findings, _Found(manifest=None, files=files)
    manifest = Manifest(
        osname=keys.osname,
        base=base,
        components=components,
        targets=targets,
        architectures=tuple(dict.fromkeys(keys.architectures)),
        repo=repo,
        patches=patches,
        patches_subdir=keys.patches.subdir,
        installed_tests_components=tuple(keys.installed_tests_components),
        installed_tests_xfail=tuple(keys.installed_tests_xfail),
        initramfs_epoch=keys.initramfs_build_epoch.version,
        epoch=keys.build_epoch.version,
        epoch_all=keys.build_epoch.all,
        epoch_components=tuple(keys.build_epoch.component_names),
        on_failed=OnFailed(keys.on_failed),
        conflicts=Conflicts(keys.conflicts),
        triggers=triggers,
        unit=keys.unit,
        queue_bound=keys.queue_bound,
        retention=_retention(keys),
        original_version=keys.original_version if original else None,
    )
    return findings, _Found(manifest=manifest, files=files)


def _check_required(keys: ManifestKeys, findings: Findings) -> None:
    if findings.is_wrong():
        return
    for name, hint in (
        ("osname", "such as osname: myos"),
        ("base", "such as base: {debian: {suite: bookworm, packages: {runtime: [systemd]}}}"),
        ("components", "such as components: [{src: 'git:https://…'}]"),
    ):
        if not keys.has(name) and not findings.is_wrong(name):
            findings.problem((name,), f"the manifest has no {name}", hint)
    if keys.has("architectures") and not keys.architectures:
        message = "no architecture, so nothing would be built"
        findings.problem(("architectures",), message, key=True)


def _patch_source(keys: ManifestKeys, sources: Sources) -> Source | None:
    if not keys.has("patches"):
        return None
    path = ("patches",)
    if keys.patches.src:
        source = sources.read_text(keys.patches.src, keys.patches, path)
        if source is not None and source.kind not in (SourceKind.GIT, SourceKind.LOCAL):
            message = f"patches cannot come from a {source.kind} source"
            sources.findings.problem((*path, "src"), message, "git: or local:")
            return None
        return source
    if not sources.findings.is_wrong(*path, "src"):
        sources.findings.problem(
            (*path, "src"), "a patch source needs src", "such as local:patches"
        )
    return None


def _installed_tests(
    components: Sequence[Component], names: Names, findings: Findings
) -> tuple[Component, ...]:
    """List the components that are made of others' ``installed-tests/``, built at the end."""
    found = []
    for one in components:
        if not one.installed_tests:
            continue
        name = f"{one.name}-{INSTALLED_TESTS}"
        path = ("installed-tests-components",)
        if not names.is_free(name):
            message = f"{one.name!r} has installed tests, to be named {name!r}, which is taken"
            findings.problem(path, message, key=True)
            continue
        subdir = posixpath.join(one.build.subdir, INSTALLED_TESTS)
        found.append(
            replace(
                one,
                name=name,
                build=replace(one.build, subdir=subdir),
                depends=None,
                setuid=(),
                groups=(INSTALLED_TESTS,),
                noarch=False,
                bootstrap=False,
                initramfs_depends=False,
                installed_tests=False,
                merge_requests=MergeRequests.OFF,
                irc_room="",
                generated_from=one.name,
            )
        )
    return tuple(found)


def _targets(
    keys: ManifestKeys,
    base: Base | None,
    components: Sequence[Component],
    names: Names,
    findings: Findings,
    *,
    original: bool,
) -> tuple[Target, ...]:
    understood = {one.name for one in components}
    known = selectable(
        components,
        keys.groups,
        original=original,
        incomplete=names.incomplete,
        unread=[one.name for one in names.components if one.name not in understood],
    )
    return read_targets(keys, base, known, findings, original=original)


def _check_tests(keys: ManifestKeys, findings: Findings) -> None:
    for path, tests in (
        (("tests",), keys.tests),
        *((("targets", name, "tests"), target.tests) for name, target in keys.targets.items()),
    ):
        where: Path = (*path, "smoke")
        for place, known in enumerate(tests.smoke.known):
            for name in ("pattern", "reason"):
                inner: Path = (*where, "known", place)
                if not known.has(name) and not findings.is_wrong(*inner, name):
                    findings.problem((*inner, name), f"a known error needs a {name}")
        for one in tests.smoke.required.keys() & tests.smoke.forbidden.keys():
            message = f"the id {one} is required and forbidden"
            findings.problem((*where, "forbidden"), message, key=True)


def _check_gates(keys: ManifestKeys, findings: Findings) -> None:
    """Refuse a gate that lets everything through."""
    gates: list[tuple[Path, bool, list[str]]] = [
        (("gates",), keys.has("gates"), [one.need for one in keys.gates.values()])
    ]
    for name, target in keys.targets.items():
        where: Path = ("targets", name, "gate")
        gates.append((where, target.has("gate"), [one.need for one in target.gate.values()]))
    for path, given, needs in gates:
        wrong = any(findings.is_wrong(*path[: end + 1]) for end in range(len(path)))
        if given and "required" not in needs and not wrong and not findings.has_wrong(path):
            message = "nothing is required, so untested trees would be promoted"
            findings.problem(path, message, "such as smoke: required", key=True)


def _triggers(keys: ManifestKeys, findings: Findings) -> tuple[Trigger, ...]:
    found: dict[str, Trigger] = {}
    for place, one in enumerate(keys.triggers):
        path = ("triggers", place)
        for name in ("name", "script"):
            if not getattr(one, name) and not findings.is_wrong(*path, name):
                findings.problem((*path, name), f"a trigger needs a {name}")
        if one.name in found:
            message = f"the name {one.name!r} is used twice"
            findings.problem((*path, "name"), message, "give each trigger a name of its own")
        elif one.name:
            found[one.name] = Trigger(
                name=one.name, script=one.script, deletes=tuple(dict.fromkeys(one.deletes))
            )
    return tuple(found[name] for name in sorted(found))


def _retention(keys: ManifestKeys) -> Retention | None:
    """Tell what is kept; without the key nothing is ever dropped."""
    if not keys.has("retention"):
        return None
    return Retention(newest=keys.retention.newest, daily=keys.retention.daily)


def _repo(keys: ManifestKeys, findings: Findings) -> str:
    if keys.repo:
        try:
            return check_url(keys.repo, schemes=REPOSITORY_SCHEMES)
        except Wrong as wrong:
            findings.problem(("repo",), wrong.message, wrong.hint)
    return ""


# What has to be there


def _files(
    components: Sequence[Component],
    names: Names,
    base: Base | None,
    patches: Source | None,
    subdir: str,
    findings: Findings,
) -> Iterator[NeededFile]:
    place = findings.document.place
    paths = {listed.name: listed.path for listed in names.components}
    yield from _of_source(patches, place(("patches", "src")))
    for component in components:
        if component.generated_from:
            continue
        path = paths[component.name]
        yield from _of_source(component.source, place((*path, "src")))
        yield from _patches(component.patches, (*path, "patches"), patches, subdir, findings)
        for number, child in enumerate(component.children):
            inner = (*path, "child-components", number)
            yield from _of_source(child.source, place((*inner, "src")))
            yield from _patches(child.patches, (*inner, "patches"), patches, subdir, findings)
    if base is not None and base.kind is BaseKind.TAR:
        for name, file in base.files.items():
            where = place(("base", "tar", name, "file"))
            yield NeededFile(kind=NeededKind.FILE, path=file, place=where)


def _of_source(source: Source | None, place: str) -> Iterator[NeededFile]:
    if source is None:
        return
    path = source.location.removeprefix("file://localhost").removeprefix("file://")
    if source.kind is SourceKind.LOCAL:
        yield NeededFile(kind=NeededKind.DIRECTORY, path=path, place=place)
    elif source.kind in ARCHIVES and path.startswith("/"):
        yield NeededFile(kind=NeededKind.FILE, path=path, place=place)
    elif source.kind is SourceKind.GIT and path.startswith("/"):
        yield NeededFile(kind=NeededKind.REPOSITORY, path=path, place=place)


def _patches(
    patches: Sequence[str], path: Path, source: Source | None, subdir: str, findings: Findings
) -> Iterator[NeededFile]:
    """List the patch files where their source is a working copy; others are known to git."""
    if source is None or source.kind is not SourceKind.LOCAL:
        return
    for place, name in enumerate(patches):
        file = posixpath.join(source.location, subdir, name)
        where = findings.document.place((*path, place))
        yield NeededFile(kind=NeededKind.PATCH, path=file, place=where)
