# SPDX-License-Identifier: LGPL-2.1-or-later
"""Decide which components are kept and which are built again.

Everything is looked up twice: the *recipe* (a component's own inputs and the names it sees) leads
to artifacts, and of these one is kept whose *used-set* still holds. What was rebuilt but looks
the same from outside so rebuilds nobody. Why, in words, is found in ``reasons``.

A forecast (``plan``) takes for granted that what is rebuilt keeps its interface, and says where
it does; a build tells the planner each outcome (``settle``) and then asks for the next decision.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Protocol

from pipeline.words.artifact import BASE, Artifact
from pipeline.words.closure import bits, closures
from pipeline.words.keys import (
    BUILD_VERSION,
    NOARCH,
    BaseFacts,
    Recipe,
    add_numbers,
    is_consistent,
    names_number,
    own_inputs,
    recipe,
)
from pipeline.words.manifest import Component
from pipeline.words.reasons import CountCommits, Reasons
from pipeline.words.refs import Key
from pipeline.words.snapshot import Snapshot

UNCHANGED = "nothing that it uses has changed"
UNRESOLVED = "its source could not be resolved"


class Kind(StrEnum):
    """``waits``: it is rebuilt if the interface of something that is rebuilt first changes.

    What could not be resolved waits, too.
    """

    KEEP = "keep"
    REBUILD = "rebuild"
    WAITS = "waits"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is done about a component, and why; ``artifact`` is what is, or may be, kept.

    ``recipe`` and ``inputs`` go into the artifact that a build makes. ``after``, in a plan, names
    what has to be built first, without what those have to wait for themselves.
    """

    component: str
    arch: str
    kind: Kind
    reasons: tuple[str, ...] = ()
    artifact: Artifact | None = None
    recipe: Key | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    after: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The decisions on all components of an architecture, in the manifest's order."""

    arch: str
    decisions: tuple[Decision, ...]

    def of_kind(self, kind: Kind) -> tuple[Decision, ...]:
        """Choose the decisions of one kind."""
        return tuple(decision for decision in self.decisions if decision.kind is kind)


class Past(Protocol):
    """The artifacts that are there, newest first in every answer."""

    def find(self, recipe: Key) -> Sequence[Artifact]:
        """Find those of a recipe that can be used."""

    def latest(self, component: str, arch: str) -> Artifact | None:
        """Find the newest of a component."""

    def everything(self) -> Sequence[Artifact]:
        """List all, also those whose files are lost; only asked to find words."""


class Planner:
    """Decides on one component after the other, as what they are built in becomes known."""

    def __init__(
        self,
        snapshot: Snapshot,
        arch: str,
        base: BaseFacts,
        *,
        past: Past,
        force: frozenset[str] = frozenset(),
        noarch: Mapping[str, Artifact] | None = None,
        script: int = BUILD_VERSION,
        count_commits: CountCommits | None = None,
        earlier_base_names: Callable[[str], Sequence[str]] | None = None,
    ) -> None:
        """``noarch`` has what another architecture's plan has decided on; None: decide here."""
        self.arch = arch
        self._snapshot = snapshot
        self._base = base
        self._past = past
        self._force = force
        self._noarch = noarch
        self._script = script
        found = closures(snapshot.manifest, arch)
        self._components = found.components
        self._masks = found.masks
        self._at = {component.name: at for at, component in enumerate(found.components)}
        self._known: dict[str, Artifact] = {}
        self._numbers = [0] * len(found.components)
        self._sums = [0]
        """Of the first n components, as far as they are valid."""
        self._settled = 0
        self._providers: dict[str, int] = {}
        self._shared: set[str] = set()
        self.order = tuple(found.components[at].name for at in found.order)
        self.names = tuple(component.name for component in found.components)
        self._reasons = Reasons(
            base=base,
            known=self._known,
            count_commits=count_commits,
            earlier_base_names=earlier_base_names,
            everything=past.everything,
        )

    def arch_of(self, name: str) -> str:
        """Tell the architecture that a component's artifacts are kept under."""
        return NOARCH if self._component(name).noarch else self.arch

    def closure(self, name: str) -> tuple[str, ...]:
        """List what is in a component's buildroot, in the manifest's order."""
        return tuple(self.names[at] for at in bits(self._masks[self._at[name]]))

    def after(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Tell for each of these which others it comes after, without what those come after."""
        chosen = 0
        for name in names:
            chosen |= 1 << self._at[name]
        found = {}
        for name in names:
            left, direct = self._masks[self._at[name]] & chosen, 0
            while left:
                # Often the last one listed has all others in its own buildroot.
                highest = left.bit_length() - 1
                direct = direct & ~self._masks[highest] | 1 << highest
                left &= ~(self._masks[highest] | 1 << highest)
            found[name] = tuple(self.names[at] for at in bits(direct))
        return found

    def is_ready(self, name: str) -> bool:
        """Tell whether all that is in its buildroot has been settled."""
        return not self._masks[self._at[name]] & ~self._settled

    def settle(self, name: str, artifact: Artifact) -> None:
        """Say what a component's outcome is: built now, or kept."""
        self._learn(name, artifact)
        self._settled |= 1 << self._at[name]

    def assume(self, name: str, artifact: Artifact) -> None:
        """Take an artifact for granted for the time being: decisions that rest on it say so."""
        self._learn(name, artifact)
        self._settled &= ~(1 << self._at[name])

    def recipe(self, name: str) -> Recipe:
        """Hash what can be known of a component before it is built."""
        component = self._component(name)
        pin = self._snapshot.pins[name]
        own = own_inputs(component, pin, self.arch_of(name), self._snapshot.manifest)
        visible = self._visible(self._masks[self._at[name]])
        return recipe(own, base=self._base, visible=visible, script=self._script)

    def decide(self, name: str, candidates: Sequence[Artifact] | None = None) -> Decision:
        """Decide on a component; ``candidates`` are artifacts of its recipe, asked for if None."""
        component = self._component(name)
        if component.noarch and self._noarch is not None:
            return self._built_elsewhere(component, self._noarch.get(name))
        if name not in self._snapshot.pins:
            return Decision(
                component=name, arch=self.arch_of(name), kind=Kind.WAITS, reasons=(UNRESOLVED,)
            )
        found = self.recipe(name)
        must = self._must(name)
        kept = None
        if not must:
            given = self._past.find(found.key) if candidates is None else candidates
            kept = next((one for one in given if self._holds(one, found)), None)
        if kept is None:
            reasons = must or self._why(name, found)
            return self._decision(name, Kind.REBUILD, reasons, None, found)
        waits = self._waits(name, kept)
        return self._decision(
            name, Kind.WAITS if waits else Kind.KEEP, waits or (UNCHANGED,), kept, found
        )

    # Helpers

    def _component(self, name: str) -> Component:
        return self._components[self._at[name]]

    def _decision(
        self,
        name: str,
        kind: Kind,
        reasons: tuple[str, ...],
        artifact: Artifact | None,
        found: Recipe,
    ) -> Decision:
        return Decision(
            component=name,
            arch=self.arch_of(name),
            kind=kind,
            reasons=reasons,
            artifact=artifact,
            recipe=found.key,
            inputs=found.inputs,
        )

    def _built_elsewhere(self, component: Component, artifact: Artifact | None) -> Decision:
        kind = Kind.KEEP if artifact else Kind.WAITS
        text = "the same for all architectures: built once, with another one"
        return Decision(
            component=component.name, arch=NOARCH, kind=kind, reasons=(text,), artifact=artifact
        )

    def _must(self, name: str) -> tuple[str, ...]:
        if name in self._force:
            return ("forced",)
        if self._snapshot.pins[name].local:
            return ("local: always built",)
        return ()

    def _why(self, name: str, found: Recipe) -> tuple[str, ...]:
        arch = self.arch_of(name)
        latest = self._past.latest(name, arch)
        if latest is None:
            lost = self._reasons.was_built(name, arch)
            return ("its files are no longer in the repository" if lost else "never built",)
        return self._reasons.find(latest, found, self.closure(name))

    def _visible(self, mask: int) -> int:
        length = mask.bit_length()
        if mask != (1 << length) - 1:
            total = 0
            for at in bits(mask):
                total += self._numbers[at]
            return add_numbers(total, 0)
        while len(self._sums) <= length:
            done = len(self._sums) - 1
            self._sums.append(add_numbers(self._sums[done], self._numbers[done]))
        return self._sums[length]

    def _learn(self, name: str, artifact: Artifact) -> None:
        before = self._known.get(name)
        if before is artifact:
            return
        at = self._at[name]
        bit = 1 << at
        for gone in before.interface if before else ():
            self._providers[gone] &= ~bit
        shared = self._providers.keys() & artifact.interface.keys()
        both = {brought: self._providers[brought] | bit for brought in shared}
        self._providers |= dict.fromkeys(artifact.interface, bit) | both
        self._shared |= shared
        self._known[name] = artifact
        number = names_number(artifact.interface)
        if number != self._numbers[at]:
            self._numbers[at] = number
            del self._sums[at + 1 :]

    def _holds(self, artifact: Artifact, found: Recipe) -> bool:
        if artifact.recipe != found.key or not is_consistent(artifact):
            return False
        mask = self._masks[self._at[artifact.component]]
        return all(
            self._still_there(provider, names, mask) for provider, names in artifact.used.items()
        )

    def _still_there(self, provider: str, names: Mapping[str, str], mask: int) -> bool:
        if provider == BASE:
            return names.items() <= self._base.packages.items()
        at = self._at.get(provider, -1)
        known = self._known.get(provider)
        if known is None or not mask >> at & 1 or not names.items() <= known.interface.items():
            return False
        if self._shared.isdisjoint(names):
            return True
        # What is listed later hides the same name of what is listed before it.
        hiding = mask & ~((1 << at + 1) - 1)
        return not any(self._providers[name] & hiding for name in names)

    def _waits(self, name: str, kept: Artifact) -> tuple[str, ...]:
        unsettled = self._masks[self._at[name]] & ~self._settled
        reasons = []
        for at in bits(unsettled):
            other = self.names[at]
            if other in kept.used:
                reasons.append(f"rebuilt if the interface of {other} changes")
            elif other not in self._known:
                reasons.append(f"rebuilt if {other}, which is new, brings names it may look for")
        return tuple(reasons)


def plan(
    snapshot: Snapshot,
    arch: str,
    base: BaseFacts,
    *,
    past: Past,
    force: frozenset[str] = frozenset(),
    noarch: Mapping[str, Artifact] | None = None,
    script: int = BUILD_VERSION,
    count_commits: CountCommits | None = None,
    earlier_base_names: Callable[[str], Sequence[str]] | None = None,
) -> Plan:
    """Forecast what a build of the snapshot would do; takes the arguments of ``Planner``."""
    planner = Planner(
        snapshot,
        arch,
        base,
        past=past,
        force=force,
        noarch=noarch,
        script=script,
        count_commits=count_commits,
        earlier_base_names=earlier_base_names,
    )
    decisions = {}
    for name in planner.order:
        decision = planner.decide(name)
        decisions[name] = decision
        if decision.kind is Kind.KEEP and decision.artifact is not None:
            planner.settle(name, decision.artifact)
        elif artifact := decision.artifact or past.latest(name, decision.arch):
            planner.assume(name, artifact)
    unsettled = [name for name, one in decisions.items() if one.kind is not Kind.KEEP]
    for name, after in planner.after(unsettled).items():
        decisions[name] = replace(decisions[name], after=after)
    return Plan(arch=arch, decisions=tuple(decisions[name] for name in planner.names))
