# SPDX-License-Identifier: LGPL-2.1-or-later
"""What promoted trees were made of, as it is published for tries elsewhere: signed JSON.

``artifacts/<run>.json.asc`` is the index of one run, ``artifacts.json.asc`` lists the runs that
have one, the newest first. Whoever reads them trusts the key that signed them and nothing else of
the server: objects are verified by the checksums that stand here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pipeline.words.errors import Trouble
from pipeline.words.refs import Commit, Key, Part, is_commit, is_name
from pipeline.words.run import is_version
from pipeline.words.snapshot import Snapshot

LIST = "artifacts.json"
FOLDER = "artifacts"


@dataclass(frozen=True, kw_only=True)
class PublishedArtifact:
    """One component's artifact. All else of it, its used-set too, its commits say themselves."""

    component: str
    arch: str
    recipe: Key
    key: Key
    commits: Mapping[Part, Commit]


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """What the trees of one promoted run were made of; ``ostci`` is the version that says so.

    ``base`` maps variants to commits, ``trees`` names (``<arch>-<target>``) to what was promoted.
    """

    what: Literal["artifacts of a promoted run"] = "artifacts of a promoted run"
    ostci: str
    osname: str
    run: str
    arch: str
    digest: str
    snapshot: Snapshot
    base: Mapping[str, Commit]
    trees: Mapping[str, Commit]
    artifacts: tuple[PublishedArtifact, ...]

    def commits(self) -> Iterator[Commit]:
        """List what a try is made of: the base and all artifacts."""
        yield from self.base.values()
        for one in self.artifacts:
            yield from one.commits.values()


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One line of the list; ``when`` it was promoted, in seconds since 1970."""

    run: str
    when: float
    trees: Mapping[str, Commit]


@dataclass(frozen=True, kw_only=True)
class PublishedList:
    """The runs that have an index, newest first."""

    what: Literal["runs with published artifacts"] = "runs with published artifacts"
    osname: str
    runs: tuple[ListedRun, ...]


def index_name(run: str) -> str:
    """Name the index of a run, relative to what is served."""
    return f"{FOLDER}/{run}.json"


def check_list(found: PublishedList, *, where: str) -> None:
    """Raise Trouble for a list with what cannot stand in a path or a ref."""
    good = is_name(found.osname) and all(
        is_version(one.run) and _are_commits(one.trees) for one in found.runs
    )
    if not good:
        raise Trouble("it names what is no run, commit or operating system", where=where)


def check_index(found: PublishedRun, *, run: str, osname: str, where: str) -> None:
    """Raise Trouble for an index that is not of this run, or does not agree with itself."""
    if (found.run, found.osname) != (run, osname):
        what = f"it is of run {found.run} of {found.osname}, not of {run} of {osname}"
        raise Trouble(what, where=where)
    manifest = found.snapshot.manifest
    if found.snapshot.digest != found.digest or manifest.osname != osname:
        what = f"its snapshot is not read as the one it was made of, by ostci {found.ostci}"
        raise Trouble(what, where=where, hint="use the same version of ostci as the server")
    names = {component.name for component in manifest.components}
    there = [one.component for one in found.artifacts]
    if len(set(there)) != len(there) or not set(there) <= names:
        raise Trouble("it has artifacts of what is no component of its manifest", where=where)
    parts = all(is_commit(at) for one in found.artifacts for at in one.commits.values())
    keys = all(is_commit(key) for one in found.artifacts for key in (one.key, one.recipe))
    if not (parts and keys and _are_commits(found.base) and _are_commits(found.trees)):
        raise Trouble("it names what is no commit", where=where)


def _are_commits(found: Mapping[str, Commit]) -> bool:
    named = all(is_name(name.replace("@", "_")) for name in found)
    return named and all(map(is_commit, found.values()))
