# SPDX-License-Identifier: LGPL-2.1-or-later
"""The signed summary: two files that clients must never see half new.

Both are made in a repository of their own that borrows the archive's objects, and put side by side
into a new directory of the archive. ``summary`` and ``summary.sig`` are links through one more link
to that directory::

    summary     → .summary/now/summary
    summary.sig → .summary/now/summary.sig
    .summary/now → 7

so that both change by one rename. What no server of plain files can help: a client that asks for
the signature before it and for the summary after it has to ask again. ``ostci serve`` answers such
a client from before. (More than one signature in ``summary.sig`` would not help: GnuPG stops at the
first that is bad.)
"""

import base64
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import remove_tree, symlink, write_bytes
from pipeline.ports.gpg import Keyring
from pipeline.ports.ostree import Repo
from pipeline.words import gvariant
from pipeline.words.refs import Commit, RefName, is_of_artifacts

_SUMMARY_FORMAT = "(a(s(taya{sv}))a{sv})"
_PLACE = ".summary"
_NOW = "now"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A summary that lies aside, and its signature."""

    summary: bytes
    signature: bytes


def prepare(
    archive: Repo, refs: Mapping[RefName, Commit], *, keyring: Keyring, tmp: Path
) -> Prepared:
    """Make and sign the summary of an archive that will have these refs."""
    with _aside(archive, refs, tmp) as aside, keyring.unlocked() as home:
        sign = [f"--gpg-sign={one}" for one in keyring.fingerprints]
        sign.append(f"--gpg-homedir={home}")
        aside.run("summary", "--update", *sign)
        return Prepared(
            summary=(aside.path / "summary").read_bytes(),
            signature=(aside.path / "summary.sig").read_bytes(),
        )


def publish(archive: Repo, prepared: Prepared) -> None:
    """Put summary and signature in place: from here on clients see both."""
    place = archive.path / _PLACE
    numbers = sorted(int(path.name) for path in place.glob("[0-9]*"))
    number = numbers[-1] + 1 if numbers else 1
    write_bytes(place / str(number) / "summary", prepared.summary)
    write_bytes(place / str(number) / "summary.sig", prepared.signature)
    symlink(place / _NOW, str(number))
    for name in ("summary.sig", "summary"):
        path, to = archive.path / name, f"{_PLACE}/{_NOW}/{name}"
        # Somebody may have given ``ostree summary -u``, which puts a plain file there.
        if not path.is_symlink() or str(path.readlink()) != to:
            symlink(path, to)
    for old in numbers[:-1]:  # the one before may still be read
        remove_tree(place / str(old))


def told_refs(archive: Repo) -> dict[RefName, Commit]:
    """Name the refs that clients are told of: of trees, not of what these were made of."""
    return {ref: at for ref, at in archive.refs().items() if not is_of_artifacts(ref)}


def served_refs(archive: Repo) -> dict[RefName, Commit]:
    """Read the refs that the summary tells clients; none where there is no summary yet."""
    path = archive.path / "summary"
    if not path.is_file():
        return {}
    refs, _metadata = gvariant.decode(_SUMMARY_FORMAT, path.read_bytes())
    return {RefName(name): Commit(commit.hex()) for name, (_size, commit, _more) in refs}


@dataclass(frozen=True, kw_only=True)
class Delta:
    """A static delta in an archive, and the commit that it leads to."""

    path: Path
    to: Commit


def deltas(archive: Repo) -> Iterator[Delta]:
    """List the static deltas of an archive; their names are ``FROM-TO`` in ostree's base64."""
    for path in sorted((archive.path / "deltas").glob("*/*")):
        to = (path.parent.name + path.name).rpartition("-")[2].replace("_", "/")
        if (path / "superblock").is_file():
            yield Delta(path=path, to=Commit(base64.b64decode(f"{to}=").hex()))


def retired_deltas(archive: Repo) -> list[Path]:
    """List static deltas that the summary no longer names, so that no client asks for them.

    Those that were never finished are among them.
    """
    served = set(served_refs(archive).values())
    named = {delta.path for delta in deltas(archive) if delta.to in served}
    return sorted(set((archive.path / "deltas").glob("*/*")) - named)


@contextmanager
def _aside(archive: Repo, refs: Mapping[RefName, Commit], tmp: Path) -> Iterator[Repo]:
    """Make a repository that has its own refs and borrows the rest from the archive."""
    place = tmp / "summary"
    remove_tree(place)
    for name in ("state", "tmp", "extensions", "refs/remotes", "refs/mirrors", "refs/heads"):
        (place / name).mkdir(parents=True)
    shutil.copy(archive.path / "config", place / "config")
    for name in ("objects", "delta-indexes"):
        (archive.path / name).mkdir(exist_ok=True)
        (place / name).symlink_to(archive.path / name)
    for delta in deltas(archive):
        if delta.to in refs.values():
            copy = place / "deltas" / delta.path.parent.name / delta.path.name
            copy.mkdir(parents=True)
            (copy / "superblock").symlink_to(delta.path / "superblock")
    for ref, commit in refs.items():
        path = place / "refs" / "heads" / ref
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{commit}\n")
    try:
        yield Repo(place, log=archive.log)
    finally:
        remove_tree(place)
