# SPDX-License-Identifier: LGPL-2.1-or-later
"""What leads from one revision to another is told in full, however much came at once."""

from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.ports.git_history import read_history
from pipeline.ports.log import Log
from pipeline.words.push import Head, pushes_of
from tests.repos import GitRepo, git_repo, git_source


@pytest.fixture
def mirrors(tmp_path: Path, log: Log) -> Mirrors:
    return Mirrors(tmp_path / "mirrors", log=log)


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepo:
    return git_repo(tmp_path / "up" / "zlib")


def grow(repo: GitRepo, merges: int, each: int) -> tuple[str, str]:
    """Merge branches of so many commits each; tells the revisions before and after."""
    before = repo.git("rev-parse", "HEAD")
    told: list[str] = []
    first, mark = before, 0

    def commit(*parents: str) -> str:
        nonlocal mark
        mark += 1
        told.append(f"commit refs/heads/made\nmark :{mark}\ncommitter S <s@e> {mark} +0000\n")
        told.append(f"data 1\nxfrom {parents[0]}\n")
        told.extend(f"merge {one}\n" for one in parents[1:])
        return f":{mark}"

    for _ in range(merges):
        side = first
        for _ in range(each):
            side = commit(side)
        first = commit(first, side) if each else commit(first)
    repo.git("fast-import", "--quiet", "--force", input="".join(told).encode())
    repo.git("reset", "--quiet", "--hard", "made")
    return before, repo.git("rev-parse", "HEAD")


def test_many_merges_are_a_push_each(mirrors: Mirrors, upstream: GitRepo) -> None:
    before, after = grow(upstream, 30, 50)
    source = git_source(upstream)
    mirrors.fetch(source)
    history = read_history(mirrors.path(source), before, after, git=mirrors.git)
    assert (len(history.line), len(history.all), history.cut) == (30, 30 * 51, False)
    head = Head(component="zlib", url=source.location, branch="main")
    pushes = pushes_of(head, before, after, history, unit="commit")
    assert [len(push.commits) for push in pushes] == [51] * 30
    assert tuple(push.after for push in pushes) == history.line


@pytest.mark.parametrize(("count", "is_cut"), [(1000, False), (1001, True)])
def test_a_line_that_is_too_long_says_so(
    mirrors: Mirrors, upstream: GitRepo, count: int, is_cut: bool
) -> None:
    before, after = grow(upstream, count, 0)
    source = git_source(upstream)
    mirrors.fetch(source)
    history = read_history(mirrors.path(source), before, after, git=mirrors.git)
    assert (len(history.line), history.cut) == (1000, is_cut)
    assert history.line[-1] == after


def test_an_old_revision_that_is_gone_is_a_rewritten_branch(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    source = git_source(upstream)
    mirrors.fetch(source)
    after = upstream.git("rev-parse", "HEAD")
    assert read_history(mirrors.path(source), "9" * 40, after, git=mirrors.git).rewritten
