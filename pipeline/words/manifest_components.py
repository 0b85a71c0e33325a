# SPDX-License-Identifier: LGPL-2.1-or-later
"""The list of components: names, sources, how each is built, and what it waits for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.words.findings import Findings, Wrong, one_of
from pipeline.words.manifest import BuildSpec, BuildSystem, Child, Component, Limits, MergeRequests
from pipeline.words.manifest_schema import BuildKeys, ComponentKeys, ManifestKeys, SourceKeys
from pipeline.words.manifest_sources import ARCHIVES, KINDS, Sources, default_name
from pipeline.words.manifest_values import parse_name
from pipeline.words.rings import find_rings
from pipeline.words.yaml_nodes import Path

ORIGINAL_GROUP = "runtime"
"""What the original's ``component`` is where it is absent."""
_RESERVED = ("all", "base")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One entry of the list that has a name, and where it stands."""

    name: str
    keys: ComponentKeys
    path: Path


class Names:
    """All names of the list; whoever names a component asks here whether there is one."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._taken: dict[str, Path] = {}
        self._components: dict[str, Listed] = {}
        self._incomplete = False

    @property
    def incomplete(self) -> bool:
        """Whether some names were not understood."""
        return self._incomplete

    def is_free(self, name: str) -> bool:
        """Tell whether nothing has this name."""
        return name not in self._taken

    @property
    def components(self) -> tuple[Listed, ...]:
        """The entries in order, without children and without what has no name."""
        return tuple(self._components.values())

    def add(self, name: str, path: Path) -> bool:
        """Take a name for a component or child; tells whether it was free."""
        if not name:
            self.miss()
            return False
        if name in self._taken:
            line = self._findings.document.line(self._taken[name])
            hint = f"the one of line {line} has it; give one of them a name of its own"
            where = (*path, "name")
            self._findings.problem(where, f"the name {name!r} is used twice", hint)
            return False
        self._taken[name] = path
        return True

    def miss(self) -> None:
        """Say that there are more names than are known here."""
        self._incomplete = True

    def put(self, listed: Listed) -> None:
        """Add a component."""
        self._components[listed.name] = listed

    def check(self, names: Iterable[str], path: Path) -> list[str]:
        """Tell which of the names there are; what is unknown is noted as a problem."""
        known = []
        for place, name in enumerate(names):
            if name in self._components:
                known.append(name)
            elif name in self._taken:
                message = f"{name!r} is a child, not a component"
                self._findings.problem((*path, place), message, "name its parent")
            elif not self._incomplete:
                # Else it may well be the one whose name was not understood.
                hint = one_of(name, self._components)
                self._findings.problem((*path, place), f"there is no component {name!r}", hint)
        return known


def list_names(keys: ManifestKeys, sources: Sources) -> Names:
    """Give every component and child its name."""
    names = Names(sources.findings)
    if sources.findings.is_wrong("components"):
        names.miss()
    for position, component in enumerate(keys.components):
        path = ("components", position)
        name = name_of(component, path, sources)
        if names.add(name, path):
            names.put(Listed(name=name, keys=component, path=path))
        for number, child in enumerate(component.child_components):
            inner = (*path, "child-components", number)
            names.add(name_of(child, inner, sources), inner)
    return names


def name_of(keys: SourceKeys, path: Path, sources: Sources) -> str:
    """Tell the name that a source has or gets; empty where that was told to be wrong."""
    findings = sources.findings
    if findings.is_wrong(*path, "name") or findings.is_wrong(*path):
        return ""
    if keys.has("name"):
        if keys.name in _RESERVED:
            findings.problem((*path, "name"), f"the name {keys.name!r} has a meaning of its own")
            return ""
        return keys.name
    given = [f"{kind}:{getattr(keys.sources, kind)}" for kind in KINDS if keys.sources.has(kind)]
    text = keys.src or next(iter(given), "")
    if not text or findings.is_wrong(*path, "src"):
        return ""
    where = (*path, "src" if keys.src else "sources")
    if text.partition(":")[0] in ARCHIVES and not sources.original:
        message = "an archive needs a name beside it"
        findings.problem(where, message, "its file's name changes with every version")
        return ""
    try:
        name = parse_name(default_name(text, sources.prefixes))
    except Wrong as wrong:
        findings.problem(where, f"it needs a name: {wrong.message}", wrong.hint)
        return ""
    return name


def read_components(keys: ManifestKeys, names: Names, sources: Sources) -> tuple[Component, ...]:
    """Make the components; what is wrong is noted, and left out of what is told here."""
    findings = sources.findings
    groups = _groups(keys, names)
    tested = names.check(keys.installed_tests_components, ("installed-tests-components",))
    names.check(keys.build_epoch.component_names, ("build-epoch", "component-names"))
    _check_patch_source(keys, names, findings)
    found = []
    for listed in names.components:
        own = _own_groups(listed.keys, original=sources.original)
        component = _Reader(listed, keys, names, sources).component(
            groups=tuple(dict.fromkeys([*own, *groups.get(listed.name, ())])),
            installed_tests=listed.name in tested,
        )
        if component is not None:
            found.append(component)
    _check_cycles(found, {listed.name: listed.path for listed in names.components}, findings)
    return tuple(found)


def _groups(keys: ManifestKeys, names: Names) -> dict[str, list[str]]:
    """Turn the manifest's groups round: component → groups."""
    found: dict[str, list[str]] = {}
    for group, members in keys.groups.items():
        for member in names.check(members, ("groups", group)):
            found.setdefault(member, []).append(group)
    return found


def _own_groups(keys: ComponentKeys, *, original: bool) -> list[str]:
    value = keys.component or (ORIGINAL_GROUP if original else "")
    return [value, *keys.groups] if value else keys.groups


def _check_patch_source(keys: ManifestKeys, names: Names, findings: Findings) -> None:
    if keys.has("patches") or findings.is_wrong("patches"):
        return
    for listed in names.components:
        inner = [
            (*listed.path, "child-components", n) for n in range(len(listed.keys.child_components))
        ]
        for one, path in zip(
            (listed.keys, *listed.keys.child_components), (listed.path, *inner), strict=True
        ):
            if one.patches:
                hint = "add patches: {src: local:patches} at the top"
                message = "the manifest has no patch source for this"
                findings.problem((*path, "patches"), message, hint, key=True)
                return


class _Reader:
    """Makes one component of its keys."""

    def __init__(
        self, listed: Listed, manifest: ManifestKeys, names: Names, sources: Sources
    ) -> None:
        self._name, self._keys, self._path = listed.name, listed.keys, listed.path
        self._manifest, self._names, self._sources = manifest, names, sources
        self._findings = sources.findings

    def component(self, *, groups: tuple[str, ...], installed_tests: bool) -> Component | None:
        keys = self._keys
        source = self._sources.read(keys, self._path)
        children = self._children()
        build, depends, setuid = self._build(), self._depends(), self._setuid()
        if source is None:
            return None
        return Component(
            name=self._name,
            source=source,
            build=build,
            depends=depends,
            patches=tuple(keys.patches),
            children=children,
            config_opts=(*self._manifest.config_opts, *keys.config_opts),
            cflags=keys.cflags,
            setuid=setuid,
            requires_pkgconfig=tuple(keys.requires.pkgconfig),
            architectures=tuple(keys.architectures),
            groups=groups,
            noarch=keys.noarch,
            bootstrap=keys.bootstrap,
            rm_configure=keys.rm_configure,
            initramfs_depends=keys.initramfs_depends,
            installed_tests=installed_tests,
            epoch=keys.epoch,
            merge_requests=self._merge_requests(),
            irc_room=keys.irc_room,
            reasons=_reasons(keys),
            line=self._findings.document.line(self._path),
        )

    def _children(self) -> tuple[Child, ...]:
        found = []
        for number, child in enumerate(self._keys.child_components):
            path = (*self._path, "child-components", number)
            source = self._sources.read(child, path)
            name = name_of(child, path, self._sources)
            if source is not None and name:
                found.append(Child(name=name, source=source, patches=tuple(child.patches)))
        return tuple(found)

    def _depends(self) -> tuple[str, ...] | None:
        path = (*self._path, "depends")
        if not self._keys.has("depends"):
            return () if self._findings.is_wrong(*path) else None
        for place, name in enumerate(self._keys.depends):
            if name == self._name:
                self._findings.problem((*path, place), f"{name!r} depends on itself")
        return tuple(dict.fromkeys(self._names.check(self._keys.depends, path)))

    def _merge_requests(self) -> MergeRequests:
        own = self._keys.has("merge_requests")
        return MergeRequests((self._keys if own else self._manifest).merge_requests)

    def _setuid(self) -> tuple[str, ...]:
        # The original named the part of the result, too, and only one part can be meant.
        prefix = "/runtime" if self._sources.original else ""
        return tuple(path.removeprefix(prefix) for path in self._keys.setuid)

    def _build(self) -> BuildSpec:
        keys, path = self._keys.build, (*self._path, "build")
        custom = keys.system == "custom" or (keys.has("commands") and not keys.has("system"))
        if custom and not keys.commands and not self._findings.is_wrong(*path):
            self._findings.problem(path, "a custom build needs commands", key=True)
        elif keys.commands and not custom:
            message = f"commands stand beside the system {keys.system}"
            self._findings.problem((*path, "commands"), message, "keep one of them", key=True)
        elif keys.options and custom:
            message = "options are for a build system, commands have their own"
            self._findings.problem((*path, "options"), message, key=True)
        return _build_spec(keys, BuildSystem.CUSTOM if custom else BuildSystem(keys.system))


def _build_spec(keys: BuildKeys, system: BuildSystem) -> BuildSpec:
    return BuildSpec(
        system=system,
        options=tuple(keys.options),
        commands=tuple(keys.commands),
        environment=keys.environment,
        subdir=keys.subdir,
        ccache=keys.ccache,
        limits=Limits(
            time_s=keys.limits.time,
            memory=keys.limits.memory,
            processes=keys.limits.processes,
            output=keys.limits.output,
        ),
    )


def _reasons(keys: SourceKeys) -> dict[str, str]:
    texts = {
        "tag-reason": keys.tag_reason,
        "branch-reason": keys.branch_reason,
        "patches-reasons": "; ".join(keys.patches_reasons),
    }
    return {name: text for name, text in texts.items() if text}


def _check_cycles(
    components: Sequence[Component], paths: Mapping[str, Path], findings: Findings
) -> None:
    """Note each ring of components that wait for one another."""
    for ring in find_rings({one.name: one.depends for one in components}):
        # It is told where somebody wrote a dependency, at the first of them in the list.
        first = next(name for name in ring if _depends_of(components, name) is not None)
        turn = ring.index(first)
        way = [*ring[turn:], *ring[:turn], first]
        waits = "components wait for one another: " + " → ".join(way)
        implied = [name for name in ring if _depends_of(components, name) is None]
        hint = f"{implied[0]} has no depends and waits for all before it" if implied else ""
        findings.problem((*paths[first], "depends"), waits, hint, key=True)


def _depends_of(components: Sequence[Component], name: str) -> tuple[str, ...] | None:
    return next(one.depends for one in components if one.name == name)
