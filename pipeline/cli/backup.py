# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci backup`` and ``ostci restore``: what must not be lost, on another disk and back.

The ledger is copied first, while nobody promotes, with where the refs are at that moment; commits
come after it, and nothing is pruned meanwhile: so the copy never names a promoted commit that is
not in it, nor has a ``buildmaster`` ref beyond its ledger. Mirrors, disks and caches are not kept:
they are made again. Nor is Buildbot's own database, see HACKING.md.
"""

import argparse
import shlex
import time
import tomllib
from pathlib import Path
from typing import Any

from pipeline import __version__
from pipeline.cli.house import House, must_be_new, read_settings
from pipeline.cli.open import open_house
from pipeline.cli.repair import locked
from pipeline.cli.terminal import stdout_sink
from pipeline.ports.backup import Backup, Refs, copy_ledger, copy_tree, transfer
from pipeline.ports.files import write_bytes
from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_copy import must_be_empty, one_state
from pipeline.ports.ledger_place import KEY, SETTINGS, ledger_url, sqlite_url, with_ledger
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.refs import Commit, RefName

_WAIT_S = 900.0
_SECRETS = Path("buildbot", "master", "secrets")
_LEDGER = "ledger.sqlite"
_MANIFEST = "manifest"
_FOLDERS = ("published", "manifests")


def do_backup(options: argparse.Namespace) -> int:
    """Copy the work directory's state; others may go on meanwhile, but for promotions at first."""
    house = open_house(options)
    backup = Backup(options.directory.resolve(), house.log)
    if backup.root.is_relative_to(house.workdir.root):
        raise BadInput(f"{backup.root} is in the work directory: it would be lost with that")
    with locked(house, "backup", wait_s=options.wait or 0.0):
        backup.make()
        with backup.repo.locked("backup", wait_s=0.0):
            told = _back_up(house, backup, fsck=not options.no_fsck)
    print(f"backed up {house.workdir.root} into {backup.root}: {told}")
    print(f"restore it with: ostci restore {shlex.quote(str(backup.root))} DIR")
    return EXIT_PASSED


def _back_up(house: House, backup: Backup, *, fsck: bool) -> str:
    place = backup.begin_state()
    workdir, log = house.workdir, house.log
    with log.step("ledger, keys, settings"), house.archive.locked("backup", wait_s=_WAIT_S):
        ledger = _copy_ledger(house, place)
        refs = {"repo": dict(house.repo.refs()), "archive": dict(house.archive.refs())}
        unfinished = {row.version for row in ledger.runs(unfinished=True)}
        for version in unfinished:
            _copy_run(workdir, version, place, results_alone=True)
        _copy_small(house, place)
    promoted = {row.commit for row in ledger.promotions() if _is_here(house, row.commit)}
    with log.step("commits"):
        backup.take(house.repo, "repo", refs["repo"], ())
        backup.take(house.archive, "archive", refs["archive"], promoted)
    with log.step("runs"):
        versions = [row.version for row in ledger.runs()]
        for version in versions:
            if version not in unfinished:
                _copy_run(workdir, version, place)
    _check(backup.repo, ledger, of=house.archive)
    ledger.close()
    if fsck:
        with log.step("fsck"):
            backup.repo.fsck()
    backup.finish_state(place, {"when": time.time(), "ostci": __version__, "refs": refs})
    return f"{len(versions)} runs, {len(refs['archive'])} refs that are served"


def _copy_ledger(house: House, place: Path) -> Ledger:
    """Copy it into a file of SQLite, whatever it is kept in: that is read without a server."""
    url, copy = house.settings.ledger, place / _LEDGER
    house.ledger.runs()  # makes one, or brings it up to date
    house.ledger.close()
    if url == sqlite_url(house.workdir.ledger):
        copy_ledger(house.workdir.ledger, copy)
    else:
        with one_state(url) as state:
            state.copy_to(sqlite_url(copy))
    return Ledger(sqlite_url(copy))


def _copy_run(workdir: Workdir, version: str, place: Path, *, results_alone: bool = False) -> None:
    if not workdir.is_run(version):
        return  # clean keeps the newest alone
    path = workdir.run(version).path
    names = {one.name for one in path.glob("*.json")} if results_alone else None
    copy_tree(path, place / "runs" / path.relative_to(workdir.runs), only=names)


def _copy_small(house: House, place: Path) -> None:
    root = house.workdir.root
    copy_tree(house.workdir.keys, place / "keys")
    for name in _FOLDERS:
        if (root / name).is_dir():
            copy_tree(root / name, place / name)
    if (root / _SECRETS).is_dir():
        copy_tree(root / _SECRETS, place / "secrets")
    write_bytes(place / SETTINGS, (root / SETTINGS).read_bytes())
    if house.settings.manifest.is_file():
        write_bytes(place / _MANIFEST, house.settings.manifest.read_bytes())


def _is_here(house: House, commit: Commit) -> bool:
    return house.archive.has_commit(commit)


def _check(repo: Repo, ledger: Ledger, *, of: Repo | None = None) -> None:
    """Raise Trouble where a promoted commit is not in a repository (that ``of`` has)."""
    for row in ledger.promoted():
        if not repo.has_commit(row.commit) and (of is None or of.has_commit(row.commit)):
            raise Trouble(f"{repo.path} lacks the promoted {row.commit} of {row.tree}")


def do_restore(options: argparse.Namespace) -> int:
    """Make a work directory of a backup."""
    log = Log(stdout_sink(verbose=options.verbose))
    backup = Backup(options.backup.resolve(), log)
    told = backup.read()
    root = options.directory.resolve()
    must_be_new(root)
    if root.is_dir() and any(root.iterdir()) and not (root / _LEDGER).is_file():
        raise BadInput(f"{root} is not empty", hint="name a new directory")
    settings = (backup.now / SETTINGS).read_text()
    if options.ledger is not None:
        settings = with_ledger(settings, options.ledger)
    url = _url_in(settings, Workdir(root))
    if url != sqlite_url(Workdir(root).ledger):
        must_be_empty(url)  # told before all the rest is copied
    with backup.repo.locked("restore", wait_s=0.0):
        _restore(backup, told, Workdir(root), url, log)
        # Last: they make it a work directory.
        write_bytes(root / SETTINGS, settings.encode())
        _restore_manifest(backup.now, read_settings(root).manifest)
    house = House(root, log=log)
    with locked(house, "restore", wait_s=_WAIT_S):
        _check_restored(house)
    print(f"restored {root}, as it was {time.strftime('%F %T', time.localtime(told['when']))}")
    if not house.settings.manifest.is_file():
        print(f"its manifest is not here: {house.settings.manifest}, see {root / SETTINGS}")
    print(f"go on with: {house.command('run')}, or {house.command('up')}")
    return EXIT_PASSED


def _url_in(settings: str, workdir: Workdir) -> str:
    said = tomllib.loads(settings).get(KEY)
    return ledger_url(workdir, said, where=SETTINGS)


def _restore(backup: Backup, told: dict[str, Any], workdir: Workdir, url: str, log: Log) -> None:
    """Bring back all but the settings."""
    root, state = workdir.root, backup.now
    workdir.make()
    for name, mode in (("repo", Mode.BARE_USER), ("archive", Mode.ARCHIVE)):
        with log.step(f"commits of {name}"):
            _restore_repo(backup, Repo(root / name, log=log).create(mode), told["refs"][name])
    copy_tree(state / "keys", workdir.keys)
    workdir.keys.chmod(0o700)
    for name in (*_FOLDERS, "runs"):
        if (state / name).is_dir():
            copy_tree(state / name, root / name)
    if (state / "secrets").is_dir():
        copy_tree(state / "secrets", root / _SECRETS)
    if url == sqlite_url(workdir.ledger):
        copy_ledger(state / _LEDGER, workdir.ledger)
        return
    with log.step("ledger"), one_state(sqlite_url(state / _LEDGER)) as copied:
        copied.copy_to(url)


def _restore_manifest(state: Path, manifest: Path) -> None:
    if (state / _MANIFEST).is_file() and not manifest.exists():
        write_bytes(manifest, (state / _MANIFEST).read_bytes())


def _restore_repo(backup: Backup, repo: Repo, refs: Refs) -> None:
    known = {RefName(ref): Commit(at) for ref, at in refs.items()}
    promoted = Ledger(sqlite_url(backup.now / _LEDGER))
    also = {row.commit for row in promoted.promotions() if backup.repo.has_commit(row.commit)}
    promoted.close()
    transfer(backup.repo, repo, known, also if repo.path.name == "archive" else ())
    repo.set_refs(known)
    repo.fsck()


def _check_restored(house: House) -> None:
    """Have the summary made again, and see that the one rule holds; raises Trouble else."""
    from pipeline.stages.promote import sign_again, violations

    if house.ledger.promoted():
        sign_again(
            archive=house.archive,
            ledger=house.ledger,
            # Not the house's: that reads the manifest, which may not be here yet.
            keyring=Keyring(house.workdir.keys, log=house.log),
            workdir=house.workdir,
        )
    broken = violations(repo=house.repo, archive=house.archive, ledger=house.ledger)
    if broken:
        raise Trouble("; ".join(broken), hint=house.command("doctor"))
    _check(house.repo, house.ledger, of=house.archive)
    _check(house.archive, house.ledger)
