# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that lies beside is copied, with what it stands on; never put on what is another."""

from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.log import Level, ListSink, Log
from pipeline.ports.ostree import Repo
from pipeline.stages.disk import make_disk
from pipeline.stages.disking.boot_files import boot_files
from pipeline.words.refs import Commit
from tests.changing import Changing, request_of
from tests.disk_listing import differences, listing
from tests.flow.test_disk_grow import Maker, commits


class Beside:
    """Has disks of a repository in one directory, and copies of them in another."""

    def __init__(self, repo: Repo, top: Path) -> None:
        self.repo, self.top = repo, top
        self.master = Maker(repo, top)
        self.disks = top / "copies"
        self.sink = ListSink()

    def copy(self, commit: Commit) -> Path:
        path = self.master.disks
        made = make_disk(
            request_of(commit),
            repo=self.repo.path,
            disks=self.disks,
            log=Log(self.sink),
            beside=path,
        )
        assert [path.name for path in self.disks.iterdir() if "copying" in path.name] == []
        return Path(made.path)

    def said(self) -> list[str]:
        """Tell what was said since the last time."""
        told = self.sink.texts(Level.FACT)
        self.sink.lines.clear()
        return told


@pytest.fixture
def beside(repo: Repo, tmp_path: Path) -> Beside:
    return Beside(repo, tmp_path)


@pytest.fixture
def tree(tmp_path: Path) -> Changing:
    return Changing(tmp_path / "root", seed=1)


def test_a_disk_is_copied_with_all_that_it_stands_on(
    tree: Changing, repo: Repo, beside: Beside
) -> None:
    made = [beside.master(one) for one in commits(tree, repo, 3)]
    path = beside.copy(Commit(made[-1].name.partition("-")[0]))
    assert beside.said() == [f"the disk is copied from {beside.master.disks}"]
    assert [one.parent for one in image.below(path)] == [beside.disks] * 2
    for one in made:
        for theirs in (one, *boot_files(one)):
            mine = beside.disks / theirs.name
            assert mine.read_bytes() == theirs.read_bytes()
            assert mine.stat().st_mode == theirs.stat().st_mode
    # Each that came with it is one that can be asked for.
    for one in made:
        commit = Commit(one.name.partition("-")[0])
        assert beside.copy(commit).stat().st_mtime_ns == one.stat().st_mtime_ns
    assert beside.said() == []


def test_a_layer_is_copied_onto_what_was_copied_before(
    tree: Changing, repo: Repo, beside: Beside
) -> None:
    first, second = commits(tree, repo, 2)
    beside.master(first)
    ground = beside.copy(first)
    inode = ground.stat().st_ino
    beside.master(second)
    assert image.below(beside.copy(second)) == (ground,)
    assert ground.stat().st_ino == inode
    assert len(beside.said()) == 2


def test_a_layer_is_never_put_on_a_disk_that_was_made_here(
    tree: Changing, repo: Repo, beside: Beside, tmp_path: Path
) -> None:
    first, second = commits(tree, repo, 2)
    beside.master(first)
    beside.master(second)
    make_disk(request_of(first), repo=repo.path, disks=beside.disks, log=Log())
    path = beside.copy(second)
    assert "the disk is copied" not in "\n".join(beside.said())
    assert path.stat().st_mtime_ns != (beside.master.disks / path.name).stat().st_mtime_ns
    full = beside.master(second, full=True)
    one, other = (
        listing(disk, tmp_path / f"of-{disk.parent.name}", log=Log()) for disk in (path, full)
    )
    assert differences(one, other) == []


@pytest.mark.parametrize("gone", ["disk", "ground", "kernel", "link"])
def test_what_cannot_be_copied_is_made(
    tree: Changing, repo: Repo, beside: Beside, gone: str
) -> None:
    first, second = commits(tree, repo, 2)
    ground, top = beside.master(first), beside.master(second)
    if gone == "link":  # of somebody who would have us read what he may not
        top.rename(top.with_suffix(".aside"))
        top.symlink_to(top.with_suffix(".aside"))
    else:
        {"disk": top, "ground": ground, "kernel": boot_files(top)[1]}[gone].unlink()
    path = beside.copy(second)
    assert path.is_file() and not path.is_symlink()
    assert "the disk is copied" not in "\n".join(beside.said())
    assert all(file.is_file() for file in boot_files(path)[:2])
