# SPDX-License-Identifier: LGPL-2.1-or-later
"""Backups of real work directories, made while something goes on, and what is restored of them."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from pipeline.cli.house import House
from pipeline.ports.backup import Backup
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.stages.promote import violations
from pipeline.words.push import NewPush
from pipeline.words.refs import buildmaster_ref
from tests.cheap import NO_KERNEL, OSNAME, TREE, Cheap
from tests.flow.test_keys import small_shop
from tests.shipping import ARCH
from tests.shipping import OSNAME as SHOP
from tests.work import ostci_argv

pytestmark = pytest.mark.slow
REF = buildmaster_ref(SHOP, f"{ARCH}-runtime")


def ostci(*words: object, code: int = 0, root: Path | None = None) -> str:
    """Give a command; tells what it said."""
    argv = ostci_argv(root, *map(str, words))
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_what_runs_meanwhile_is_lost_by_nobody(tmp_path: Path) -> None:
    work = Cheap(tmp_path, one=0.0, two=0.0)
    assert work.end_of(work.start("run")) == NO_KERNEL
    work.change("two", after_s=300)
    new = NewPush(component="two", url="x", branch="b", before="0" * 40, after="1" * 40)
    push = work.house().ledger.pushes.add(new)
    known = tuple(work.house().workdir.versions())
    running = work.start("run")
    version = work.wait_for_run(but=known)
    work.wait_for(version, "two")
    try:
        ostci("backup", tmp_path / "backup", root=work.root)
    finally:
        work.wake(running)
    assert work.end_of(running) == NO_KERNEL

    line = work.line()
    shutil.rmtree(work.root)
    said = ostci("restore", tmp_path / "backup", work.root)
    assert "go on with: ostci -C" in said
    ledger = work.house().ledger
    assert ledger.pushes.get(push.id).is_open
    # The run that was under way is over, as if it had been killed; what it composed is not there.
    assert work.record(version)["ending"] == "interrupted"
    assert ledger.endings(known) == {known[0]: "failed"}
    assert work.line() == line[:-1] == list(known)
    work.change("two")
    assert work.end_of(work.start("run")) == NO_KERNEL
    assert work.line()[:-1] == list(known)
    assert len(work.line()) == 2
    work.house().repo.fsck()
    assert work.house().repo.refs(f"{OSNAME}/compose/{TREE}")


def test_a_restored_buildmaster_has_its_pass_and_clients_verify_it(tmp_path: Path) -> None:
    shop = small_shop(tmp_path)
    one = shop.archive.need(REF)
    secrets = shop.root / "buildbot" / "master" / "secrets"
    secrets.mkdir(parents=True, mode=0o700)
    (secrets / "worker").touch(0o600)
    (secrets / "worker").write_text("hush")
    ostci("backup", tmp_path / "backup", root=shop.root)
    # Incremental: what was there is not made again, what is gone goes, what is new comes.
    two = shop.ship("20261124.1", "two")[f"{ARCH}-runtime"]
    key = shop.keyring.export()
    ostci("backup", tmp_path / "backup", root=shop.root)
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700
    assert len(list((tmp_path / "backup" / "state").iterdir())) == 2

    there = tmp_path / "there" / "work"
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "rootfs.tar").touch()
    ostci("restore", tmp_path / "backup", there)
    house = House(there, log=shop.log)
    assert house.settings.manifest == tmp_path / "there" / "os.yaml"
    assert violations(repo=house.repo, archive=house.archive, ledger=house.ledger) == []
    assert {house.repo.need(REF), house.archive.need(REF)} == {two}
    assert [info.commit for info in house.archive.history(REF)] == [two, one]
    worker = there / "buildbot" / "master" / "secrets" / "worker"
    assert (worker.read_text(), stat.S_IMODE(worker.stat().st_mode)) == ("hush", 0o600)
    assert stat.S_IMODE(house.workdir.keys.stat().st_mode) == 0o700
    (tmp_path / "key.gpg").write_bytes(key)
    client = Repo(tmp_path / "client", log=shop.log).create(Mode.ARCHIVE)
    options = [f"--gpg-import={tmp_path}/key.gpg", "--set=gpg-verify-summary=true"]
    client.run("remote", "add", *options, SHOP, f"file://{house.archive.path}")
    client.run("pull", SHOP, REF)
    assert client.run("rev-parse", f"{SHOP}:{REF}").text == two
    assert "each of" in ostci("doctor", "--no-boot", root=there)


@pytest.mark.full
def test_a_backup_that_was_cut_short_is_the_one_before(tmp_path: Path) -> None:
    shop = small_shop(tmp_path)
    ostci("backup", "--no-fsck", tmp_path / "backup", root=shop.root)
    one = shop.archive.need(REF)
    two = shop.ship("20261124.1", "two")[f"{ARCH}-runtime"]
    # As if it was killed with all commits there and the state half written.
    backup = Backup(tmp_path / "backup", Log())
    backup.begin_state()
    backup.take(shop.archive, "archive", dict(shop.archive.refs()), [two])
    ostci("restore", tmp_path / "backup", tmp_path / "old")
    house = House(tmp_path / "old", log=shop.log)
    assert house.archive.need(REF) == one
    assert violations(repo=house.repo, archive=house.archive, ledger=house.ledger) == []
    ostci("backup", "--no-fsck", tmp_path / "backup", root=shop.root)
    ostci("restore", tmp_path / "backup", tmp_path / "new")
    assert House(tmp_path / "new", log=shop.log).archive.need(REF) == two


@pytest.mark.full
def test_what_is_no_backup_and_what_is_no_place_for_one_is_told(tmp_path: Path) -> None:
    shop = small_shop(tmp_path)
    assert "in the work directory" in ostci("backup", shop.root / "b", root=shop.root, code=2)
    assert "something else than a backup" in ostci("backup", tmp_path, root=shop.root, code=2)
    said = ostci("restore", tmp_path, tmp_path / "new", code=2)
    assert "no backup that was finished" in said
    assert not (tmp_path / "new").exists()
    ostci("backup", "--no-fsck", tmp_path / "backup", root=shop.root)
    assert "work directory already" in ostci("restore", tmp_path / "backup", shop.root, code=2)


@pytest.mark.full
def test_damage_of_a_backup_is_found_when_it_is_made_and_when_it_is_restored(
    tmp_path: Path,
) -> None:
    shop = small_shop(tmp_path)
    ostci("backup", tmp_path / "backup", root=shop.root)
    damaged = max((tmp_path / "backup").rglob("*.filez"), key=lambda path: path.stat().st_size)
    damaged.write_bytes(damaged.read_bytes()[:-20])
    assert "fsck" in ostci("backup", tmp_path / "backup", root=shop.root, code=3)
    assert "ostci: " in ostci("restore", tmp_path / "backup", tmp_path / "new", code=3)
    with pytest.raises(FileNotFoundError):
        House(tmp_path / "new", log=shop.log)  # half restored is no work directory
