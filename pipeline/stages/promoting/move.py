# SPDX-License-Identifier: LGPL-2.1-or-later
"""The move itself: objects, signatures, deltas, refs, summary, in the order that a kill may cut.

Every step may be given again. Until the last one clients see what they saw before.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import PromotionRow
from pipeline.ports.ostree import Repo
from pipeline.ports.process import CommandError
from pipeline.stages.promoting import summary
from pipeline.stages.promoting.rule import ref_of
from pipeline.words.errors import Trouble
from pipeline.words.refs import Commit, RefName

_ZLIB_KEY = "archive.zlib-level"
# Level 9 takes six times as long for a few percent (and most files are read by deltas anyway).
_ZLIB_LEVEL = "1"
_DELTA_S = 120.0
"""A delta of most of a tree takes minutes, and its readers little less than without one."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """What a promotion works on."""

    repo: Repo
    archive: Repo
    keyring: Keyring
    tmp: Path


def publish_composed(places: Places, composed: Iterable[tuple[RefName, Commit]]) -> None:
    """Bring composed trees into the archive, with those of their line that it lacks.

    The ``compose`` refs of the archive only move forward; clients see it with the next summary.
    """
    wanted, refs = [], {}
    for ref, commit in composed:
        line = _line(places, commit)
        wanted += line
        here = places.archive.resolve(ref)
        if here is None or not _has_passed(places.repo, here, commit):
            refs[ref] = commit
    if wanted:
        prepare_archive(places.archive)
        places.archive.pull_local(places.repo.path, dict.fromkeys(wanted))
    places.archive.set_refs(refs)


def carry_out(places: Places, rows: Sequence[PromotionRow]) -> None:
    """Make what was decided true for clients, all rows at once; may be given again."""
    archive = places.archive
    missing = [row.commit for row in rows if not archive.has_commit(row.commit)]
    if missing:
        prepare_archive(archive)
        archive.pull_local(places.repo.path, dict.fromkeys(missing))
    with places.keyring.unlocked():
        for row in rows:
            sign(places, row.commit)
        for row in rows:
            _make_delta(archive, row)
        moved = {ref_of(row): row.commit for row in rows}
        show(places, moved)


def show(places: Places, moved: dict[RefName, Commit]) -> None:
    """Move refs in both repositories and tell clients by one new summary, where it is another."""
    for ref, commit in moved.items():
        # Whatever was decided and by whom: clients refuse it, and it was made to be thrown away.
        if not is_bound(places, ref, commit):
            raise Trouble(f"{commit} is not bound to {ref}", hint="ostci doctor")
    archive = places.archive
    refs = {**summary.told_refs(archive), **moved}
    prepared = None
    if refs != summary.served_refs(archive):
        prepared = summary.prepare(archive, refs, keyring=places.keyring, tmp=places.tmp)
    places.repo.set_refs({ref: at for ref, at in moved.items() if places.repo.has_commit(at)})
    archive.set_refs(moved)
    if prepared is not None:
        summary.publish(archive, prepared)


def sign(places: Places, commit: Commit) -> None:
    """Sign a commit as detached metadata: its checksum stays. A signed one is left as it is."""
    with places.keyring.unlocked() as home:
        keys = places.keyring.fingerprints
        places.archive.run("gpg-sign", f"--gpg-homedir={home}", commit, *keys)


def can_finish(places: Places, rows: Sequence[PromotionRow]) -> bool:
    """Tell whether all commits of a promotion are still here, and may be where it moves them."""
    both = (places.repo, places.archive)
    here = all(any(one.has_commit(row.commit) for one in both) for row in rows)
    return here and all(is_bound(places, ref_of(row), row.commit) for row in rows)


def is_bound(places: Places, ref: RefName, commit: Commit) -> bool:
    """Tell whether a commit was made for a ref; what was only tried was made for its own alone."""
    for one in (places.repo, places.archive):
        if one.has_metadata(commit):
            return ref in one.info(commit, thinned=True).bindings
    return False


def prepare_archive(archive: Repo) -> None:
    """Set how hard the archive compresses, unless somebody has chosen already."""
    if "zlib-level" not in (archive.path / "config").read_text():
        archive.run("config", "set", _ZLIB_KEY, _ZLIB_LEVEL)


def _line(places: Places, commit: Commit) -> list[Commit]:
    """List the commit and its parents, as far as the repository has them and the archive not."""
    found = []
    for info in places.repo.history(commit):
        if places.archive.has_commit(info.commit):
            break
        if places.repo.has_commit(info.commit):
            found.append(info.commit)
    return found


def _has_passed(repo: Repo, here: Commit, commit: Commit) -> bool:
    """Tell whether a line that is at ``here`` has been at ``commit`` already."""
    return any(info.commit == commit for info in repo.history(here))


def _make_delta(archive: Repo, row: PromotionRow) -> None:
    """Make the delta from what testers have; without one they only take longer."""
    old = row.previous
    if old is None or old == row.commit or not archive.has_commit(old):
        return
    options = [f"--from={old}", f"--to={row.commit}", "--if-not-exists", "--disable-bsdiff"]
    try:
        archive.run("static-delta", "generate", *options, deadline_s=_DELTA_S)
    except CommandError as error:
        archive.log.warning(f"no static delta from {old[:12]}: {error}", about=row.tree)
