# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci clean``: remove what no policy keeps, and nothing that a promoted tree stands on.

Kept are always: runs that were promoted, every tree on a ``buildmaster`` line, every commit on a
``compose`` line (its files, too, unless the manifest's ``retention`` gives them up), the newest
artifact of each component, and the ledger, but for old results of single tests. Runs that did not
pass are kept three times as long as those that did, and tries no longer than they. Everything
else that is removed here can be made again.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.cli import thinning
from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.cli.record import records
from pipeline.cli.repair import alone
from pipeline.cli.terminal import size_text
from pipeline.ports.files import remove_tree
from pipeline.ports.image import below
from pipeline.ports.ostree import Repo
from pipeline.ports.sent import Sent
from pipeline.ports.workdir import RunDir
from pipeline.stages.building.schedule import LOCK_PREFIX
from pipeline.stages.disk import half_made, remove_half_made
from pipeline.stages.promote import retired_deltas
from pipeline.words.errors import EXIT_PASSED, BadInput
from pipeline.words.history import KEPT
from pipeline.words.published import FOLDER
from pipeline.words.refs import RefName, name_of_part
from pipeline.words.run import RunEnding, RunRecord
from pipeline.words.wish import TRY

_FAILURES_LONGER = 3
_UNUSED_S = 14 * 24 * 3600.0
_PASSES = frozenset({RunEnding.PASSED, RunEnding.UNCHANGED})
# What has a policy or an index of its own, and never grows beyond what it is of.
_CACHE_KEPT = ("artifacts.sqlite", "locks")
_WAIT_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing that nothing keeps, and how to remove it."""

    what: str
    why: str
    size: int
    remove: Callable[[], None]


def do_clean(options: argparse.Namespace) -> int:
    """Remove what no policy keeps, or only tell what that is."""
    if options.keep < 1:
        raise BadInput(f"--keep {options.keep}: at least the newest run is kept")
    house = open_house(options)
    with alone(house, "clean", wait_s=options.wait or 0.0):
        found = list(unneeded(house, keep=options.keep))
        for item in found:
            print(f"{size_text(item.size):>10}  {item.what}  ({item.why})")
            if not options.dry_run:
                item.remove()
        freed = sum(item.size for item in found)
        if not options.dry_run:
            freed += prune(house)
            _unlock(house)
    verb = "would go" if options.dry_run else "are gone"
    more = ", and what of the repositories is then on no ref" if options.dry_run else ""
    print(f"{len(found)} things {verb}, {size_text(freed)}{more}")
    return EXIT_PASSED


def unneeded(house: House, *, keep: int) -> Iterator[Item]:
    """List what nothing keeps; only under the work directory's lock."""
    everything = list(records(house.workdir))
    kept = {run.version for run, _ in _kept_runs(everything, keep)}
    gone = [run for run, _ in everything if run.version not in kept]
    for run in gone:
        yield _files(run.path, f"run {run.version}", f"older than the newest {keep}")
    staying = [run for run, _ in everything if run.version in kept]
    yield from _disks(house, staying)
    yield from _cache(house)
    yield from _refs(house, staying)
    yield from _published(house, keep)
    for path in Sent(house.workdir.sent).old():
        yield _files(path, f"sent/{path.name[:12]}…", "sent to be tried more than a week ago")
    yield from _deltas(house)
    yield from _trees(house)
    yield from _tests(house)


def _unlock(house: House) -> None:
    """Remove the locks of builds and disks, one for each that was ever made: nobody has one now."""
    locks = (house.workdir.cache / "locks").glob(f"{LOCK_PREFIX}*.lock")
    for path in (*locks, *house.workdir.disks.glob(".*.lock")):
        path.unlink()


def prune(house: House) -> int:
    """Remove objects that no ref leads to, from both repositories; tells the bytes that went."""
    freed = 0
    for repo in (house.repo, house.archive):
        with repo.locked("clean", wait_s=_WAIT_S), house.log.step(f"prune {repo.path.name}"):
            before = _size(repo.path / "objects")
            repo.prune()
            freed += before - _size(repo.path / "objects")
    return max(0, freed)


def _kept_runs(
    everything: list[tuple[RunDir, RunRecord]], keep: int
) -> Iterator[tuple[RunDir, RunRecord]]:
    """Choose runs, newest first: some passes, more failures, all that were promoted."""
    tries = 0
    for number, (run, record) in enumerate(everything):
        if record.kind == TRY:
            # They push out no run of the line, and nothing is built on them.
            tries += 1
            if tries <= keep:
                yield run, record
            continue
        longest = keep if record.ending in _PASSES else keep * _FAILURES_LONGER
        if number - tries < longest or record.promoted:
            yield run, record


def _disks(house: House, runs: list[RunDir]) -> Iterator[Item]:
    """Disks but those of the newest trees and the promoted ones, and what these stand on."""
    commits: set[str] = {at for ref, at in house.repo.refs().items() if _kind(ref) == "buildmaster"}
    for run in runs:
        trees = _read(run, "trees").get("trees", ())
        if trees and not run.file("try").is_file():
            commits |= {tree["commit"] for tree in trees}
            break
    everything = sorted(house.workdir.disks.iterdir())
    for path in everything:
        if path.suffix == ".qcow2" and path.name.partition("-")[0] in commits:
            commits |= {one.name.partition("-")[0] for one in below(path)}
    for path in half_made(house.workdir.disks):
        yield Item(
            what=f"half of disk {path.name.lstrip('.')}",
            why="whoever made it was killed",
            size=_size(path),
            remove=partial(remove_half_made, path),
        )
    for path in everything:
        if path.name.startswith(".") or path.name.partition("-")[0] in commits:
            continue
        yield _files(path, f"disk {path.name}", "of an older tree; made again when it is booted")


def _cache(house: House) -> Iterator[Item]:
    """What was made to save time and has saved none for two weeks: buildroots, checkpoints."""
    since = time.time() - _UNUSED_S
    for path in sorted(house.workdir.cache.iterdir()):
        if path.name.startswith(_CACHE_KEPT):
            continue
        if _last_used(path) < since:
            yield _files(path, f"cache/{path.name}", "not used for two weeks")


def _refs(house: House, runs: list[RunDir]) -> Iterator[Item]:
    """Artifacts that no run that stays has used, and build trees of failures that are gone."""
    refs = house.repo.refs()
    used = {one.get("key") for run in runs for one in _read(run, "build").get("components", ())}
    current = {at for ref, at in refs.items() if _kind(ref) == "components"}
    keys: dict[str, list[RefName]] = {}
    needed = set(used)
    for ref, at in refs.items():
        if _kind(ref) == "keys":
            key = _last(ref).rpartition("-")[0]
            keys.setdefault(key, []).append(ref)
            if at in current:
                needed.add(key)
    for key, names in keys.items():
        if key not in needed:
            yield _ref_item(house.repo, names, f"artifact {key[:12]}", "no run that stays used it")
    versions = {run.version for run in runs}
    for ref in refs:
        if _kind(ref) in ("failed", "try") and name_of_part(ref.split("/")[2]) not in versions:
            yield _ref_item(house.repo, [ref], ref, "its run is gone")


def _deltas(house: House) -> Iterator[Item]:
    """Static deltas that the summary no longer names."""
    for path in retired_deltas(house.archive):
        yield _files(path, f"static delta {path.name[:20]}…", "to a tree that is not the newest")


def _published(house: House, keep: int) -> Iterator[Item]:
    """What older promoted trees were made of, or all where it is to be published no more."""
    from pipeline.cli.publishing import publisher_of

    if not (house.workdir.published / FOLDER).is_dir():
        return
    publisher = publisher_of(house)
    runs = publisher.published()
    staying = runs[:keep] if house.settings.artifacts else []
    for run in runs[len(staying) :]:
        why = f"older than the newest {keep}" if staying else "artifacts in ostci.toml says no"
        yield Item(
            what=f"published artifacts of run {run}",
            why=why,
            size=publisher.size_of(run),
            remove=partial(publisher.take_back, run),
        )
    refs = publisher.unneeded_refs(staying)
    if refs:
        what = f"{len(refs)} published commits of artifacts"
        yield _ref_item(house.archive, refs, what, "no index that stays has them")


def _trees(house: House) -> Iterator[Item]:
    """Files of old trees, as the manifest's retention says."""
    policy = thinning.policy_of(house)
    if policy is None:
        return
    for line in thinning.lines(house):
        count = len(thinning.thinnable(house, line, policy))
        if count:
            yield Item(
                what=f"files of {count} trees of {line}",
                why=f"not among the newest {policy.newest}, the last of a day, or promoted; "
                "their commits stay",
                size=0,
                remove=partial(thinning.thin, house, line, policy),
            )


def _tests(house: House) -> Iterator[Item]:
    """Results of single tests, which are many; a suite's verdict stays."""
    count = house.ledger.tests.prune(dry=True)
    if count:
        yield Item(
            what=f"{count} results of tests in the ledger",
            why=f"not among the newest {KEPT} of a test, nor of a promoted tree",
            size=0,
            remove=partial(_forget, house),
        )


def _forget(house: House) -> None:
    house.ledger.tests.prune()


# Helpers


def _files(path: Path, what: str, why: str) -> Item:
    return Item(what=what, why=why, size=_size(path), remove=lambda: remove_tree(path))


def _ref_item(repo: Repo, names: Iterable[RefName], what: str, why: str) -> Item:
    def remove() -> None:
        for name in names:
            repo.set_ref(name, None)

    return Item(what=what, why=why, size=0, remove=remove)


def _read(run: RunDir, name: str) -> dict[str, list[dict[str, str]]]:
    """Read a stage's result as plain JSON: only names in it are of interest here."""
    path = run.file(name)
    found: dict[str, list[dict[str, str]]] = json.loads(path.read_text()) if path.is_file() else {}
    return found


def _kind(ref: RefName) -> str:
    return ref.split("/")[1] if ref.count("/") >= 2 else ""


def _last(ref: RefName) -> str:
    return ref.rpartition("/")[2]


def _size(path: Path) -> int:
    """Tell the bytes that a file or a directory takes; a hard link counts as what it links."""
    if not path.exists() or path.is_symlink():
        return 0
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(one.lstat().st_blocks * 512 for one in paths)


def _last_used(path: Path) -> float:
    """Tell when a file or a directory's own entry was last read or changed."""
    found = path.lstat()
    return max(found.st_atime, found.st_mtime)
