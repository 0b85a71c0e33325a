# SPDX-License-Identifier: LGPL-2.1-or-later
"""Resolve: pin every source of a manifest to a revision.

Sources are fetched several at once, each once however many components share it. What is wrong
with one source is held against its component alone; all of it is told.
"""

import contextvars
import hashlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Ending, Failed, Interrupted, Problem, Trouble
from pipeline.words.manifest import Child, Component, Manifest, Source, SourceKind
from pipeline.words.refs import Revision
from pipeline.words.snapshot import BasePin, Pin, Snapshot

PATCHES = "patches"
"""Stands for the patch source among the names to fetch."""


@dataclass(frozen=True, kw_only=True)
class ResolveRequest:
    """``fetch`` names the components to look after; None is all, and what is not here is fetched.

    ``overrides`` put a working copy in the place of a component's source. With ``known``, its pins
    are taken as they are, but for what ``fetch`` and ``at`` name; what it lacks is fetched.
    ``at`` pins sources to a revision, wherever their branch is by now.
    """

    manifest: Manifest
    base: BasePin
    fetch: frozenset[str] | None = None
    overrides: Mapping[str, Path] = field(default_factory=dict)
    known: Snapshot | None = None
    at: Mapping[Source, Revision] = field(default_factory=dict)
    jobs: int = 8


@dataclass(frozen=True, kw_only=True)
class ResolveResult:
    """The snapshot, and why components have no pin in it."""

    snapshot: Snapshot
    failures: Mapping[str, Ending] = field(default_factory=dict)

    @property
    def unresolved(self) -> frozenset[str]:
        """The components without a pin."""
        return frozenset(self.failures)


def resolve(request: ResolveRequest, *, mirrors: Mirrors, log: Log) -> ResolveResult:
    """Pin every source; what cannot be pinned is among the failures and missing in the snapshot.

    A patch that is not in the patch source is BadInput there: the manifest's mistake.
    """
    manifest = overridden(request.manifest, request.overrides)
    wanted = _wanted(manifest, request.fetch)
    states: dict[Source, Pin | Ending] = dict(_known(request.known, wanted, request.at))
    wanted = {
        source: fetch or request.known is not None
        for source, fetch in wanted.items()
        if source not in states
    }
    states |= _look(wanted, mirrors, log, at=request.at, jobs=request.jobs)
    patches = states[manifest.patches] if manifest.patches is not None else None
    sums = _patch_sums(manifest, patches, mirrors)
    pins, failures = {}, {}
    for component in manifest.components:
        found = _pin(component, states, patches, sums, manifest.patches_subdir)
        if isinstance(found, Ending):
            failures[component.name] = found
            log.error(str(found), about=component.name)
        else:
            pins[component.name] = found
    snapshot = Snapshot(
        manifest=manifest,
        pins=pins,
        base=request.base,
        patches=patches if isinstance(patches, Pin) else None,
    )
    return ResolveResult(snapshot=snapshot, failures=failures)


def overridden(manifest: Manifest, overrides: Mapping[str, Path]) -> Manifest:
    """Put working copies in the place of sources; they come without patches and children."""
    if not overrides:
        return manifest
    return replace(
        manifest,
        components=tuple(_override(one, overrides) for one in manifest.components),
    )


def _override(component: Component, overrides: Mapping[str, Path]) -> Component:
    name = component.generated_from or component.name
    if name not in overrides:
        return component
    source = Source(kind=SourceKind.LOCAL, location=str(overrides[name]))
    return replace(component, source=source, patches=(), children=())


def _sources(component: Component) -> Iterable[Source]:
    return (component.source, *(child.source for child in component.children))


def _wanted(manifest: Manifest, fetch: frozenset[str] | None) -> dict[Source, bool]:
    """List every source once; true where it is to be fetched even if it is here."""
    found: dict[Source, bool] = {}
    for component in manifest.components:
        named = fetch is None or not fetch.isdisjoint({component.name, component.generated_from})
        for source in _sources(component):
            found[source] = found.get(source, False) or named
    if manifest.patches is not None:
        found[manifest.patches] = fetch is None or PATCHES in fetch
    return found


def _known(
    known: Snapshot | None, wanted: Mapping[Source, bool], at: Mapping[Source, Revision]
) -> dict[Source, Pin]:
    """Tell what an earlier snapshot has of what need not be looked at; never a working copy."""
    if known is None:
        return {}
    found: dict[Source, Pin] = {}
    for component in known.manifest.components:
        pin = known.pins.get(component.name)
        if pin is not None:
            found[component.source] = replace(pin, children={}, patches={})
            found |= {
                child.source: replace(pin.children[child.name], patches={})
                for child in component.children
                if child.name in pin.children
            }
    if known.manifest.patches is not None and known.patches is not None:
        found[known.manifest.patches] = known.patches
    return {
        source: pin
        for source, pin in found.items()
        if source.kind is not SourceKind.LOCAL and source not in at and wanted.get(source) is False
    }


def _look(
    wanted: Mapping[Source, bool],
    mirrors: Mirrors,
    log: Log,
    *,
    at: Mapping[Source, Revision],
    jobs: int,
) -> dict[Source, Pin | Ending]:
    """Fetch and pin sources several at once; those of one mirror one after the other."""
    began = time.monotonic()
    by_mirror: dict[tuple[object, ...], list[Source]] = defaultdict(list)
    for source in wanted:
        by_mirror[_group(source)].append(source)

    def look(sources: list[Source]) -> dict[Source, Pin | Ending]:
        # What was fetched since then is young enough: a repository is asked once, whoever wants it.
        return {
            one: _state(_at(one, at), mirrors, fetch=wanted[one], since=began) for one in sources
        }

    found: dict[Source, Pin | Ending] = {}
    with log.step(f"{len(wanted)} sources"), ThreadPoolExecutor(max_workers=jobs) as pool:
        futures: list[Future[dict[Source, Pin | Ending]]] = [
            pool.submit(contextvars.copy_context().run, look, sources)
            for sources in by_mirror.values()
        ]
        for future in futures:
            found |= future.result()
    return found


def _at(source: Source, at: Mapping[Source, Revision]) -> Source:
    if source not in at:
        return source
    return replace(source, branch="", tag="", revision=at[source])


def _group(source: Source) -> tuple[object, ...]:
    """Tell which sources share a mirror, and so would wait for one another."""
    return (source.kind, source.location)


def _state(source: Source, mirrors: Mirrors, *, fetch: bool, since: float) -> Pin | Ending:
    def pin() -> Pin:
        return mirrors.pin(source)

    def fetch_and_pin() -> Pin:
        mirrors.fetch(source, max_age_s=time.monotonic() - since)
        return mirrors.pin(source)

    if fetch:
        return _caught(fetch_and_pin)
    here = _caught(pin)
    return here if isinstance(here, Pin) else _caught(fetch_and_pin)


def _caught(work: Callable[[], Pin]) -> Pin | Ending:
    try:
        return work()
    except Interrupted:
        raise
    except (Failed, Trouble, BadInput) as error:
        return error


def _pin(
    component: Component,
    states: Mapping[Source, Pin | Ending],
    patches: Pin | Ending | None,
    sums: Mapping[str, str],
    subdir: str,
) -> Pin | Ending:
    own = states[component.source]
    if isinstance(own, Ending):
        return own
    owners: tuple[Component | Child, ...] = (component, *component.children)
    if isinstance(patches, Ending) and any(one.patches for one in owners):
        return type(patches)(f"its patches: {patches}", hint=patches.hint)
    missing = [_missing(component, one, subdir) for one in _lost(owners, sums)]
    if missing:
        return BadInput("patches are missing", where=component.name, problems=missing)
    children = {}
    for child in component.children:
        found = states[child.source]
        if isinstance(found, Ending):
            return type(found)(f"child {child.name}: {found}", hint=found.hint)
        children[child.name] = _with_patches(found, child, sums)
    return replace(_with_patches(own, component, sums), children=children)


def _with_patches(pin: Pin, of: Component | Child, sums: Mapping[str, str]) -> Pin:
    return replace(pin, patches={name: sums[name] for name in of.patches})


def _lost(owners: Iterable[Component | Child], sums: Mapping[str, str]) -> list[str]:
    return [name for one in owners for name in one.patches if name not in sums]


def _missing(component: Component, name: str, subdir: str) -> Problem:
    line = f" (line {component.line})" if component.line else ""
    place = f"components.{component.name}.patches{line}"
    return Problem(place=place, message=f"there is no patch {_patch_path(subdir, name)}")


def _patch_path(subdir: str, name: str) -> str:
    return f"{subdir}/{name}" if subdir else name


def _patch_sums(manifest: Manifest, pin: Pin | Ending | None, mirrors: Mirrors) -> dict[str, str]:
    """Hash every patch that is named and there."""
    if manifest.patches is None or not isinstance(pin, Pin):
        return {}
    sums: dict[str, str] = {}
    for component in manifest.components:
        owners: tuple[Component | Child, ...] = (component, *component.children)
        for name in _lost(owners, sums):
            path = _patch_path(manifest.patches_subdir, name)
            content = mirrors.read_file(manifest.patches, pin, path)
            if content is not None:
                sums[name] = hashlib.sha256(content).hexdigest()
    return sums
