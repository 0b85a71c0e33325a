# SPDX-License-Identifier: LGPL-2.1-or-later
"""Cleaning removes what nothing keeps, and never what a promoted tree stands on."""

import argparse
import json
import os
import time
from pathlib import Path

import pytest

from pipeline.cli import cleaning
from pipeline.cli.house import House, init
from pipeline.cli.record import write_record
from pipeline.ports import image, process
from pipeline.ports.ostree import Repo
from pipeline.words.errors import BadInput
from pipeline.words.refs import Commit, Key, Part, RefName, component_ref, failed_ref, key_ref
from pipeline.words.run import RunEnding, RunRecord
from tests.shipping import ARCH, OSNAME, Shop, manifest

RUNTIME = f"{ARCH}-runtime"
OLD = time.time() - 100 * 24 * 3600


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory."""
    (tmp_path / "os.yaml").write_text("{}\n")
    init(tmp_path / "work", tmp_path / "os.yaml")
    return Shop(tmp_path / "work", manifest())


@pytest.fixture
def house(shop: Shop) -> House:
    """The same, as commands see it."""
    found = House(shop.root, log=shop.log)
    found.__dict__["manifest"] = shop.manifest
    return found


def make_run(house: House, ending: RunEnding, *, promoted: bool = False, key: str = "") -> str:
    """Leave what a run leaves."""
    run = house.workdir.new_run()
    record = RunRecord(
        version=run.version,
        osname=OSNAME,
        manifest="os.yaml",
        started=1.0,
        ended=2.0,
        pid=1,
        ending=ending,
        promoted={RUNTIME: "a" * 64} if promoted else {},
    )
    write_record(run, record)
    run.file("build").write_text(json.dumps({"components": [{"key": key}]}))
    return run.version


def make_artifact(repo: Repo, tmp_path: Path, key: str) -> Commit:
    """Put a small artifact under a key."""
    files = tmp_path / "files"
    files.mkdir(exist_ok=True)
    (files / "content").write_text(key)
    commit = repo.commit_dir(files, subject=key)
    repo.set_ref(key_ref(OSNAME, Key(key), Part.RUNTIME), commit)
    return commit


def clean(house: House, *, keep: int = 20, dry_run: bool = False) -> list[str]:
    """Do what ``ostci clean`` does; tells what it would say."""
    found = list(cleaning.unneeded(house, keep=keep))
    if not dry_run:
        for item in found:
            item.remove()
        cleaning.prune(house)
    return [item.what for item in found]


def test_passes_go_first_failures_stay_longer_and_promoted_runs_for_ever(house: House) -> None:
    promoted = make_run(house, RunEnding.PASSED, promoted=True)
    oldest = make_run(house, RunEnding.FAILED)
    passed = make_run(house, RunEnding.PASSED)
    failed = make_run(house, RunEnding.FAILED)
    trouble = make_run(house, RunEnding.TROUBLE)
    newest = make_run(house, RunEnding.PASSED)
    assert clean(house, keep=1) == [f"run {passed}", f"run {oldest}"]
    assert set(house.workdir.versions()) == {promoted, trouble, newest, failed}


def test_a_dry_run_removes_nothing(house: House, capsys: pytest.CaptureFixture[str]) -> None:
    made = [make_run(house, RunEnding.PASSED) for _ in range(5)]
    options = argparse.Namespace(
        workdir=house.workdir.root, verbose=False, keep=2, dry_run=True, wait=0.0
    )
    assert cleaning.do_clean(options) == 0
    assert house.workdir.versions() == made
    said = capsys.readouterr().out
    assert f"run {made[0]}  (older than the newest 2)" in said
    assert "3 things would go" in said
    options.dry_run = False
    assert cleaning.do_clean(options) == 0
    assert house.workdir.versions() == made[3:]


def test_keeping_nothing_is_refused(house: House) -> None:
    options = argparse.Namespace(
        workdir=house.workdir.root, verbose=False, keep=0, dry_run=True, wait=0.0
    )
    with pytest.raises(BadInput, match="at least the newest run is kept"):
        cleaning.do_clean(options)


def test_artifacts_of_runs_that_stay_and_the_current_ones_are_kept(
    house: House, tmp_path: Path
) -> None:
    used, current, unused = "1" * 64, "2" * 64, "3" * 64
    kept = [make_artifact(house.repo, tmp_path, key) for key in (used, current)]
    gone = make_artifact(house.repo, tmp_path, unused)
    house.repo.set_ref(component_ref(OSNAME, "zlib", ARCH, Part.RUNTIME), kept[1])
    make_run(house, RunEnding.PASSED, key=used)
    assert clean(house) == [f"artifact {unused[:12]}"]
    assert all(house.repo.has_commit(commit) for commit in kept)
    assert not house.repo.has_commit(gone)
    house.repo.fsck()


def test_build_trees_of_failures_go_with_their_run(house: House, tmp_path: Path) -> None:
    version = make_run(house, RunEnding.FAILED)
    commit = make_artifact(house.repo, tmp_path, "1" * 64)
    refs = [failed_ref(OSNAME, run, "zlib") for run in (version, "20200101.0")]
    for ref in refs:
        house.repo.set_ref(ref, commit)
    clean(house)
    assert [house.repo.resolve(ref) is not None for ref in refs] == [True, False]


def test_every_promoted_and_composed_tree_is_there_afterwards(shop: Shop, house: House) -> None:
    shipped = [shop.ship(f"20261124.{number}", str(number)) for number in range(4)]
    before = len(list((shop.archive.path / "deltas").glob("*/*")))
    for number in range(2):
        make_run(house, RunEnding.PASSED, promoted=number == 0)
    clean(house, keep=1)
    for repo in (house.repo, house.archive):
        repo.fsck()
        for trees in shipped:
            assert all(repo.has_commit(commit) for commit in trees.values())
    assert shop.violations() == []
    assert len(list((shop.archive.path / "deltas").glob("*/*"))) == 2 < before


def test_disks_of_the_newest_and_the_promoted_trees_are_kept(shop: Shop, house: House) -> None:
    good = shop.ship("20261124.0", "one")[RUNTIME]
    version = make_run(house, RunEnding.FAILED)
    trees = {"trees": [{"commit": "d" * 64}]}
    house.workdir.run(version).file("trees").write_text(json.dumps(trees))
    names = [f"{commit}-0123456789abcdef.qcow2" for commit in (good, "d" * 64, "e" * 64)]
    for name in [*names, names[2].replace("qcow2", "vmlinuz")]:
        (house.workdir.disks / name).write_text("x")
    clean(house)
    assert sorted(path.name for path in house.workdir.disks.iterdir()) == sorted(names[:2])


def test_a_disk_that_another_stands_on_is_kept(shop: Shop, house: House) -> None:
    top = shop.ship("20261124.0", "one")[RUNTIME]
    disks = house.workdir.disks
    ground, middle, upper, other = (
        disks / f"{commit}-0123456789abcdef.qcow2" for commit in ("a" * 64, "b" * 64, top, "c" * 64)
    )
    for path in (ground, other):
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], log=house.log)
    image.overlay_beside(ground, middle, log=house.log)
    image.overlay_beside(middle, upper, log=house.log)
    clean(house)
    assert sorted(disks.iterdir()) == sorted([ground, middle, upper])


def test_halves_of_disks_and_their_locks_go(house: House) -> None:
    disks = house.workdir.disks
    name = f"{'a' * 64}-0123456789abcdef"
    (disks / f".{name}.making/sysroot").mkdir(parents=True)
    for kind in ("growing", "boot.json.x1", "lock"):
        (disks / f".{name}.{kind}").write_text("x")
    options = argparse.Namespace(
        workdir=house.workdir.root, verbose=False, keep=2, dry_run=True, wait=0.0
    )
    assert cleaning.do_clean(options) == 0
    assert len(list(disks.iterdir())) == 4
    options.dry_run = False
    assert cleaning.do_clean(options) == 0
    assert list(disks.iterdir()) == []


def test_caches_that_nothing_used_for_two_weeks_go(house: House) -> None:
    cache = house.workdir.cache
    for name in ("buildroots", "ccache", "artifacts.sqlite", "artifacts.sqlite-wal"):
        (cache / name).write_text("x")
        os.utime(cache / name, (OLD, OLD))
    os.utime(cache / "ccache", None)
    assert clean(house) == ["cache/buildroots"]


def test_what_is_on_no_ref_is_pruned_from_both(house: House, tmp_path: Path) -> None:
    commit = make_artifact(house.repo, tmp_path, "1" * 64)
    house.archive.pull_local(house.repo.path, [commit])
    ref = RefName(key_ref(OSNAME, Key("1" * 64), Part.RUNTIME))
    house.repo.set_ref(ref, None)
    clean(house)
    assert not house.repo.has_commit(commit)
    assert not house.archive.has_commit(commit)
