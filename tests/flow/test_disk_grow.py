# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that grew out of another is what it would be if it had been made in full."""

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import image, process
from pipeline.ports.files import lock
from pipeline.ports.log import Level, Line, ListSink, Log
from pipeline.ports.ostree import Repo
from pipeline.stages.disk import make_disk
from pipeline.stages.disking.boot_files import boot_files
from pipeline.stages.disking.growing import MAX_LAYERS
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Commit
from tests.changing import KERNEL, TARGET, Changing, request_of
from tests.disk_listing import differences, listing
from tests.small_disk import small_disk


class Maker:
    """Makes disks of one repository, and knows what was said of it."""

    def __init__(self, repo: Repo, top: Path) -> None:
        self.repo, self.disks, self.fulls = repo, top / "disks", top / "fulls"
        self.sink = ListSink()
        self.log = Log(self.sink)

    def __call__(self, commit: Commit, *, full: bool = False) -> Path:
        into = self.fulls if full else self.disks
        request = request_of(commit)
        made = make_disk(request, repo=self.repo.path, disks=into, log=self.log, full=full)
        assert self.sink.texts(Level.WARNING) == []
        assert [path.name for path in into.iterdir() if "ing" in path.suffix] == []
        return Path(made.path)

    def said(self) -> list[str]:
        return self.sink.texts(Level.FACT)


@pytest.fixture
def maker(repo: Repo, tmp_path: Path) -> Maker:
    return Maker(repo, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_grown_disk_holds_what_a_full_one_does(
    repo: Repo, maker: Maker, tmp_path: Path, log: Log, seed: int
) -> None:
    tree = Changing(tmp_path / "root", seed=seed, attributes=seed % 2 == 1)
    maker(tree.commit(repo))
    for number in range(5):
        tree.step()
        commit = tree.commit(repo, version=f"2026010{number}.0")
        grown, full = maker(commit), maker(commit, full=True)
        assert len(image.below(grown)) == number + 1, (tree.done, maker.said())
        assert image.below(full) == ()
        dumps = tmp_path / f"grown{number}", tmp_path / f"full{number}"
        one, other = listing(grown, dumps[0], log=log), listing(full, dumps[1], log=log)
        assert differences(one, other) == [], tree.done
        for mine, theirs in zip(boot_files(grown), boot_files(full), strict=True):
            assert mine.read_bytes() == theirs.read_bytes()
        if not tree.attributes:
            process.run(["ostree", "fsck", f"--repo={dumps[0]}/ostree/repo"], log=log)


@pytest.fixture
def tree(tmp_path: Path) -> Changing:
    return Changing(tmp_path / "root", seed=1)


def commits(tree: Changing, repo: Repo, count: int) -> list[Commit]:
    """Commit the tree and some changes of it, one file each."""
    made = [tree.commit(repo)]
    for _ in range(count - 1):
        tree.number += 1
        tree.content()
        made.append(tree.commit(repo))
    return made


def test_a_layer_that_is_too_high_is_a_full_disk(tree: Changing, repo: Repo, maker: Maker) -> None:
    heights = [len(image.below(maker(one))) for one in commits(tree, repo, MAX_LAYERS + 3)]
    assert heights == [*range(MAX_LAYERS + 1), 0, 1]


def test_a_large_change_is_made_in_full(tree: Changing, repo: Repo, maker: Maker) -> None:
    maker(tree.commit(repo))
    for number in range(90):
        (tree.root / f"usr/share/new{number}").write_text(f"{number}")
    assert image.below(maker(tree.commit(repo))) == ()
    assert "the disk is made in full: 90 paths changed in a tree of" in "\n".join(maker.said())


def test_the_parents_disk_comes_first(tree: Changing, repo: Repo, maker: Maker) -> None:
    first, second, _ = commits(tree, repo, 3)
    maker(first)
    newer = maker(second)
    child = repo.commit_layers([second], subject="child", parent=first)
    assert image.below(maker(child)) == (newer.with_name(newer.name.replace(second, first)),)


def test_a_disk_with_other_settings_is_no_ground(
    tree: Changing, repo: Repo, maker: Maker, log: Log
) -> None:
    first, second = commits(tree, repo, 2)
    maker(first)
    other = replace(request_of(second), target=replace(TARGET, kernel_options=("debug",)))
    made = make_disk(other, repo=repo.path, disks=maker.disks, log=log)
    assert image.below(Path(made.path)) == ()


def test_full_is_full_and_what_stood_on_the_layer_is_gone(
    tree: Changing, repo: Repo, maker: Maker, log: Log
) -> None:
    _, second, third = [maker(one) for one in commits(tree, repo, 3)]
    make_disk(
        request_of(Commit(second.name.partition("-")[0])),
        repo=repo.path,
        disks=maker.disks,
        log=log,
        full=True,
    )
    assert image.below(second) == ()
    assert not third.exists()


def test_a_disk_whose_ground_is_gone_is_made_again(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    first, second, third = commits(tree, repo, 3)
    ground, upper, top = maker(first), maker(second), maker(third)
    assert image.below(top) == (upper, ground)
    ground.unlink()
    assert image.below(maker(third)) == ()
    # Another file of the same name is not what the layers were written on.
    maker(first)
    assert not upper.exists()
    assert listing(maker(second), tmp_path / "dump", log=log)


def test_what_a_disk_grows_on_is_not_made_anew_meanwhile(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    first, second, third = commits(tree, repo, 3)
    maker(first)
    ground = maker(second)

    def make_ground_in_full() -> None:
        request = request_of(second)
        make_disk(request, repo=repo.path, disks=maker.disks, log=Log(), full=True)

    other = threading.Thread(target=make_ground_in_full)

    class WhenItIsWritten:
        def write(self, line: Line) -> None:
            if "e2fsck -f -n" in line.text and not other.ident:
                other.start()
                other.join(3.0)  # it ends within this time unless it waits for us

    with maker.log.also(WhenItIsWritten()):
        made = Path(
            make_disk(request_of(third), repo=repo.path, disks=maker.disks, log=maker.log).path
        )
    other.join(600.0)
    assert image.below(ground) == ()
    # It went with what it stood on, or it would stand on another file of that name.
    assert not made.exists()
    assert listing(maker(third), tmp_path / "dump", log=log)


def test_a_disk_without_what_boots_it_is_made_again(
    tree: Changing, repo: Repo, maker: Maker
) -> None:
    path = maker(tree.commit(repo))
    for number, gone in enumerate(boot_files(path)):
        before = path.stat().st_mtime_ns
        gone.unlink()
        assert maker(tree.commit(repo)).stat().st_mtime_ns > before, number
        assert all(file.is_file() for file in boot_files(path))


def test_what_a_killed_process_left_goes_when_another_disk_is_made(
    tree: Changing, repo: Repo, maker: Maker
) -> None:
    first, second = commits(tree, repo, 2)
    path = maker(first)
    of_killed, of_living = (path.name.replace(first, c * 64).removesuffix(".qcow2") for c in "ab")
    for name in (of_killed, of_living):
        (maker.disks / f".{name}.making/sysroot").mkdir(parents=True)
        (maker.disks / f".{name}.growing").touch()
        (maker.disks / f".{name}.boot.json.x1").touch()
    with lock(maker.disks / f".{of_living}.lock", what="it makes its disk"):
        make_disk(request_of(second), repo=repo.path, disks=maker.disks, log=maker.log)
    left = {path.name for path in maker.disks.glob(".*") if not path.name.endswith(".lock")}
    assert left == {f".{of_living}.{kind}" for kind in ("making", "growing", "boot.json.x1")}


def test_a_tree_that_the_repository_no_longer_has_is_no_ground(
    tree: Changing, repo: Repo, maker: Maker
) -> None:
    first, second = commits(tree, repo, 2)
    maker(first)
    root = repo.info(first).tree
    (repo.path / "objects" / root[:2] / f"{root[2:]}.dirtree").unlink()
    assert image.below(maker(second)) == ()
    assert f"the disk is made in full: directory object {root}" in maker.said()


STRANGE_TREES: dict[str, Callable[[Path], object]] = {
    "a line feed": lambda root: (root / "usr/share/a\nb").write_text("x"),
    "a carriage return": lambda root: (root / "usr/share/a\rb").write_text("x"),
    "a long link": lambda root: (root / "usr/share/link").symlink_to('"' * 4000),
    "no initramfs": lambda root: (root / f"usr/lib/modules/{KERNEL}/initramfs.img").unlink(),
}


@pytest.mark.parametrize("name", STRANGE_TREES)
def test_what_is_not_known_to_go_is_made_in_full_without_a_warning(
    tree: Changing, repo: Repo, maker: Maker, name: str
) -> None:
    maker(tree.commit(repo))
    STRANGE_TREES[name](tree.root)
    assert image.below(maker(tree.commit(repo))) == ()
    assert "the disk is made in full: " in "\n".join(maker.said())


def test_a_tree_that_grew_beyond_its_disk_is_told_as_such(
    tree: Changing, repo: Repo, maker: Maker
) -> None:
    maker(tree.commit(repo))
    (tree.root / "usr/share/large").write_bytes(b"x" * TARGET.disk_size)
    with pytest.raises(Failed, match="the files do not fit on a disk of"):
        maker(tree.commit(repo))
    assert maker.sink.texts(Level.WARNING) == []
    assert len([*maker.disks.glob("*.qcow2")]) == 1


def test_files_of_every_kind_grow_as_they_are_made_in_full(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    maker(tree.commit(repo))
    share = tree.root / "usr/share"
    for name in ("x" * 255, "tab\there", "'", "$(x)", "a\\", "*", "%s"):
        (share / name).write_text("x")
    with (share / "holes").open("wb") as file:
        file.seek(TARGET.disk_size)
        file.write(b"end")
    (share.joinpath(*["d" * 250] * 10)).mkdir(parents=True)
    (share / "link").symlink_to("t" * 3000)
    if os.geteuid() == 0:
        capability = bytes.fromhex("01000002" + "00200000" + "00000000" * 3)
        os.setxattr(share / "$(x)", "security.capability", capability)
        os.chown(share / "*", 12, 34)
        (share / "*").chmod(0o6755)
    modules = tree.root / "usr/lib/modules"
    (modules / KERNEL).rename(modules / "6.1.0-same-kernel")
    commit = tree.commit(repo)
    grown, full = maker(commit), maker(commit, full=True)
    assert len(image.below(grown)) == 1
    one, other = (
        listing(disk, tmp_path / f"of-{disk.parent.name}", log=log) for disk in (grown, full)
    )
    assert differences(one, other) == []


def test_what_goes_wrong_costs_time_and_is_told(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    first, second = commits(tree, repo, 2)
    path = maker(first)
    path.chmod(0o644)
    with image.exported(path, log=log, writable=True) as raw:
        image.debugfs(raw, ["sif /ostree/repo/config links_count 7"], log=log, writable=True)
    request = request_of(second)
    made = make_disk(request, repo=repo.path, disks=maker.disks, log=maker.log)
    assert image.below(Path(made.path)) == ()
    assert "growing the disk failed, it is made in full: " in maker.sink.texts(Level.WARNING)[0]
    assert "e2fsck finds the disk's file system damaged" in maker.sink.texts(Level.WARNING)[0]
    assert listing(Path(made.path), tmp_path / "dump", log=log)


def test_a_directory_that_is_full_is_made_larger(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    for number in range(400):
        (tree.root / f"usr/share/same{number}").write_text("same")
    first = tree.commit(repo)
    maker(first)
    for number in range(90):
        (tree.root / f"usr/share/another-name-of-a-file-that-is-there-{number}").write_text("same")
    second = tree.commit(repo)
    grown, full = maker(second), maker(second, full=True)
    assert len(image.below(grown)) == 1
    one = listing(grown, tmp_path / "grown", log=log)
    assert differences(one, listing(full, tmp_path / "full", log=log)) == []


@pytest.mark.slow
def test_a_kill_at_any_instant_leaves_nothing_that_is_taken_for_a_disk(
    tree: Changing, repo: Repo, maker: Maker, tmp_path: Path, log: Log
) -> None:
    chance = random.Random(1)
    first, alone, *others = commits(tree, repo, 7)
    ground = maker(first)
    code, longest = grow_and_kill(maker, alone, after_s=600.0)
    assert code == 0
    assert image.below(ground.with_name(ground.name.replace(first, alone))) == (ground,)
    kills = 0
    for number, commit in enumerate(others):
        code, _ = grow_and_kill(maker, commit, after_s=chance.uniform(0.0, longest))
        assert code in (0, -signal.SIGKILL)
        kills += code != 0
        for path in maker.disks.glob("*.qcow2"):
            listing(path, tmp_path / f"after-{number}", log=log)
            shutil.rmtree(tmp_path / f"after-{number}")
        grown, full = maker(commit), maker(commit, full=True)
        dumps = tmp_path / f"grown{number}", tmp_path / f"full{number}"
        one, other = listing(grown, dumps[0], log=log), listing(full, dumps[1], log=log)
        assert differences(one, other) == []
    assert kills > 0, "all of them had ended before"


def grow_and_kill(maker: Maker, commit: Commit, *, after_s: float) -> tuple[int, float]:
    """Start to make a disk and kill that; tells how it ended and how long it took."""
    argv = [sys.executable, "-m", "tests.grow_once", str(maker.repo.path), str(maker.disks), commit]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with process.start(argv, log=maker.log, env=environment, stderr=None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begins\n"
        began = time.monotonic()
        child.wait(after_s)
        child.kill()
        taken = time.monotonic() - began
    code = child.poll()
    assert code is not None
    return code, taken


def test_a_full_disk_of_ours_is_trouble_and_leaves_no_disk(
    tree: Changing, repo: Repo, maker: Maker, log: Log
) -> None:
    first = tree.commit(repo)
    (tree.root / "usr/share/large").write_bytes(os.urandom(8 * 1024**2))
    second = tree.commit(repo)
    with small_disk(maker.disks, "100m"):
        maker(first)
        left = shutil.disk_usage(maker.disks).free - 4 * 1024**2
        filler = maker.disks / "filler"
        filler.write_bytes(b"x" * left)
        with pytest.raises(Trouble, match="no space left for"):
            make_disk(request_of(second), repo=repo.path, disks=maker.disks, log=log)
        assert [path.name for path in maker.disks.glob("*.qcow2") if second in path.name] == []
        filler.unlink()
        assert len(image.below(maker(second))) == 1
