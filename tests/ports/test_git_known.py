# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is remembered of a mirror is what git would tell, whatever happened to it meanwhile."""

import json
import os
import shutil
from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.ports.git_fetch import update
from pipeline.ports.git_known import recalled
from pipeline.ports.log import ListSink, Log
from pipeline.words.errors import Failed
from pipeline.words.snapshot import Pin
from tests.repos import GitRepo, git_repo, git_source


def look(mirrors: Mirrors, upstream: GitRepo, **given: str) -> Pin:
    """Fetch and pin, as a resolve does."""
    mirrors.fetch(git_source(upstream, **given))
    return mirrors.pin(git_source(upstream, **given))


def known(mirrors: Mirrors, upstream: GitRepo) -> Path:
    return mirrors.path(git_source(upstream)) / "ostci-known.json"


def test_an_unchanged_source_costs_the_question_to_its_server_alone(
    mirrors: Mirrors, tmp_path: Path, log: Log, sink: ListSink
) -> None:
    git_repo(tmp_path / "up" / "zlib")
    top = git_repo(tmp_path / "up" / "top")
    top.add_submodule("../zlib", "sub")
    for _ in range(2):  # what is here is compared with the server when there is something
        first = look(mirrors, top)
    sink.lines.clear()
    anew = Mirrors(tmp_path / "mirrors", log=log)
    assert look(anew, top) == first
    started = [text for text in sink.texts() if text.startswith("$")]
    assert len(started) == 1 and "git ls-remote" in started[0], started


def test_a_rewritten_branch_and_a_moved_tag_are_seen(mirrors: Mirrors, upstream: GitRepo) -> None:
    upstream.commit("bad", file_txt="bad\n")
    upstream.git("tag", "v1")
    assert look(mirrors, upstream).subject == "bad"
    upstream.git("reset", "--quiet", "--hard", "HEAD^")
    good = upstream.commit("good", file_txt="good\n")
    upstream.git("tag", "--force", "v1")
    assert look(mirrors, upstream).revision == good
    assert look(mirrors, upstream, tag="v1").revision == good


def test_a_deleted_tag_names_nothing_any_more(mirrors: Mirrors, upstream: GitRepo) -> None:
    upstream.git("tag", "v1")
    assert look(mirrors, upstream).describe.startswith("v1-0-g")
    assert look(mirrors, upstream, tag="v1").subject == "first"
    upstream.git("tag", "--delete", "v1")
    assert look(mirrors, upstream).describe == upstream.git("rev-parse", "HEAD")
    with pytest.raises(Failed, match="there is no tag v1"):
        look(mirrors, upstream, tag="v1")


def test_changed_submodules_are_seen(mirrors: Mirrors, tmp_path: Path) -> None:
    git_repo(tmp_path / "up" / "zlib")
    top = git_repo(tmp_path / "up" / "top")
    top.add_submodule("../zlib", "sub")
    assert list(look(mirrors, top).submodules) == ["sub"]
    top.git("mv", "sub", "moved")
    top.commit("moved")
    assert list(look(mirrors, top).submodules) == ["moved"]
    top.git("rm", "--quiet", "--force", "moved")
    top.commit("without")
    assert not look(mirrors, top).submodules


def test_a_mirror_that_somebody_removed_is_fetched_again(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    first = look(mirrors, upstream)
    shutil.rmtree(mirrors.path(git_source(upstream)))
    assert look(mirrors, upstream) == first
    mirrors.check_out(git_source(upstream), first, tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").read_text() == "one\n"


def test_a_ref_that_somebody_moved_in_the_mirror_is_put_right(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    upstream.commit("second", file_txt="two\n")
    first = look(mirrors, upstream)
    assert look(mirrors, upstream) == first
    mirror = GitRepo(mirrors.path(git_source(upstream)))
    mirror.git("update-ref", "refs/heads/main", "refs/heads/main^")
    assert mirrors.pin(git_source(upstream)).subject == "first"
    assert look(mirrors, upstream) == first


@pytest.mark.parametrize("left", ["", "{", "[]", '{"state": 1}', "\0" * 100])
def test_half_a_file_is_taken_for_none(mirrors: Mirrors, upstream: GitRepo, left: str) -> None:
    first = look(mirrors, upstream)
    known(mirrors, upstream).write_text(left)
    assert look(mirrors, upstream) == first
    assert json.loads(known(mirrors, upstream).read_text())["state"]


def test_a_fetch_forgets_even_where_no_time_changes(mirrors: Mirrors, upstream: GitRepo) -> None:
    look(mirrors, upstream)
    mirror = mirrors.path(git_source(upstream))
    assert recalled(mirror, "a question", lambda: "old") == "old"
    assert recalled(mirror, "a question", lambda: "new") == "old"
    before = times(mirror)
    revision = upstream.commit("second", file_txt="two\n")
    # Not by Mirrors.fetch, which asks more afterwards: that would be of other times.
    assert update(mirror, str(upstream.path), git=mirrors.git)
    for path, time_ns in before.items():
        os.utime(path, ns=(time_ns, time_ns))
    assert recalled(mirror, "a question", lambda: "new") == "new"
    assert mirrors.pin(git_source(upstream)).revision == revision


def times(mirror: Path) -> dict[Path, int]:
    """Tell of each file and directory when it was changed, in ns."""
    return {path: path.stat().st_mtime_ns for path in [mirror, *mirror.rglob("*")]}


def test_an_answer_of_a_state_that_is_gone_is_not_kept(mirrors: Mirrors, upstream: GitRepo) -> None:
    look(mirrors, upstream)
    mirror = mirrors.path(git_source(upstream))

    def ask() -> str:
        os.utime(mirror / "refs" / "heads", (1, 1))  # somebody fetches while git is asked
        return "old"

    assert recalled(mirror, "a question", ask) == "old"
    assert recalled(mirror, "a question", lambda: "new") == "new"
