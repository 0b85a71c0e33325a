# SPDX-License-Identifier: LGPL-2.1-or-later
"""The trees of a manifest: ``extend`` followed, selections turned into names of components."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.words.errors import BadInput
from pipeline.words.findings import Findings, Wrong, one_of
from pipeline.words.manifest import (
    Base,
    Component,
    KnownMessage,
    Manifest,
    Need,
    SmokeSpec,
    Target,
)
from pipeline.words.manifest_base import lists_of
from pipeline.words.manifest_schema import (
    GateKeys,
    ManifestKeys,
    SessionKeys,
    SmokeKeys,
    TargetKeys,
)
from pipeline.words.refs import Part
from pipeline.words.session import Login, LoginManager, SessionSpec, SessionType
from pipeline.words.yaml_nodes import Path

INSTALLED_TESTS = "installed-tests"
_ALL = "all"
_ORIGINAL_GROUPS = ("minimal", "runtime", "devel", "testing", "hwtest", INSTALLED_TESTS)
_DEFAULT: Mapping[str, TargetKeys] = {"runtime": TargetKeys.model_validate({})}
_ORIGINAL = {
    "runtime": {
        "components": ["@minimal", "@runtime"],
        "default-target": "graphical.target",
    },
    "hwtest": {
        "extend": "runtime",
        "components": ["@hwtest"],
        "default-target": "gnome-hwtest.target",
        "disk-size": "4G",
    },
    "devel-debug": {
        "extend": "runtime",
        "packages": ["runtime", "devel"],
        "components": ["@devel"],
        "subtrees": ["runtime", "devel", "tests", "doc", "debug"],
    },
    INSTALLED_TESTS: {
        "extend": "runtime",
        "components": ["@testing", f"@{INSTALLED_TESTS}"],
        "subtrees": ["runtime", "tests"],
    },
}
"""What the original composed of every manifest; ours are in the manifest."""


@dataclass(frozen=True, kw_only=True)
class Selectable:
    """The components that a tree can have, in order, and the groups they are in."""

    components: tuple[str, ...]
    groups: Mapping[str, frozenset[str]]
    bootstrap: frozenset[str] = frozenset()
    incomplete: bool = False
    """Some components were not understood: a name that is not there may be one of them."""
    unread: frozenset[str] = field(default_factory=frozenset)
    """Names that are in the text, but were not understood further."""

    def select(self, items: Sequence[str], start: frozenset[str]) -> frozenset[str]:
        """Go through a selection from left to right; raises Wrong for the first bad item."""
        found = set(start)
        for item in items:
            chosen = self.members(item.removeprefix("-"))
            found = found - chosen if item.startswith("-") else found | chosen
        return frozenset(found)

    def members(self, word: str) -> frozenset[str]:
        """Name the components that a word stands for; raises Wrong where there is none."""
        if word == _ALL:
            return frozenset(self.components)
        if word.startswith("@"):
            if word[1:] in self.groups or self.incomplete:
                return self.groups.get(word[1:], frozenset())
            hint = one_of(word[1:], self.groups)
            raise Wrong(f"there is no group {word[1:]!r}", hint or "groups: {NAME: [COMPONENT]}")
        if word in self.components:
            return frozenset([word])
        if word in self.bootstrap:
            raise Wrong(f"{word!r} is for bootstrapping and is in no tree")
        if word in self.unread or self.incomplete:
            return frozenset()
        raise Wrong(f"there is no component {word!r}", self._instead(word))

    def in_order(self, names: Iterable[str]) -> tuple[str, ...]:
        """Put names into the manifest's order."""
        wanted = set(names)
        return tuple(name for name in self.components if name in wanted)

    def _instead(self, word: str) -> str:
        return f"did you mean '@{word}'?" if word in self.groups else one_of(word, self.components)


def selectable(
    components: Sequence[Component],
    groups: Iterable[str],
    *,
    original: bool = False,
    incomplete: bool = False,
    unread: Iterable[str] = (),
) -> Selectable:
    """Gather what selections can name; ``groups`` exist even where nothing is in them."""
    found: dict[str, set[str]] = {group: set() for group in groups}
    for group in _ORIGINAL_GROUPS if original else ():
        found.setdefault(group, set())
    for component in components:
        for group in component.groups:
            found.setdefault(group, set()).add(component.name)
    return Selectable(
        components=tuple(one.name for one in components if not one.bootstrap),
        groups={group: frozenset(members) for group, members in found.items()},
        bootstrap=frozenset(one.name for one in components if one.bootstrap),
        incomplete=incomplete,
        unread=frozenset(unread),
    )


def read_targets(
    keys: ManifestKeys, base: Base | None, known: Selectable, findings: Findings, *, original: bool
) -> tuple[Target, ...]:
    """Make the targets; those that a manifest without any means are ours or the original's."""
    if keys.has("targets") and not keys.targets and not findings.is_wrong("targets"):
        findings.problem(("targets",), "no target, so nothing would be composed", key=True)
    texts: Mapping[str, TargetKeys] = keys.targets
    if not keys.has("targets"):
        texts = _originals() if original else _DEFAULT
    reader = _Reader(keys, texts, base, known, findings)
    return tuple(target for name in texts if (target := reader.target(name)) is not None)


def _originals() -> dict[str, TargetKeys]:
    return {name: TargetKeys.model_validate(value) for name, value in _ORIGINAL.items()}


class _Reader:
    """Makes each target once, after that which it extends."""

    def __init__(
        self,
        manifest: ManifestKeys,
        texts: Mapping[str, TargetKeys],
        base: Base | None,
        known: Selectable,
        findings: Findings,
    ) -> None:
        self._manifest, self._texts = manifest, texts
        self._base, self._known, self._findings = base, known, findings
        self._done: dict[str, Target | None] = {}
        self._way: list[str] = []
        self._everywhere = _smoke(manifest.tests.smoke, SmokeSpec())

    def target(self, name: str) -> Target | None:
        if name not in self._done:
            self._way.append(name)
            self._done[name] = self._read(name, self._texts[name])
            self._way.pop()
        return self._done[name]

    def _read(self, name: str, keys: TargetKeys) -> Target | None:
        path = ("targets", name)
        if not keys.extend:
            start = Target(
                name=name,
                components=self._known.components,
                gate=_gate(self._manifest.gates) or Target(name=name).gate,
                flaky=_flaky(self._manifest.gates),
                passes_to_count=self._manifest.tests.passes_to_count,
                smoke=self._everywhere,
            )
            return self._over(start, keys, path)
        above = self._extended(keys.extend, path)
        return None if above is None else self._over(replace(above, name=name), keys, path)

    def _extended(self, other: str, path: Path) -> Target | None:
        where = (*path, "extend")
        if other not in self._texts:
            if not self._findings.is_wrong("targets", other):
                hint = one_of(other, self._texts)
                self._findings.problem(where, f"there is no target {other!r}", hint)
            return None
        if other in self._way:
            way = " → ".join([*self._way[self._way.index(other) :], other])
            self._findings.problem(where, f"targets extend one another: {way}")
            return None
        return self.target(other)

    def _over(self, below: Target, keys: TargetKeys, path: Path) -> Target:
        """Put what a target says itself over what it extends."""
        return replace(
            below,
            components=self._components(below, keys, path),
            packages=self._packages(below, keys, path),
            subtrees=_subtrees(keys) if keys.has("subtrees") else below.subtrees,
            default_unit=keys.default_target or below.default_unit,
            disk_size=keys.disk_size if keys.has("disk_size") else below.disk_size,
            memory=keys.memory if keys.has("memory") else below.memory,
            processors=keys.processors if keys.has("processors") else below.processors,
            kernel_options=tuple(keys.kernel_options)
            if keys.has("kernel_options")
            else below.kernel_options,
            boot_tries=keys.boot_counting if keys.has("boot_counting") else below.boot_tries,
            gate=_gate(keys.gate) if keys.has("gate") else below.gate,
            flaky=_flaky(keys.gate) if keys.has("gate") else below.flaky,
            passes_to_count=keys.tests.passes_to_count
            if keys.tests.has("passes_to_count")
            else below.passes_to_count,
            smoke=_smoke(keys.tests.smoke, below.smoke),
            promotion_group=keys.promotion_group or below.promotion_group,
            architectures=self._architectures(below, keys, path),
            session=self._session(below, keys.session, (*path, "session")),
        )

    def _session(self, below: Target, keys: SessionKeys, path: Path) -> SessionSpec | None:
        """Put a session over the other target's; its name is needed, once."""
        if not keys.model_fields_set:
            return below.session
        start = below.session or SessionSpec(name=keys.name)
        kind = SessionType(keys.type) if keys.has("type") else start.type
        if not keys.name and below.session is None and not self._findings.is_wrong(*path, "name"):
            example = "weston" if kind is SessionType.WAYLAND else "openbox"
            hint = f"name: a file of /{kind.place}, such as {example}"
            self._findings.problem(path, "a session needs a name", hint, key=True)
        return replace(
            start,
            name=keys.name or start.name,
            type=kind,
            manager=LoginManager(keys.manager) if keys.has("manager") else start.manager,
            user=keys.user if keys.has("user") else start.user,
            login=Login(keys.login) if keys.has("login") else start.login,
            delay_s=keys.delay if keys.has("delay") else start.delay_s,
            deadline_s=keys.deadline if keys.has("deadline") else start.deadline_s,
        )

    def _components(self, below: Target, keys: TargetKeys, path: Path) -> tuple[str, ...]:
        if not keys.has("components"):
            return below.components
        # One that names only what it does not want, wants the rest.
        only_less = bool(keys.components) and all(one.startswith("-") for one in keys.components)
        found = frozenset(below.components) if keys.extend or only_less else frozenset()
        for place, item in enumerate(keys.components):
            try:
                found = self._known.select([item], found)
            except Wrong as wrong:
                self._findings.problem((*path, "components", place), wrong.message, wrong.hint)
        return self._known.in_order(found)

    def _packages(self, below: Target, keys: TargetKeys, path: Path) -> tuple[str, ...]:
        if not keys.has("packages"):
            return below.packages
        where = (*path, "packages")
        lists = lists_of(self._base) if self._base is not None else ()
        for place, name in enumerate(keys.packages):
            if lists and name not in lists and not self._is_wrong_list(name):
                message = f"the base has no package list {name!r}"
                self._findings.problem((*where, place), message, one_of(name, lists))
        if not keys.packages:
            self._findings.problem(where, "a tree needs a package list of the base", key=True)
        return tuple(dict.fromkeys(keys.packages))

    def _is_wrong_list(self, name: str) -> bool:
        places = (("debian", "packages"), ("tar",), ("ostree", "refs"))
        return any(self._findings.is_wrong("base", *place, name) for place in places)

    def _architectures(self, below: Target, keys: TargetKeys, path: Path) -> tuple[str, ...]:
        if not keys.has("architectures"):
            return below.architectures
        known = self._manifest.architectures
        for place, arch in enumerate(keys.architectures):
            if arch not in known and not self._findings.is_wrong("architectures"):
                where = (*path, "architectures", place)
                message = f"the manifest is not built for {arch}"
                self._findings.problem(where, message, one_of(arch, known))
        return tuple(dict.fromkeys(keys.architectures))


def _gate(given: Mapping[str, GateKeys]) -> dict[str, Need]:
    return {suite: Need(keys.need) for suite, keys in given.items()}


def _flaky(given: Mapping[str, GateKeys]) -> dict[str, int]:
    return {suite: keys.flaky for suite, keys in given.items() if keys.flaky}


def _subtrees(keys: TargetKeys) -> tuple[Part, ...]:
    # In one order, so that it makes no difference in which they were written.
    return tuple(part for part in Part if part in keys.subtrees)


def _smoke(keys: SmokeKeys, below: SmokeSpec) -> SmokeSpec:
    """Put one smoke suite over another: what it names comes to what was named before."""
    known = tuple(
        KnownMessage(pattern=one.pattern, reason=one.reason) for one in keys.known if one.pattern
    )
    required, forbidden = _both((below.required, keys.required), (below.forbidden, keys.forbidden))
    lines, no_lines = _both(
        (below.required_console, keys.required_console),
        (below.forbidden_console, keys.forbidden_console),
    )
    units, no_units = _both(
        (_named(below.required_units), _named(keys.required_units)),
        (_named(below.forbidden_units), _named(keys.forbidden_units)),
    )
    return SmokeSpec(
        unit=keys.unit or below.unit,
        required=required,
        forbidden=forbidden,
        required_units=tuple(units),
        forbidden_units=tuple(no_units),
        required_console=lines,
        forbidden_console=no_lines,
        known=tuple(dict.fromkeys((*below.known, *known))),
        deadline_s=keys.deadline if keys.has("deadline") else below.deadline_s,
        settle_s=keys.settle if keys.has("settle") else below.settle_s,
    )


_Layers = tuple[Mapping[str, str], Mapping[str, str]]


def _both(required: _Layers, forbidden: _Layers) -> tuple[dict[str, str], dict[str, str]]:
    """Put what is above over what is below; what is required there is forbidden no more."""
    wants = {one: text for one, text in required[0].items() if one not in forbidden[1]}
    wants_not = {one: text for one, text in forbidden[0].items() if one not in required[1]}
    return {**wants, **required[1]}, {**wants_not, **forbidden[1]}


def _named(units: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(units, "")


def derive_target(manifest: Manifest, name: str) -> Target:
    """Derive a target from others and more components; see ``targets.target_of``."""
    known = {target.name: target for target in manifest.targets}
    parts = name.split("+")
    # Names of targets and components can have a plus in them, too; the longest that is one wins.
    ends = range(len(parts), 0, -1)
    end = next((end for end in ends if "+".join(parts[:end]) in known), 0)
    if not end:
        raise BadInput(f"there is no target {name!r}", hint=one_of(parts[0], known))
    target, more = known["+".join(parts[:end])], parts[end:]
    choice = selectable(
        manifest.components,
        (),
        original=manifest.original_version is not None,
    )
    try:
        chosen = choice.select(_words(more, choice), frozenset(target.components))
    except Wrong as wrong:
        raise BadInput(wrong.message, where=f"target {name}", hint=wrong.hint) from wrong
    return replace(target, name=name, components=choice.in_order(chosen))


def _words(parts: Sequence[str], choice: Selectable) -> list[str]:
    """Join parts of a name that was split at plus signs, such as those of ``libsigc++``."""
    found: list[str] = []
    left = list(parts)
    while left:
        ends = range(len(left), 0, -1)
        known = (end for end in ends if _is_known("+".join(left[:end]), choice))
        end = next(known, 1)
        found.append("+".join(left[:end]))
        del left[:end]
    return found


def _is_known(word: str, choice: Selectable) -> bool:
    try:
        choice.members(word)
    except Wrong:
        return False
    return True
