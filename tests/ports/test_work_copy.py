# SPDX-License-Identifier: LGPL-2.1-or-later
"""Working copies: what counts of them, and that they are read and never written to."""

import os
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.ports import work_copy
from pipeline.ports.git import Mirrors
from pipeline.ports.git_commands import Git
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from tests.repos import GitRepo, git_repo


def local(path: Path) -> Source:
    return Source(kind=SourceKind.LOCAL, location=str(path))


def files_of(top: Path) -> list[str]:
    return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_symlink() or p.is_file())


CHANGES: dict[str, Callable[[Path], object]] = {
    "content": lambda top: (top / "file.txt").write_text("edited\n"),
    "mode": lambda top: (top / "file.txt").chmod(0o755),
    "new file": lambda top: (top / "new.c").write_text("int x;\n"),
    "name": lambda top: (top / "file.txt").rename(top / "other.txt"),
    "removal": lambda top: (top / "kept.txt").unlink(),
    "link": lambda top: (top / "link").symlink_to("file.txt"),
    "odd name": lambda top: Path(os.fsdecode(bytes(top) + b"/\xff\n")).write_text("x"),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "ignored": lambda top: (top / "file.o").write_text("ignored"),
    "time": lambda top: os.utime(top / "file.txt", (1, 1)),
    "group's mode": lambda top: (top / "file.txt").chmod(0o664),
    "empty directory": lambda top: (top / "empty").mkdir(),
    "pipe": lambda top: os.mkfifo(top / "pipe"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_working_copy_is_another_one_with_a_change_of(
    mirrors: Mirrors, upstream: GitRepo, name: str
) -> None:
    (upstream.path / "kept.txt").write_text("kept\n")
    before = mirrors.pin(local(upstream.path)).revision
    CHANGES[name](upstream.path)
    assert mirrors.pin(local(upstream.path)).revision != before


@pytest.mark.parametrize("name", NO_CHANGES)
def test_a_working_copy_stays_what_it_is_with_a_change_of(
    mirrors: Mirrors, upstream: GitRepo, name: str
) -> None:
    upstream.commit("ignore", **{"_gitignore": "*.o\n"})
    before = mirrors.pin(local(upstream.path)).revision
    NO_CHANGES[name](upstream.path)
    assert mirrors.pin(local(upstream.path)).revision == before


def test_a_working_copy_without_git_counts_as_a_whole(mirrors: Mirrors, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    (plain / "sub").mkdir(parents=True)
    (plain / "sub" / "file.o").write_text("o")
    (plain / ".gitignore").write_text("*.o\n")
    source = local(plain)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert files_of(tmp_path / "out") == [".gitignore", "sub/file.o"]


def test_a_folder_of_a_repository_is_a_working_copy_of_its_own(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    (upstream.path / "lib").mkdir()
    (upstream.path / "lib" / "in.c").write_text("in\n")
    source = local(upstream.path / "lib")
    pin = mirrors.pin(source)
    (upstream.path / "file.txt").write_text("outside\n")
    assert mirrors.pin(source).revision == pin.revision
    mirrors.check_out(source, pin, tmp_path / "out")
    assert files_of(tmp_path / "out") == ["in.c"]


def test_a_directory_that_became_a_link_is_copied_as_the_link(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    (upstream.path / "lib").mkdir()
    upstream.commit("lib", **{"lib/in_c": "in\n"})
    outside = tmp_path / "outside"
    (upstream.path / "lib").rename(outside)
    (upstream.path / "lib").symlink_to(outside)
    source = local(upstream.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert files_of(tmp_path / "out") == ["file.txt", "lib"]
    assert (tmp_path / "out" / "lib").is_symlink()
    assert (outside / "in.c").read_text() == "in\n"


@pytest.fixture
def somebody_else() -> Iterator[Path]:
    """A directory that others may look into, read by a user who is not its owner."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        (Path(name) / "file.txt").write_text("x\n")
        os.seteuid(12345)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_file_that_nobody_may_read_is_named(log: Log, somebody_else: Path) -> None:
    git = Git(somebody_else, log=log)
    before = work_copy.pin(somebody_else, git=git)
    assert before.local
    os.seteuid(0)
    (somebody_else / "file.txt").chmod(0)
    os.seteuid(12345)
    with pytest.raises(Trouble, match="cannot be read: Permission denied") as hidden:
        work_copy.pin(somebody_else, git=git)
    assert hidden.value.where == str(somebody_else / "file.txt")


def test_a_link_to_itself_is_a_link_like_any_other(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    (upstream.path / "loop").symlink_to("loop")
    source = local(upstream.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert str((tmp_path / "out" / "loop").readlink()) == "loop"


def test_a_working_copy_is_not_changed_by_being_read(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    index = upstream.path / ".git" / "index"
    os.utime(upstream.path / "file.txt", (1, 1))  # git would refresh its index
    before = index.read_bytes(), files_of(upstream.path)
    source = local(upstream.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert (index.read_bytes(), files_of(upstream.path)) == before


def test_a_repositorys_own_settings_cannot_run_a_program(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    evil = tmp_path / "evil"
    evil.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    evil.chmod(0o755)
    upstream.git("config", "core.fsmonitor", str(evil))
    upstream.git("config", "core.hooksPath", str(tmp_path))
    (tmp_path / "post-index-change").symlink_to(evil)
    source = local(upstream.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to somebody else")
def test_somebody_elses_working_copy_is_read_by_root(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    upstream.commit("ignore", **{"_gitignore": "*.o\n"})
    (upstream.path / "file.o").write_text("o")
    (upstream.path / "file.txt").chmod(stat.S_IRUSR)
    subprocess.run(["chown", "-R", "12345:12345", upstream.path], check=True)
    source = local(upstream.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert files_of(tmp_path / "out") == [".gitignore", "file.txt"]


def test_a_working_copy_that_changed_since_is_not_taken_for_the_pinned_one(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    source = local(upstream.path)
    pin = mirrors.pin(source)
    mirrors.check_out(source, pin, tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").read_text() == "one\n"
    (upstream.path / "file.txt").write_text("edited\n")
    with pytest.raises(Failed, match="was changed since it was resolved"):
        mirrors.check_out(source, pin, tmp_path / "again")


def test_a_working_copy_that_is_not_there_is_named(mirrors: Mirrors, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="there is no such directory"):
        mirrors.fetch(local(tmp_path / "none"))


def test_a_working_copy_brings_its_submodules(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    top = git_repo(tmp_path / "up" / "top", top_txt="t\n")
    top.add_submodule(str(upstream.path), "sub")
    source = local(top.path)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "file.txt").read_text() == "one\n"
