# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mirrors of real repositories: what is fetched, what is told of it, and what goes wrong."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.ports.log import ListSink, Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.refs import Revision
from tests.repos import GitRepo, closed_port, git_daemon, git_repo, git_source


@pytest.fixture
def mirrors(tmp_path: Path, log: Log) -> Mirrors:
    return Mirrors(tmp_path / "mirrors", log=log)


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepo:
    return git_repo(tmp_path / "up" / "zlib")


def started(sink: ListSink, verb: str) -> int:
    return sum(1 for text in sink.texts() if text.startswith("$ git") and f" {verb} " in text)


def test_a_pin_tells_what_the_branch_is_at(mirrors: Mirrors, upstream: GitRepo) -> None:
    upstream.git("tag", "-a", "v1", "-m", "one")
    revision = upstream.commit("second", file_txt="two\n")
    mirrors.fetch(git_source(upstream))
    pin = mirrors.pin(git_source(upstream))
    assert (pin.revision, pin.subject, pin.commit_time) == (revision, "second", 1700000000)
    assert pin.tree == upstream.git("rev-parse", "HEAD^{tree}")
    assert pin.describe.startswith("v1-1-g")


def test_an_unchanged_repository_costs_one_question(
    mirrors: Mirrors, upstream: GitRepo, sink: ListSink
) -> None:
    mirrors.fetch(git_source(upstream))
    before = started(sink, "fetch")
    mirrors.fetch(git_source(upstream))
    assert (started(sink, "ls-remote"), started(sink, "fetch")) == (2, before)


def test_what_was_fetched_lately_is_not_asked_for_again(
    mirrors: Mirrors, upstream: GitRepo, sink: ListSink
) -> None:
    mirrors.fetch(git_source(upstream))
    mirrors.fetch(git_source(upstream), max_age_s=60)
    assert started(sink, "ls-remote") == 1


def test_a_new_branch_is_fetched_also_within_the_window(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    mirrors.fetch(git_source(upstream))
    upstream.git("branch", "stable")
    mirrors.fetch(git_source(upstream, branch="stable"), max_age_s=600)
    assert mirrors.pin(git_source(upstream, branch="stable")).subject == "first"


def test_a_rewritten_branch_is_followed_and_the_old_revision_is_kept(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    old = upstream.commit("bad", file_txt="bad\n")
    mirrors.fetch(git_source(upstream))
    pinned = mirrors.pin(git_source(upstream))
    upstream.git("reset", "--quiet", "--hard", "HEAD^")
    new = upstream.commit("good", file_txt="good\n")
    mirrors.fetch(git_source(upstream))
    assert mirrors.pin(git_source(upstream)).revision == new
    assert pinned.revision == old
    mirrors.check_out(git_source(upstream), pinned, tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").read_text() == "bad\n"


def test_a_branch_may_become_a_directory_of_branches(mirrors: Mirrors, upstream: GitRepo) -> None:
    upstream.git("branch", "next")
    mirrors.fetch(git_source(upstream))
    upstream.git("branch", "-m", "next", "next/1")
    mirrors.fetch(git_source(upstream, branch="next/1"))
    assert mirrors.pin(git_source(upstream, branch="next/1")).subject == "first"


@pytest.mark.parametrize("given", [{"branch": "nowhere"}, {"tag": "v9"}, {"revision": "1" * 40}])
def test_what_is_not_there_is_named(
    mirrors: Mirrors, upstream: GitRepo, given: dict[str, str]
) -> None:
    kind, name = next(iter(given.items()))
    with pytest.raises(Failed, match=f"there is no {kind} {name}") as missing:
        mirrors.fetch(git_source(upstream, **given))
    assert missing.value.where == str(upstream.path)
    if kind == "branch":
        assert missing.value.hint == "it has main"


@pytest.mark.parametrize("scheme", ["http", "git"])
def test_a_dead_server_is_trouble(mirrors: Mirrors, scheme: str) -> None:
    url = f"{scheme}://127.0.0.1:{closed_port()}/zlib.git"
    with pytest.raises(Trouble, match="cannot be fetched") as dead:
        mirrors.fetch(git_source(url))
    assert dead.value.where == url
    assert "git ls-remote" in dead.value.hint


def test_a_repository_is_fetched_by_gits_own_protocol(mirrors: Mirrors, upstream: GitRepo) -> None:
    with git_daemon(upstream.path.parent) as url:
        mirrors.fetch(git_source(f"{url}/zlib"))
        assert mirrors.pin(git_source(f"{url}/zlib")).subject == "first"


def test_a_source_that_was_never_fetched_is_trouble(mirrors: Mirrors, upstream: GitRepo) -> None:
    with pytest.raises(Trouble, match="was never fetched"):
        mirrors.pin(git_source(upstream))


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


def test_a_submodule_cannot_name_a_transport_that_runs_commands(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    link = f"160000,{upstream.git('rev-parse', 'HEAD')},sub"
    upstream.git("update-index", "--add", "--cacheinfo", link)
    text = '[submodule "sub"]\n\tpath = sub\n\turl = ext::sh -c touch% /tmp/never\n'
    (upstream.path / ".gitmodules").write_text(text)
    upstream.git("add", ".gitmodules")
    upstream.git("commit", "--quiet", "-m", "evil")
    with pytest.raises(Failed, match=r"can run commands|not let through|not as they should be"):
        mirrors.fetch(git_source(upstream))


def test_the_log_between_two_revisions_is_newest_first(mirrors: Mirrors, upstream: GitRepo) -> None:
    old = Revision(upstream.git("rev-parse", "HEAD"))
    upstream.commit("second", file_txt="2\n")
    new = Revision(upstream.commit("third", file_txt="3\n"))
    mirrors.fetch(git_source(upstream))
    found = mirrors.log_between(git_source(upstream), old, new)
    assert [one.subject for one in found] == ["third", "second"]
    assert (found[0].author, found[0].time) == ("Somebody", 1700000000)
    assert "1 file changed" in mirrors.diffstat(git_source(upstream), old, new)
    with pytest.raises(Failed, match="the mirror has no revision"):
        mirrors.log_between(git_source(upstream), Revision("2" * 40), new)


def test_a_directory_and_its_namesake_with_git_have_mirrors_of_their_own(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    plain = git_repo(tmp_path / "up" / "a", file_txt="plain\n")
    named = git_repo(tmp_path / "up" / "a.git", file_txt="named\n")
    for one in (plain, named, plain):
        mirrors.fetch(git_source(one))
    assert mirrors.path(git_source(plain)) != mirrors.path(git_source(named))
    assert mirrors.pin(git_source(plain)).tree != mirrors.pin(git_source(named)).tree


def test_fifty_repositories_leave_no_descriptor_open(mirrors: Mirrors, tmp_path: Path) -> None:
    sources = [git_source(git_repo(tmp_path / "up" / f"r{n}")) for n in range(50)]
    mirrors.fetch(sources[0])
    mirrors.pin(sources[0])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for source in sources:
        mirrors.fetch(source)
        mirrors.pin(source)
    assert len(os.listdir("/proc/self/fd")) <= before  # noqa: PTH208


FETCH = """
import sys
from pathlib import Path
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.manifest import Source, SourceKind
Mirrors(Path(sys.argv[1]), log=Log()).fetch(
    Source(kind=SourceKind.GIT, location=sys.argv[2], branch="main"))
"""


def test_two_processes_fetch_at_once(mirrors: Mirrors, upstream: GitRepo) -> None:
    argv = [sys.executable, "-c", FETCH, str(mirrors.root), str(upstream.path)]
    both = [subprocess.Popen(argv) for _ in range(2)]
    assert [one.wait(60) for one in both] == [0, 0]
    assert mirrors.pin(git_source(upstream)).subject == "first"


def test_a_killed_fetch_leaves_a_mirror_that_can_be_used(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    for number in range(3):
        (upstream.path / f"big{number}").write_bytes(os.urandom(4_000_000))
        upstream.commit(f"big {number}")
        argv = [sys.executable, "-c", FETCH, str(mirrors.root), str(upstream.path)]
        with subprocess.Popen(argv) as killed:
            try:
                killed.wait(0.25 + 0.15 * number)
            except subprocess.TimeoutExpired:
                killed.send_signal(signal.SIGKILL)
    mirrors.fetch(git_source(upstream))
    mirror = mirrors.path(git_source(upstream))
    (mirror / "refs" / "heads" / "main.lock").write_text("")
    (mirror / "packed-refs.lock").write_text("")
    (mirror / "objects" / "pack" / "tmp_pack_killed").write_text("half")
    revision = upstream.commit("after", file_txt="after\n")
    mirrors.fetch(git_source(upstream))
    assert mirrors.pin(git_source(upstream)).revision == revision
    assert not list((mirror / "objects" / "pack").glob("tmp_*"))
    subprocess.run(["git", "--git-dir", mirror, "fsck", "--strict"], check=True)


def test_a_damaged_mirror_says_how_to_mend_it(mirrors: Mirrors, upstream: GitRepo) -> None:
    mirrors.fetch(git_source(upstream))
    mirror = mirrors.path(git_source(upstream))
    for path in (mirror / "objects").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.write_bytes(b"")
    with pytest.raises((Trouble, Failed)) as damaged:
        mirrors.pin(git_source(upstream))
    assert damaged.value.hint


def test_a_working_copy_is_pinned_by_its_files(mirrors: Mirrors, upstream: GitRepo) -> None:
    source = Source(kind=SourceKind.LOCAL, location=str(upstream.path))
    first = mirrors.pin(source)
    assert first.local
    (upstream.path / ".gitignore").write_text("*.o\n")
    with_ignore = mirrors.pin(source).revision
    (upstream.path / "file.o").write_text("ignored")
    assert mirrors.pin(source).revision == with_ignore != first.revision
    (upstream.path / "file.txt").chmod(0o755)
    assert mirrors.pin(source).revision != with_ignore


def test_a_working_copy_that_changed_since_is_not_taken_for_the_pinned_one(
    mirrors: Mirrors, upstream: GitRepo, tmp_path: Path
) -> None:
    source = Source(kind=SourceKind.LOCAL, location=str(upstream.path))
    pin = mirrors.pin(source)
    mirrors.check_out(source, pin, tmp_path / "out")
    assert (tmp_path / "out" / "file.txt").read_text() == "one\n"
    (upstream.path / "file.txt").write_text("edited\n")
    with pytest.raises(Failed, match="was changed since it was resolved"):
        mirrors.check_out(source, pin, tmp_path / "again")


def test_a_working_copy_that_is_not_there_is_named(mirrors: Mirrors, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="there is no such directory"):
        mirrors.fetch(Source(kind=SourceKind.LOCAL, location=str(tmp_path / "none")))


def test_a_working_copy_brings_its_submodules(
    mirrors: Mirrors, tmp_path: Path, upstream: GitRepo
) -> None:
    top = git_repo(tmp_path / "up" / "top", top_txt="t\n")
    top.add_submodule(str(upstream.path), "sub")
    source = Source(kind=SourceKind.LOCAL, location=str(top.path))
    mirrors.check_out(source, mirrors.pin(source), tmp_path / "out")
    assert (tmp_path / "out" / "sub" / "file.txt").read_text() == "one\n"
