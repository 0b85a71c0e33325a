# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories that somebody hostile filled: nothing leads out of them, and all of them ends."""

import os
import stat
from pathlib import Path

import pytest

from pipeline.ports import trees
from pipeline.ports.log import Log

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "top"
    (path / "a/b").mkdir(parents=True)
    (path / "a/file").write_bytes(b"x" * 10_000)
    (path / "a/b/small").write_bytes(b"x")
    return path


def nest(top: Path, levels: int) -> None:
    """Nest directories deeper than a path may be long."""
    here = os.open(top, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d" * 100, dir_fd=here)
        inner = os.open("d" * 100, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)


def test_everything_is_listed_directories_first(top: Path) -> None:
    (top / "link").symlink_to("/")
    names = [entry.name for entry in trees.entries(top)]
    assert sorted(names) == ["a", "b", "file", "link", "small"]
    assert names.index("a") < names.index("b") < names.index("small")


def test_links_are_not_followed(top: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s")
    (top / "link").symlink_to(outside)
    assert "secret" not in [entry.name for entry in trees.entries(top)]


def test_what_is_nested_beyond_sense_is_refused_and_can_be_removed(top: Path, log: Log) -> None:
    nest(top, trees.DEEPEST + 10)
    with pytest.raises(trees.TooDeep, match=f"nested deeper than {trees.DEEPEST}"):
        list(trees.entries(top))
    trees.remove(top, log=log)
    assert not top.exists()


def test_paths_longer_than_the_kernel_takes_are_walked(top: Path) -> None:
    nest(top, 60)
    assert sum(entry.name.startswith("ddd") for entry in trees.entries(top)) == 60


def test_sizes_count_hard_links_once_and_empty_files_as_a_block(top: Path) -> None:
    before = trees.size_of([top], enough=1 << 40)
    os.link(top / "a/file", top / "again")
    assert trees.size_of([top], enough=1 << 40) == before
    (top / "empty").touch()
    assert trees.size_of([top], enough=1 << 40) == before + 4096


def test_a_hole_counts_as_what_it_would_hold_and_counting_ends_early(top: Path) -> None:
    with (top / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert trees.size_of([top], enough=1 << 20) > 1 << 20


def test_several_directories_are_counted_together(top: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    os.link(top / "a/file", other / "same")
    alone = trees.size_of([top], enough=1 << 40)
    assert trees.size_of([top, other], enough=1 << 40) == alone


@as_root
def test_all_is_handed_over_and_what_has_other_names_stays_theirs(
    top: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    mine.chmod(0o755)
    os.link(mine, top / "a/linked")
    (top / "out").symlink_to(mine)
    trees.hand_over(top, 64000)
    assert mine.stat().st_uid == 0
    assert mine.stat().st_nlink == 1
    linked = (top / "a/linked").stat()
    assert (linked.st_uid, stat.S_IMODE(linked.st_mode)) == (64000, 0o755)
    assert (top / "a/linked").read_text() == "mine"
    assert (top / "out").lstat().st_uid == top.stat().st_uid == 64000
    assert not list(top.rglob(".ostci-copy-*"))


def test_without_a_user_only_the_links_to_others_are_cut(top: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.write_text("mine")
    os.link(mine, top / "linked")
    trees.hand_over(top, None)
    (top / "linked").write_text("changed")
    assert mine.read_text() == "mine"
    assert (top / "linked").stat().st_uid == os.geteuid()


def test_directories_that_nobody_may_enter_are_removed(top: Path, log: Log) -> None:
    (top / "a/b").chmod(0)
    (top / "a").chmod(0o100)
    trees.remove(top, log=log)
    assert not top.exists()


def test_what_is_not_there_is_removed_without_an_error(tmp_path: Path, log: Log) -> None:
    trees.remove(tmp_path / "none", log=log)


def test_a_link_is_removed_and_not_what_it_leads_to(top: Path, tmp_path: Path, log: Log) -> None:
    (tmp_path / "link").symlink_to(top)
    trees.remove(tmp_path / "link", log=log)
    assert top.is_dir()
    assert not (tmp_path / "link").is_symlink()
