# SPDX-License-Identifier: LGPL-2.1-or-later
"""Branches are read from real servers, and nothing else is taken for one."""

from pathlib import Path

import pytest

from pipeline.ports.git_commands import Git
from pipeline.ports.git_heads import read_heads
from pipeline.ports.log import ListSink, Log
from pipeline.words.errors import Trouble
from tests.repos import GitRepo, closed_port, git_daemon, git_repo


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepo:
    """A repository with a few branches and a tag."""
    made = git_repo(tmp_path / "up" / "zlib")
    made.git("branch", "stable/1.0")
    made.git("branch", "other/refs/heads/main")
    made.git("tag", "main")
    made.commit("second")
    return made


@pytest.fixture
def git(tmp_path: Path, log: Log) -> Git:
    """git with our settings."""
    return Git(tmp_path / "settings", log=log)


def test_branches_are_told_and_what_is_not_there_is_not(upstream: GitRepo, git: Git) -> None:
    first, second = upstream.git("rev-parse", "refs/heads/main~", "refs/heads/main").split()
    for url in (str(upstream.path), f"file://{upstream.path}"):
        found = read_heads(url, ["main", "stable/1.0", "gone"], git=git).heads
        assert found == {"main": second, "stable/1.0": first}
    with git_daemon(upstream.path.parent) as address:
        assert read_heads(f"{address}/zlib", ["main"], git=git).heads == {"main": second}


def test_a_tag_is_where_it_leads_to_and_a_branch_may_be_named_as_one(
    upstream: GitRepo, git: Git
) -> None:
    first, second = upstream.git("rev-parse", "refs/heads/main~", "refs/heads/main").split()
    upstream.git("tag", "--annotate", "-m", "one", "v1", first)
    upstream.git("tag", "v2", first)
    names = ["tag:v1", "tag:v2", "tag:main", "tag:stable/1.0", "tag:v", "main"]
    wanted = {"tag:v1": first, "tag:v2": first, "tag:main": first, "tag:stable/1.0": first}
    assert read_heads(str(upstream.path), names, git=git).heads == {**wanted, "main": second}
    with git_daemon(upstream.path.parent) as address:
        upstream.git("tag", "--annotate", "--force", "-m", "again", "v1", second)
        assert read_heads(f"{address}/zlib", ["tag:v1"], git=git).heads == {"tag:v1": second}


def test_heads_of_merge_requests_are_told_where_they_are_asked_for(
    upstream: GitRepo, git: Git
) -> None:
    first, second = upstream.git("rev-parse", "refs/heads/main~", "refs/heads/main").split()
    for ref, at in (
        ("refs/pull/1/head", first),
        ("refs/pull/12/merge", first),
        ("refs/pull/012/head", first),
        ("refs/other/refs/pull/3/head", first),
        ("refs/merge-requests/7/head", second),
    ):
        upstream.git("update-ref", ref, at)
    url = str(upstream.path)
    found = read_heads(url, ["main"], git=git, requests=True)
    assert found.heads == {"main": second}
    assert found.requests == {"refs/pull/1/head": first, "refs/merge-requests/7/head": second}
    assert read_heads(url, ["main"], git=git).requests == {}


def test_an_empty_repository_has_no_heads(tmp_path: Path, git: Git) -> None:
    empty = GitRepo(tmp_path)
    empty.git("init", "--quiet", "--bare", str(tmp_path / "empty.git"))
    assert read_heads(str(tmp_path / "empty.git"), ["main"], git=git).heads == {}


def test_a_server_that_is_not_there_is_trouble(git: Git) -> None:
    with pytest.raises(Trouble, match="cannot be fetched"):
        read_heads(f"git://127.0.0.1:{closed_port()}/zlib", ["main"], git=git)


def test_no_url_is_an_option_or_runs_a_command(tmp_path: Path, git: Git, sink: ListSink) -> None:
    flag = tmp_path / "flag"
    for url in (f"--upload-pack=touch {flag}", f"ext::touch {flag}"):
        with pytest.raises(Trouble):
            read_heads(url, ["main"], git=git)
    assert not flag.exists()
    assert sum("git ls-remote -- " in text for text in sink.texts()) == 2
