# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small manifests, snapshots and artifacts; every value that a test does not name is fixed.

``Shelf`` is the past as a list in memory, with the answers of ``ports/artifacts``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import BaseFacts, artifact_key, base_facts
from pipeline.words.manifest import Base, BaseKind, Component, Manifest, Source, SourceKind
from pipeline.words.plan import Decision, Kind, Plan, Planner, plan
from pipeline.words.refs import Key, Revision
from pipeline.words.snapshot import BasePin, Pin, Snapshot

ARCH = "x86_64"
PACKAGES = {"gcc-12": "12.2.0-14", "libc6-dev": "2.36-9"}
GIT = Source(kind=SourceKind.GIT, location="https://git.example/it.git", branch="main")


def revision(text: str) -> Revision:
    """Make a git revision from any text."""
    return Revision(hashlib.sha1(text.encode()).hexdigest())


def component(name: str, **given: Any) -> Component:
    """Make a component."""
    return Component(name=name, source=GIT, **given)


def snapshot(
    *components: Component, pins: Mapping[str, Pin] | None = None, **given: Any
) -> Snapshot:
    """Make a snapshot; pins that are not given are made of the component's name."""
    manifest = Manifest(
        osname="os",
        base=Base(name="debian", kind=BaseKind.DEBIAN),
        components=components,
        targets=(),
        **given,
    )
    made = {one.name: pin(one.name, one) for one in components}
    return Snapshot(
        manifest=manifest, pins=made | dict(pins or {}), base=BasePin(key=Key("0" * 64))
    )


def pin(text: str, of: Component | None = None, **given: Any) -> Pin:
    """Make a pin whose revision stands for a text."""
    patches = {name: name for name in of.patches} if of else {}
    children = {child.name: pin(child.name) for child in of.children} if of else {}
    return replace(Pin(revision=revision(text), patches=patches, children=children), **given)


def facts(*names: str, packages: Mapping[str, str] = PACKAGES) -> BaseFacts:
    """Make the facts of a base."""
    return base_facts(names, packages, "f" * 64)


@dataclass
class Shelf:
    """Artifacts that were made, oldest first."""

    artifacts: list[Artifact] = field(default_factory=list)
    lost: set[Key] = field(default_factory=set)

    def find(self, recipe: Key) -> Sequence[Artifact]:
        """Find by recipe."""
        return [one for one in self.everything() if one.recipe == recipe and self._has(one)]

    def latest(self, component: str, arch: str) -> Artifact | None:
        """Find the newest."""
        mine = [one for one in self.everything() if (one.component, one.arch) == (component, arch)]
        return next(filter(self._has, mine), None)

    def everything(self) -> Sequence[Artifact]:
        """List all, newest first."""
        return self.artifacts[::-1]

    def add(self, artifact: Artifact) -> None:
        """Put an artifact on top, also one that was there."""
        self.artifacts = [one for one in self.artifacts if one.key != artifact.key] + [artifact]

    def _has(self, artifact: Artifact) -> bool:
        return artifact.key not in self.lost


@dataclass(frozen=True, kw_only=True)
class World:
    """What a pretended build knows: what each component uses of others, and how each looks.

    ``uses`` maps a component to the names it takes, by provider; ``looks`` maps it to the names it
    shows with their content. A name that it wants and nobody has is not used.
    """

    uses: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    looks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def build(
    planner: Planner,
    decision: Decision,
    known: Mapping[str, Artifact],
    base: BaseFacts,
    world: World,
    pins: Mapping[str, Pin],
) -> Artifact:
    """Pretend to build what was decided on."""
    name = decision.component
    used: dict[str, dict[str, str]] = {}
    for provider, names in world.uses.get(name, {}).items():
        has = base.packages if provider == BASE else {}
        if provider in planner.closure(name) and provider in known:
            has = known[provider].interface
        taken = {one: has[one] for one in names if one in has}
        if taken:
            used[provider] = taken
    assert decision.recipe is not None
    return Artifact(
        component=name,
        arch=decision.arch,
        recipe=decision.recipe,
        key=artifact_key(decision.recipe, used),
        revision=pins[name].revision,
        used=used,
        interface=dict(world.looks.get(name, {})),
        inputs=decision.inputs,
    )


def go(
    given: Snapshot,
    base: BaseFacts,
    shelf: Shelf,
    world: World,
    *,
    arch: str = ARCH,
    **options: Any,
) -> list[str]:
    """Build a snapshot as the build stage does, with early cut-off; tells what was rebuilt."""
    planner = Planner(given, arch, base, past=shelf, **options)
    known: dict[str, Artifact] = {}
    rebuilt = []
    for name in planner.order:
        assert planner.is_ready(name)
        decision = planner.decide(name)
        assert decision.kind is not Kind.WAITS, "all that it needs is settled"
        if decision.kind is Kind.REBUILD:
            rebuilt.append(name)
            artifact = build(planner, decision, known, base, world, given.pins)
            shelf.add(artifact)
        else:
            assert decision.artifact is not None
            artifact = decision.artifact
        known[name] = artifact
        planner.settle(name, artifact)
    return rebuilt


def forecast(given: Snapshot, base: BaseFacts, shelf: Shelf, **options: Any) -> Plan:
    """Make the plan that people are shown."""
    return plan(given, ARCH, base, past=shelf, **options)


def kinds(made: Plan) -> dict[str, str]:
    """Tell the kind of decision on each component."""
    return {one.component: str(one.kind) for one in made.decisions}


def reasons(made: Plan, name: str) -> list[str]:
    """Tell the reasons given for one component."""
    return next(list(one.reasons) for one in made.decisions if one.component == name)
