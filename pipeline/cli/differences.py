# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci diff`` and ``ostci where``: what changed between two trees, and where a change is."""

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.cli.terminal import size_text
from pipeline.cli.trees import find_tree, snapshot_of
from pipeline.ports.changes import Change, How, changes
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Trouble
from pipeline.words.findings import one_of
from pipeline.words.refs import Revision
from pipeline.words.snapshot import Snapshot

_MOST_FILES = 40
_SHORT = 12


@dataclass(frozen=True, kw_only=True)
class ComponentChange:
    """One component; a revision is empty where a tree does not have it.

    ``subjects`` are of the git commits between, newest first; empty where they are not known.
    """

    name: str
    old: str = ""
    new: str = ""
    subjects: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TreeDiff:
    """What differs; ``packages`` are the base's: name → (old version, new version)."""

    old: str
    new: str
    components: tuple[ComponentChange, ...]
    packages: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    files: tuple[Change, ...] = ()

    @property
    def growth(self) -> int:
        """By how many bytes the files grew."""
        return sum(change.new_size - change.old_size for change in self.files)


def do_diff(options: argparse.Namespace) -> int:
    """Print what differs between two trees."""
    house = open_house(options)
    found = diff(house, options.a, options.b)
    if options.json:
        print(json.dumps(asdict(found) | {"growth": found.growth}, indent=2))
    else:
        print("\n".join(_diff_words(found)))
    return EXIT_PASSED


def diff(house: House, first: str, second: str) -> TreeDiff:
    """Compare two trees, each named as ``find_tree`` takes it."""
    old, new = find_tree(house, first), find_tree(house, second)
    before, after = snapshot_of(house, old), snapshot_of(house, new)
    return TreeDiff(
        old=old,
        new=new,
        components=tuple(_components(house, before, after)),
        packages=_versions(before.base.packages, after.base.packages),
        files=tuple(changes(house.repo, old, new)),
    )


def _components(house: House, before: Snapshot, after: Snapshot) -> Iterator[ComponentChange]:
    names = dict.fromkeys([*after.pins, *before.pins])
    for name in names:
        old = before.pins[name].revision if name in before.pins else ""
        new = after.pins[name].revision if name in after.pins else ""
        if old != new:
            subjects = _subjects(house, after, name, old, new) if old and new else ()
            yield ComponentChange(name=name, old=old, new=new, subjects=subjects)


def _subjects(house: House, after: Snapshot, name: str, old: str, new: str) -> tuple[str, ...]:
    source = after.manifest.component(name).source
    try:
        found = house.mirrors.log_between(source, Revision(old), Revision(new))
    except (Failed, Trouble) as error:
        house.log.detail(f"no git log: {error}", about=name)
        return ()
    return tuple(f"{one.revision[:_SHORT]} {one.subject}" for one in found)


def _versions(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = sorted({*old, *new})
    pairs = {name: (old.get(name, ""), new.get(name, "")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _diff_words(found: TreeDiff) -> Iterator[str]:
    yield f"{found.old} → {found.new}"
    if not found.components and not found.packages and not found.files:
        yield "the same"
        return
    for one in found.components:
        yield f"{one.name}: {one.old[:_SHORT] or 'not there'} → {one.new[:_SHORT] or 'gone'}"
        yield from (f"  {subject}" for subject in one.subjects)
    for name, (old, new) in found.packages.items():
        yield f"package {name}: {old or 'not there'} → {new or 'gone'}"
    counts = Counter(change.how for change in found.files)
    told = ", ".join(f"{counts[how]} {how}" for how in How if counts[how]) or "none"
    yield f"files: {told}; {_signed(found.growth)}"
    for change in found.files[:_MOST_FILES]:
        yield f"  {change.how:<8} {change.path} ({_file_size(change)})"
    if len(found.files) > _MOST_FILES:
        yield f"  and {len(found.files) - _MOST_FILES} more (--json tells all)"


def _file_size(change: Change) -> str:
    if change.how is How.CHANGED:
        return f"{size_text(change.old_size)} → {size_text(change.new_size)}"
    return size_text(change.new_size or change.old_size)


def _signed(size: int) -> str:
    return f"{'+' if size > 0 else '-' if size < 0 else ''}{size_text(abs(size))}"


def do_where(options: argparse.Namespace) -> int:
    """Print which trees contain a component or one of its revisions, and whether they passed."""
    house = open_house(options)
    name, _, revision = options.component.partition("@")
    known = [component.name for component in house.manifest.components]
    rows = house.ledger.trees_with(name, revision or None)
    if not rows and name not in known:
        raise BadInput(f"the manifest has no component {name!r}", hint=one_of(name, known))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2, default=str))
        return EXIT_PASSED
    for row in rows:
        told = ", ".join(f"{suite} {verdict}" for suite, verdict in row.verdicts.items())
        mark = ", promoted" if row.promoted else ""
        line = f"{row.run:<12} {row.tree} {row.commit[:_SHORT]}  {row.revision[:_SHORT]}"
        print(f"{line}  {told or 'not tested'}{mark}")
    if not rows:
        what = f"{name} at {revision}" if revision else name
        print(f"no tree contains {what} yet")
    return EXIT_PASSED
