# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a base brings to every buildroot: read from its commit's metadata, without a checkout.

Kept as JSON beside the repository (``<cache>/base-facts/<commit>.json``), which may be deleted.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports.files import write_text
from pipeline.ports.ostree import Dir, Repo, dump_metadata
from pipeline.words.errors import Trouble
from pipeline.words.keys import BaseFacts, base_facts
from pipeline.words.names import interface_name
from pipeline.words.records import from_json
from pipeline.words.refs import Commit

BASE_KEY = "ostci.base"
WHOLE = "base"
"""Stands for the package of every file in a base that tells no packages."""
_PLACES = (
    *("bin", "sbin", "include", "lib", "lib64"),
    *("lib/pkgconfig", "lib64/pkgconfig", "share/pkgconfig"),
)


def read_base_facts(repo: Repo, commit: Commit, *, cache: Path) -> BaseFacts:
    """Tell the facts of a base, from the cache where they are there."""
    path = facts_path(cache, commit)
    try:
        return from_json(BaseFacts, path.read_bytes(), where=str(path))
    except FileNotFoundError:
        pass  # made below
    except Trouble as error:
        repo.log.detail(f"made anew: {error}")
    facts = _find(repo, commit)
    told = {
        "names_digest": facts.names_digest,
        "packages": dict(facts.packages),
        "commit": commit,
        "names": list(facts.names),
    }
    write_text(path, dump_metadata(told) + "\n")
    return facts


def facts_path(cache: Path, commit: str) -> Path:
    """Name the file in which the facts of a base are kept."""
    return cache / "base-facts" / f"{commit}.json"


def earlier_names(cache: Path, digest: str) -> tuple[str, ...]:
    """Find the visible names of a base that was used before, by their digest; else nothing."""
    place = cache / "base-facts"
    for path in place.glob("*.json") if place.is_dir() else ():
        try:
            facts = from_json(BaseFacts, path.read_bytes(), where=str(path))
        except (Trouble, FileNotFoundError):
            continue  # being written or removed; it would only have given words
        if facts.names_digest == digest:
            return facts.names
    return ()


def _find(repo: Repo, commit: Commit) -> BaseFacts:
    info = repo.info(commit)
    packages = json.loads(info.metadata.get(BASE_KEY, "{}")).get("packages")
    names = [interface_name(path) for path in _paths(repo, info.tree)]
    return base_facts(names, packages or {WHOLE: info.content}, commit)


def _paths(repo: Repo, root: str) -> Iterator[str]:
    """List the files in the directories that ``interface_name`` has names for."""
    triplets = [
        f"{top}/{name}"
        for top in ("lib", "include")
        for name in _dir(repo, root, f"usr/{top}").dirs
        if "-linux-gnu" in name
    ]
    for place in (*_PLACES, *triplets, *(f"{one}/pkgconfig" for one in triplets)):
        for name in _dir(repo, root, f"usr/{place}").files:
            yield f"/usr/{place}/{name}"


def _dir(repo: Repo, root: str, path: str) -> Dir:
    tree = root
    for name in path.split("/"):
        entry = repo.directory(tree).dirs.get(name)
        if entry is None:
            return Dir(files={}, dirs={})
        tree = entry[0]
    return repo.directory(tree)
