# SPDX-License-Identifier: LGPL-2.1-or-later
"""Old trees lose their files, and nothing else changes for those who read or pull the line."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli import cleaning, thinning
from pipeline.cli.house import House, init
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.thinning import drop_files
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Retention
from pipeline.words.refs import Commit, RefName, compose_ref
from pipeline.words.verdict import Verdict
from tests.shipping import ARCH, OSNAME, PASSED, Shop, manifest, target

LINE = compose_ref(OSNAME, f"{ARCH}-runtime")
POLICY = Retention(newest=2, daily=0)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory of one target."""
    (tmp_path / "os.yaml").write_text("{}\n")
    init(tmp_path / "work", tmp_path / "os.yaml")
    return Shop(tmp_path / "work", replace(manifest(target("runtime")), retention=POLICY))


@pytest.fixture
def house(shop: Shop) -> House:
    """The same, as commands see it."""
    found = House(shop.root, log=shop.log)
    found.__dict__["manifest"] = shop.manifest
    return found


def compose(shop: Shop, number: int, content: str = "") -> Commit:
    """Compose and publish a tree whose test fails."""
    run = f"20261124.{number}"
    trees = shop.compose(run, content or f"tree {number}")
    shop.judge(run, trees, {"smoke": Verdict.FAILED})
    shop.promote(run, trees)
    return trees[0].commit


def clean(house: House) -> list[str]:
    """Do what ``ostci clean`` does; tells what it would say."""
    found = list(cleaning.unneeded(house, keep=20))
    for item in found:
        item.remove()
    cleaning.prune(house)
    return [item.what for item in found]


def whole(repo: Repo) -> list[Commit]:
    """List the trees of the line that have their files, newest first."""
    return [info.commit for info in repo.history(LINE) if repo.has_commit(info.commit)]


def log_of(repo: Repo, ref: RefName) -> int:
    """Count what ``ostree log`` tells."""
    return repo.run("log", ref).text.count("\ncommit ") + 1


def files(repo: Repo) -> int:
    return sum(1 for _ in (repo.path / "objects").glob("*/*.file*"))


def test_old_trees_lose_their_files_and_the_history_stays(shop: Shop, house: House) -> None:
    shipped = shop.ship("20261124.0", "first")[f"{ARCH}-runtime"]
    made = [compose(shop, number) for number in range(1, 7)]
    before = files(shop.repo)
    said = clean(house)
    assert f"files of 4 trees of {LINE}" in said
    for repo in (shop.repo, shop.archive):
        assert whole(repo) == [made[5], made[4], shipped]
        assert log_of(repo, LINE) == 7
        repo.fsck()
    assert files(shop.repo) <= before - 8
    assert shop.violations() == []
    assert clean(house) == []
    with pytest.raises(Trouble, match="old trees are thinned"):
        shop.repo.need(made[0])


def test_a_client_pulls_from_a_thinned_line_and_goes_on(
    shop: Shop, house: House, tmp_path: Path
) -> None:
    first = shop.ship("20261124.0", "first")[f"{ARCH}-runtime"]
    client = Repo(tmp_path / "client", log=shop.log).create(Mode.ARCHIVE)
    client.pull_local(shop.archive.path, [LINE])
    for number in range(1, 5):
        compose(shop, number)
    clean(house)
    client.pull_local(shop.archive.path, [LINE])
    client.pull_local(shop.archive.path, [first])
    assert client.has_commit(first)
    assert client.resolve(LINE) == shop.repo.resolve(LINE)
    client.pull_local(shop.archive.path, [LINE], depth=-1, metadata_only=True)
    assert log_of(client, LINE) == 5
    client.fsck()
    newest = shop.ship("20261124.9", "and on")[f"{ARCH}-runtime"]
    assert shop.buildmaster() == (newest, newest)
    assert log_of(shop.archive, LINE) == 6


def test_a_line_that_the_archive_lacks_is_published_as_far_as_it_is_here(
    shop: Shop, house: House
) -> None:
    for number in range(4):
        shop.compose(f"20261124.{number}", str(number))  # never published
    clean(house)
    newest = shop.ship("20261124.9", "at last")[f"{ARCH}-runtime"]
    assert whole(shop.archive)[0] == newest
    shop.archive.fsck()


def test_files_that_another_tree_has_too_stay(shop: Shop, house: House) -> None:
    same = [compose(shop, 0, "same"), compose(shop, 1), compose(shop, 2, "same")]
    compose(shop, 3)
    clean(house)
    assert not shop.repo.has_commit(same[0]) and shop.repo.has_commit(same[2])
    for repo in (shop.repo, shop.archive):
        repo.fsck()
        assert len(list(repo.walk(same[2]))) >= 2


def test_what_a_kill_left_half_done_is_done_by_the_next(shop: Shop, house: House) -> None:
    made = [compose(shop, number) for number in range(4)]
    before = files(shop.repo)
    (shop.repo.path / "state" / f"{made[0]}.commitpartial").touch()
    clean(house)
    assert files(shop.repo) <= before - 4
    assert not shop.archive.has_commit(made[0])
    drop_files(shop.repo, [made[0]])
    shop.repo.fsck()


def test_a_tree_that_is_promoted_meanwhile_keeps_its_files(shop: Shop, house: House) -> None:
    late = shop.compose("20261124.0", "late")
    shop.promote("20261124.0", late)
    for number in range(1, 4):
        compose(shop, number)
    found = [one for one in cleaning.unneeded(house, keep=20) if one.what.startswith("files of")]
    assert len(found) == 1
    shop.judge("20261124.0", late, PASSED)
    assert shop.promote("20261124.0", late).promoted
    found[0].remove()
    cleaning.prune(house)
    assert late[0].commit in whole(shop.repo)
    assert shop.violations() == []


def test_it_does_not_run_beside_a_promotion(shop: Shop, house: House) -> None:
    made = [compose(shop, number) for number in range(4)]
    with (
        shop.archive.locked("promotion of run 1"),
        pytest.raises(Trouble, match=r"held by process .* .promotion of run 1"),
    ):
        thinning.thin(house, LINE, POLICY, wait_s=0.0)
    assert whole(shop.repo) == made[::-1]


def test_without_a_policy_and_in_a_dry_run_all_stays(
    shop: Shop, house: House, capsys: pytest.CaptureFixture[str]
) -> None:
    made = [compose(shop, number) for number in range(4)]
    house.__dict__["manifest"] = replace(shop.manifest, retention=None)
    assert clean(house) == []
    manifest_path = shop.root.parent / "os.yaml"
    manifest_path.write_text(
        "osname: os\n"
        "base: {debian: {suite: bookworm, packages: {runtime: [systemd]}}}\n"
        "components: [{src: 'git:https://git.example/a.git'}]\n"
        "retention: {newest: 2, daily: 0}\n"
    )
    options = argparse.Namespace(workdir=shop.root, verbose=False, keep=20, dry_run=True, wait=0.0)
    assert cleaning.do_clean(options) == 0
    said = capsys.readouterr().out
    assert f"files of 2 trees of {LINE}  (not among the newest 2," in said
    assert whole(shop.repo) == made[::-1]
    options.dry_run = False
    assert cleaning.do_clean(options) == 0
    assert whole(shop.repo) == made[:1:-1]
