# SPDX-License-Identifier: LGPL-2.1-or-later
"""Submodules come from mirrors of their own, and what a push writes about them is not trusted."""

from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.words.errors import Failed
from tests.repos import GitRepo, git_daemon, git_repo, git_source


def link(repo: GitRepo, revision: str, settings: str, path: str = "sub") -> None:
    """Commit a submodule as somebody who writes ``.gitmodules`` by hand."""
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{revision},{path}")
    if settings:
        (repo.path / ".gitmodules").write_text(settings)
        repo.git("add", ".gitmodules")
    repo.git("commit", "--quiet", "-m", "by hand")


def settings(url: str, path: str = "sub") -> str:
    return f'[submodule "sub"]\n\tpath = {path}\n\turl = {url}\n'


def test_submodules_come_along_relative_ones_and_those_within(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    middle = git_repo(tmp_path / "up" / "middle", middle_txt="m\n")
    middle.add_submodule("../zlib", "inner")
    top = git_repo(tmp_path / "up" / "top", top_txt="t\n")
    top.add_submodule(str(middle.path), "lib/middle")
    mirrors.fetch(git_source(top))
    for gone in (upstream, middle, top):
        gone.path.rename(gone.path.with_name(f"{gone.path.name}-gone"))
    pin = mirrors.pin(git_source(top))
    assert list(pin.submodules) == ["lib/middle", "lib/middle/inner"]
    mirrors.check_out(git_source(top), pin, tmp_path / "out")
    files = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.txt"))
    assert files == ["lib/middle/inner/file.txt", "lib/middle/middle.txt", "top.txt"]


def test_submodules_are_served_by_a_server_too(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    top = git_repo(tmp_path / "up" / "top", top_txt="t\n")
    link(top, upstream.git("rev-parse", "HEAD"), settings("../zlib"))
    with git_daemon(tmp_path / "up") as url:
        source = git_source(f"{url}/top")
        mirrors.fetch(source)
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "file.txt").read_text() == "one\n"


def test_a_submodule_that_is_here_costs_nothing(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    top = git_repo(tmp_path / "up" / "top", top_txt="t\n")
    top.add_submodule("../zlib", "sub")
    mirrors.fetch(git_source(top))
    upstream.path.rename(upstream.path.with_name("gone"))
    top.commit("more", top_txt="u\n")
    mirrors.fetch(git_source(top))
    assert mirrors.pin(git_source(top)).subject == "more"


EVIL = ("ext::sh -c touch% {}", "--upload-pack=touch {}", "-utouch {}", "fd::17/{}")


@pytest.mark.parametrize("url", EVIL)
def test_a_submodule_cannot_have_a_command_run(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo, url: str
) -> None:
    ran = tmp_path / "ran"
    link(upstream, upstream.git("rev-parse", "HEAD"), settings(url.format(ran)))
    with pytest.raises(Failed, match=r"not let through|objects that are not as they should be"):
        mirrors.fetch(git_source(upstream))
    assert not ran.exists()


@pytest.mark.parametrize("url", ["{}", "file://{}"])
def test_a_server_cannot_name_what_lies_on_this_machine(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo, url: str
) -> None:
    top = git_repo(tmp_path / "served" / "top")
    link(top, upstream.git("rev-parse", "HEAD"), settings(url.format(upstream.path)))
    with (
        git_daemon(top.path.parent) as served,
        pytest.raises(Failed, match="a submodule is said to be on this machine"),
    ):
        mirrors.fetch(git_source(f"{served}/top"))


def test_a_submodule_at_a_revision_that_is_not_there_is_named(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    top = git_repo(tmp_path / "up" / "top")
    link(top, "1" * 40, settings(str(upstream.path)))
    with pytest.raises(Failed) as missing:
        mirrors.fetch(git_source(top))
    assert missing.value.what == f"submodule sub wants 111111111111, which {upstream.path} has not"
    assert missing.value.where == str(top.path)


def test_a_submodule_without_a_url_is_named(mirrors: Mirrors, upstream: GitRepo) -> None:
    link(upstream, "1" * 40, '[submodule "sub"]\n\tpath = sub\n')
    with pytest.raises(Failed, match="has no URL for the submodule sub") as missing:
        mirrors.fetch(git_source(upstream))
    assert missing.value.where == str(upstream.path)


def test_a_link_that_nobody_told_of_is_left_out_as_git_does(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    link(upstream, "1" * 40, "")
    mirrors.fetch(git_source(upstream))
    pin = mirrors.pin(git_source(upstream))
    assert not pin.submodules
    mirrors.check_out(git_source(upstream), pin, tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").exists()


def test_a_gitmodules_that_cannot_be_read_is_not_taken_for_none(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    link(upstream, "1" * 40, "[submodule\n\tpath=\n")
    with pytest.raises(Failed, match=r"\.gitmodules cannot be read.*bad config line 1"):
        mirrors.fetch(git_source(upstream))


def test_a_submodule_is_not_written_through_a_link(mirrors: Mirrors, tmp_path: Path) -> None:
    git_repo(tmp_path / "up" / "zlib")
    top = git_repo(tmp_path / "up" / "top")
    top.add_submodule("../zlib", "lib/sub")
    mirrors.fetch(git_source(top))
    pin = mirrors.pin(git_source(top))
    (tmp_path / "outside").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lib").symlink_to(tmp_path / "outside")
    with pytest.raises(Failed, match="a file or a link where its submodule lib/sub goes"):
        mirrors.write_submodules(git_source(top), pin, tmp_path / "out")
    assert not list((tmp_path / "outside").iterdir())


def test_a_tree_that_leads_out_is_refused_when_it_comes(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    inner = upstream.git("rev-parse", "HEAD^{tree}")
    outer = upstream.git("mktree", input=f"040000 tree {inner}\t..\n".encode())
    evil = upstream.git("commit-tree", outer, "-m", "evil")
    upstream.git("update-ref", "refs/heads/main", evil)
    with pytest.raises(Failed, match=r"not as they should be: object .*hasDotdot"):
        mirrors.fetch(git_source(upstream))


def test_submodules_within_themselves_come_to_an_end(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    inner = upstream
    for depth in range(10):
        outer = git_repo(tmp_path / "up" / f"d{depth}")
        link(outer, inner.git("rev-parse", "HEAD"), settings(str(inner.path)))
        inner = outer
    with pytest.raises(Failed, match="submodules are nested deeper than 8"):
        mirrors.fetch(git_source(inner))
