# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find the tree that somebody means, and gather what is known of it."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.cli.figures import figures_of
from pipeline.cli.house import House
from pipeline.cli.results import Trees
from pipeline.words.counting import count_of
from pipeline.words.errors import BadInput
from pipeline.words.findings import one_of
from pipeline.words.growth import figure, in_order
from pipeline.words.records import from_json
from pipeline.words.refs import Commit, compose_ref, is_commit
from pipeline.words.snapshot import Snapshot
from pipeline.words.suite import MEMORY

SNAPSHOT_PATH = "/usr/share/ostci/snapshot.json"
_PREFIX = re.compile(r"[0-9a-f]{6,64}")


@dataclass(frozen=True, kw_only=True)
class TreeFacts:
    """What is known of one commit: from its metadata, the refs, and the ledger's verdicts."""

    commit: Commit
    version: str
    time: int
    """Seconds since 1970."""
    parent: str | None
    subject: str
    snapshot: str
    components: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, str] = field(default_factory=dict)
    refs: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    promoted: bool = False
    numbers: Mapping[str, float] = field(default_factory=dict)
    """What it takes to boot, as the suite ``memory`` found it."""

    def words(self) -> Iterator[str]:
        """Tell it to a person."""
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(self.time))
        yield f"commit {self.commit}"
        yield f"version {self.version or 'none'}, {when}: {self.subject}"
        yield f"snapshot {self.snapshot or 'none'}"
        if self.parent:
            yield f"parent {self.parent}"
        yield "promoted: " + ("yes" if self.promoted else "no")
        told = ", ".join(f"{suite} {verdict}" for suite, verdict in self.verdicts.items())
        yield f"verdicts: {told or 'none'}"
        yield from (f"{name} {figure(name, self.numbers[name])}" for name in in_order(self.numbers))
        yield from (f"ref {ref}" for ref in self.refs)
        yield from (f"may be on {ref}" for ref in self.bound if ref not in self.refs)
        yield count_of(len(self.components), "component")
        width = max(map(len, self.components), default=0)
        for name, revision in self.components.items():
            yield f"  {name:<{width}}  {revision[:12]}"


def find_tree(house: House, text: str) -> Commit:
    """Find a commit by tree name, ref, checksum (or its start), run, or ``RUN/TREE``.

    A tree's name means the newest that was composed; a run means its first tree. Raises BadInput
    that lists what there is.
    """
    for found in (_by_name(house, text), house.repo.resolve(text), _by_run(house, text)):
        if found is not None and house.repo.has_commit(found):
            return found
    if _PREFIX.fullmatch(text) and not is_commit(text):
        return _by_prefix(house, text)
    names = [name for name, _, _ in house.manifest.trees()]
    hint = one_of(text, [*names, *house.repo.refs(house.manifest.osname)])
    raise BadInput(f"there is no tree {text!r}", hint=hint or "ostci show refs")


def _by_name(house: House, text: str) -> Commit | None:
    if "/" in text or text.startswith("-"):
        return None
    return house.repo.resolve(compose_ref(house.manifest.osname, text))


def _by_run(house: House, text: str) -> Commit | None:
    version, _, name = text.partition("/")
    if not house.workdir.is_run(version):
        return None
    path = house.workdir.run(version).file("trees")
    if not path.is_file():
        raise BadInput(f"run {version} composed no tree", hint=f"ostci log {version}")
    trees = from_json(Trees, path.read_bytes(), where=str(path)).trees
    found = next((tree for tree in trees if name in ("", tree.name, tree.target)), None)
    if found is None:
        known = ", ".join(tree.name for tree in trees)
        raise BadInput(f"run {version} has no tree {name!r}", hint=f"it has {known}")
    return found.commit


def _by_prefix(house: House, text: str) -> Commit:
    found = house.repo.find_commits(text)
    if len(found) == 1:
        return found[0]
    what = "no commit starts" if not found else f"{len(found)} commits start"
    raise BadInput(f"{what} with {text}", hint="ostci show refs")


def tree_facts(house: House, commit: Commit) -> TreeFacts:
    """Gather what is known of a commit."""
    info = house.repo.info(commit)
    components = json.loads(info.metadata.get("ostci.components", "{}"))
    verdicts = house.ledger.verdicts(commit)
    refs = tuple(ref for ref, at in house.repo.refs().items() if at == commit)
    return TreeFacts(
        commit=commit,
        version=info.metadata.get("version", ""),
        time=info.time,
        parent=info.parent,
        subject=info.subject,
        snapshot=info.metadata.get("ostci.snapshot", ""),
        components=components,
        verdicts={suite: str(verdict) for suite, verdict in verdicts.items()},
        refs=refs,
        bound=tuple(info.bindings),
        promoted=any("/buildmaster/" in ref for ref in refs),
        numbers=figures_of(house, commit) if MEMORY in verdicts else {},
    )


def snapshot_of(house: House, commit: Commit) -> Snapshot:
    """Read the snapshot that a tree holds; raises BadInput for one that was not composed here."""
    if house.repo.find(commit, SNAPSHOT_PATH) is None:
        raise BadInput(f"{commit} holds no snapshot: it is no composed tree")
    return from_json(Snapshot, house.repo.read(commit, SNAPSHOT_PATH), where=commit)
