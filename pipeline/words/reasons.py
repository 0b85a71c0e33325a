# SPDX-License-Identifier: LGPL-2.1-or-later
"""Say in words why a component is built again: what differs from its newest artifact.

Slower than deciding and asked only about what is rebuilt. That something changed is certain from
the keys; this only finds the words for it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import (
    BaseFacts,
    Recipe,
    names_number,
    subtract_numbers,
    visible_names,
)
from pipeline.words.names import in_words
from pipeline.words.refs import Revision

CountCommits = Callable[[str, Revision, Revision], int | None]
"""Tells how many git commits lie between two revisions of a component; None where nobody knows."""
_SHORT = 7
_MOST_NAMES = 3
_MOST_PAIRS = 2000
_LISTS = {
    "config-opts": "option",
    "options": "option",
    "setuid": "setuid bit of",
    "requires": "requirement",
}
_PLAIN = {"system": "build system", "subdir": "build directory", "cflags": "cflags"}
_SWITCHES = ("rm-configure", "installed-tests")


class Reasons:
    """Finds the words; ``known`` are the artifacts that buildroots are made of, as they become so.

    ``everything`` lists all artifacts that are known of, newest first.
    """

    def __init__(
        self,
        *,
        base: BaseFacts,
        known: Mapping[str, Artifact],
        count_commits: CountCommits | None,
        earlier_base_names: Callable[[str], Sequence[str]] | None,
        everything: Callable[[], Sequence[Artifact]],
    ) -> None:
        self._base = base
        self._known = known
        self._count_commits = count_commits
        self._earlier_base_names = earlier_base_names
        self._everything = everything
        self._explained: dict[int, tuple[_Shift, ...]] = {}

    def find(self, latest: Artifact, now: Recipe, closure: Sequence[str]) -> tuple[str, ...]:
        """Tell what differs between an artifact and what would be built now; never empty."""
        found = [
            *self._own(latest, now),
            *self._used(latest, frozenset(closure)),
            *self._base_names(latest, now),
            *self._visible(latest, now, closure),
        ]
        return tuple(found) or ("its newest artifact was built from other inputs",)

    def was_built(self, component: str, arch: str) -> bool:
        """Tell whether anything is known of an artifact of a component."""
        return any((one.component, one.arch) == (component, arch) for one in self._all)

    @cached_property
    def _all(self) -> Sequence[Artifact]:
        return self._everything()

    @cached_property
    def _earlier(self) -> Sequence["_Names"]:
        return [_Names.of(artifact) for artifact in self._all]

    # Its own inputs

    def _own(self, latest: Artifact, now: Recipe) -> Iterator[str]:
        old, new = latest.inputs, now.inputs
        if not old:
            if latest.recipe != now.key:
                yield "its sources, its options or the names it sees changed"
            return
        if old.get("script") != new.get("script"):
            yield f"build script {old.get('script')} → {new.get('script')}"
        yield from _epochs(old.get("epoch"), new.get("epoch"))
        yield from self._source(latest.component, old, new, "")
        yield from _children(old.get("children", {}), new.get("children", {}))
        for key, word in _LISTS.items():
            yield from _list_changes(word, old.get(key, []), new.get(key, []))
        for key, word in _PLAIN.items():
            if old.get(key, "") != new.get(key, ""):
                yield f"{word} {old.get(key) or 'none'} → {new.get(key) or 'none'}"
        if old.get("commands", []) != new.get("commands", []):
            yield "build commands changed"
        variables = old.get("environment", {}), new.get("environment", {})
        yield from _map_changes("environment variable", *variables)
        for key in _SWITCHES:
            if bool(old.get(key)) != bool(new.get(key)):
                yield f"{key} switched {'on' if new.get(key) else 'off'}"

    def _source(
        self, component: str, old: Mapping[str, Any], new: Mapping[str, Any], about: str
    ) -> Iterator[str]:
        before, after = old.get("revision", ""), new.get("revision", "")
        if before != after:
            count = self._count_commits and self._count_commits(component, before, after)
            commits = f" ({count} commit{'s' if count != 1 else ''})" if count else ""
            yield f"{about}revision {before[:_SHORT] or 'none'} → {after[:_SHORT]}{commits}"
        elif old.get("submodules", {}) != new.get("submodules", {}):
            yield f"{about}submodules changed"
        yield from _patches(old.get("patches", []), new.get("patches", []), about)

    # What it used

    def _used(self, latest: Artifact, closure: frozenset[str]) -> Iterator[str]:
        for provider, names in latest.used.items():
            if provider == BASE:
                yield from self._packages(names)
            elif provider not in closure:
                yield f"{provider}, which it uses, is no longer in its buildroot"
            elif known := self._known.get(provider):
                yield from _interface_changes(provider, names, known.interface)

    def _packages(self, names: Mapping[str, str]) -> Iterator[str]:
        for name, version in names.items():
            now = self._base.packages.get(name)
            if now is None:
                yield f"{name} is no longer in the base"
            elif now != version:
                yield f"{name} {version} → {now} in the base"

    # What it could have looked for

    def _base_names(self, latest: Artifact, now: Recipe) -> Iterator[str]:
        digest = latest.inputs.get("base-names", "")
        if not latest.inputs or digest == now.inputs["base-names"]:
            return
        old = self._earlier_base_names(digest) if self._earlier_base_names else ()
        words = list(_came_and_went(old, self._base.names, "in the base")) if old else []
        yield from words or ["the names visible in the base changed"]

    def _visible(self, latest: Artifact, now: Recipe, closure: Sequence[str]) -> Iterator[str]:
        before, after = latest.inputs.get("visible", ""), now.inputs["visible"]
        if not latest.inputs or before == after:
            return
        shift = subtract_numbers(int(after or "0", 16), int(before or "0", 16))
        if shift not in self._explained:
            self._explained[shift] = self._explain(shift, closure)
        if not self._explained[shift]:
            yield "the names visible in its buildroot changed"
        for one in self._explained[shift]:
            yield from _came_and_went(one.old, one.new, f"of {one.component}")

    def _explain(self, shift: int, closure: Sequence[str]) -> tuple["_Shift", ...]:
        """Find whose names, of one component or two, make up a difference of sums.

        A sum tells nothing of what was added to it, but what may have been is known: each
        component's earlier names gone, its present ones come.
        """
        now = {name: _Names.of(self._known[name]) for name in closure if name in self._known}
        shifts: dict[int, _Shift] = {}
        nothing = [_Names(component=name) for name in now]
        for earlier in [*nothing, *self._earlier]:
            present = now.get(earlier.component, _Names(component=earlier.component))
            difference = subtract_numbers(present.number, earlier.number)
            if difference:
                one = _Shift(component=present.component, old=earlier.names, new=present.names)
                shifts.setdefault(difference, one)
        if shift in shifts:
            return (shifts[shift],)
        for difference, one in list(shifts.items())[:_MOST_PAIRS]:
            other = shifts.get(subtract_numbers(shift, difference))
            if other is not None and other.component != one.component:
                return (one, other)
        return ()


@dataclass(frozen=True, kw_only=True)
class _Names:
    """The visible names that an artifact brings, and their number."""

    component: str
    names: tuple[str, ...] = ()
    number: int = 0

    @staticmethod
    def of(artifact: Artifact) -> "_Names":
        names = visible_names(artifact.interface)
        return _Names(component=artifact.component, names=names, number=names_number(names))


@dataclass(frozen=True, kw_only=True)
class _Shift:
    """A component's change of visible names."""

    component: str
    old: tuple[str, ...]
    new: tuple[str, ...]


def _epochs(old: Sequence[int] | None, new: Sequence[int] | None) -> Iterator[str]:
    for word, before, after in zip(
        ("epoch", "build-epoch"), old or (0, 0), new or (0, 0), strict=True
    ):
        if before != after:
            yield f"{word} {before} → {after}"


def _children(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(old.keys() | new.keys()):
        if name not in old or name not in new:
            yield f"child {name} {'added' if name in new else 'removed'}"
            continue
        before, after = old[name].get("revision", ""), new[name].get("revision", "")
        if before != after:
            yield f"child {name}: revision {before[:_SHORT]} → {after[:_SHORT]}"
        elif old[name].get("submodules") != new[name].get("submodules"):
            yield f"child {name}: submodules changed"
        yield from _patches(old[name]["patches"], new[name]["patches"], f"child {name}: ")


def _patches(old: Sequence[Sequence[str]], new: Sequence[Sequence[str]], about: str) -> list[str]:
    before, after = {one[0]: one[1] for one in old}, {one[0]: one[1] for one in new}
    found = list(_map_changes(f"{about}patch", before, after))
    if not found and list(before) != list(after):
        found = [f"{about}patches in another order"]
    return found


def _map_changes(word: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in [*old, *(name for name in new if name not in old)]:
        if name not in new:
            yield f"{word} {name} removed"
        elif name not in old:
            yield f"{word} {name} added"
        elif old[name] != new[name]:
            yield f"{word} {name} changed"


def _list_changes(word: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    added = [one for one in new if one not in old]
    removed = [one for one in old if one not in new]
    yield from (f"{word} {one} added" for one in added)
    yield from (f"{word} {one} removed" for one in removed)
    if not added and not removed and list(old) != list(new):
        yield f"the {word.removesuffix(' of')}s come in another order"


def _interface_changes(
    provider: str, used: Mapping[str, str], now: Mapping[str, str]
) -> Iterator[str]:
    changed = [name for name in used if name in now and now[name] != used[name]]
    gone = [name for name in used if name not in now]
    for name in changed[:_MOST_NAMES]:
        yield f"{in_words(name)} of {provider} changed"
    for name in gone[:_MOST_NAMES]:
        yield f"{provider} no longer has {in_words(name)}"
    left = len(changed[_MOST_NAMES:]) + len(gone[_MOST_NAMES:])
    if left:
        yield f"{left} more of what it uses of {provider} changed"


def _came_and_went(old: Iterable[str], new: Iterable[str], whose: str) -> Iterator[str]:
    before, after = set(old), set(new)
    for names, text in (
        (sorted(after - before), "a new {} became visible ({})"),
        (sorted(before - after), "{} is no longer visible ({})"),
    ):
        for name in names[:_MOST_NAMES]:
            yield text.format(_quoted(name), whose)
        if len(names) > _MOST_NAMES:
            yield f"and {len(names) - _MOST_NAMES} more"


def _quoted(name: str) -> str:
    kind, _, rest = in_words(name).rpartition(" ")
    return f"{kind} `{rest}`"
