# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mirrors of real repositories: what is fetched, what is told of it, and what goes wrong."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.ports.log import ListSink
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Revision
from tests.repos import (
    GitRepo,
    closed_port,
    git_daemon,
    git_repo,
    git_source,
    http_server,
    stalling,
    wait_until,
)


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


COUNT = """
import os, sys
from pathlib import Path
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.manifest import Source, SourceKind
mirrors = Mirrors(Path(sys.argv[1]), log=Log())
sources = [Source(kind=SourceKind.GIT, location=url, branch="main") for url in sys.argv[2:]]
for source in [sources[0], *sources]:
    mirrors.fetch(source)
    mirrors.pin(source)
    print(len(os.listdir("/proc/self/fd")))
"""


def test_fifty_repositories_leave_no_descriptor_open(mirrors: Mirrors, tmp_path: Path) -> None:
    places = [str(git_repo(tmp_path / "up" / f"r{n}").path) for n in range(50)]
    # In a process of its own, where nothing else opens and closes any.
    argv = [sys.executable, "-c", COUNT, str(mirrors.root), *places]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    first, *others = map(int, done.stdout.split())
    assert len(others) == 50 and max(others) <= first


FETCH = """
import sys
from contextlib import suppress
from pathlib import Path
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.manifest import Source, SourceKind
Mirrors(Path(sys.argv[1]), log=Log()).fetch(
    Source(kind=SourceKind.GIT, location=sys.argv[2], branch="main"))
"""


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # it closes some meanwhile
            names.append(entry.readlink())
    return path in names


def test_of_two_processes_that_want_a_mirror_one_fetches_and_the_other_waits(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    (upstream.path / "big").write_bytes(os.urandom(1_000_000))
    upstream.commit("big")
    with git_daemon(upstream.path.parent) as url, stalling(url) as slow:
        source = git_source(f"{slow.url}/zlib")
        lock = mirrors.path(source).with_suffix(".lock")
        argv = [sys.executable, "-c", FETCH, str(mirrors.root), source.location]
        with subprocess.Popen(argv) as first:
            wait_until(slow.is_silent.is_set)
            with subprocess.Popen(argv) as second:
                wait_until(lambda: has_open(second.pid, lock))
                slow.let_go.set()
                assert [first.wait(60), second.wait(60)] == [0, 0]
        # Two questions, and one answer with the files in it.
        assert slow.connections == 3
    assert mirrors.pin(source).subject == "big"


def test_a_killed_fetch_leaves_a_mirror_that_can_be_used(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    for number in range(150):  # more than git would unpack as it comes
        (upstream.path / f"big{number}").write_bytes(os.urandom(10_000))
    upstream.commit("big")
    with git_daemon(upstream.path.parent) as url, stalling(url) as slow:
        source = git_source(f"{slow.url}/zlib")
        mirror = mirrors.path(source)
        with subprocess.Popen(
            [sys.executable, "-c", FETCH, str(mirrors.root), source.location]
        ) as killed:
            wait_until(lambda: any((mirror / "objects" / "pack").glob("tmp_pack*")))
            killed.send_signal(signal.SIGKILL)
        slow.let_go.set()
        (mirror / "refs" / "heads").mkdir(parents=True, exist_ok=True)
        (mirror / "refs" / "heads" / "main.lock").write_text("")
        (mirror / "packed-refs.lock").write_text("")
        revision = upstream.commit("after", file_txt="after\n")
        mirrors.fetch(source)
        assert mirrors.pin(source).revision == revision
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


def test_a_tag_that_was_moved_is_followed(mirrors: Mirrors, upstream: GitRepo) -> None:
    upstream.git("tag", "v1")
    source = git_source(upstream, tag="v1")
    mirrors.fetch(source)
    new = upstream.commit("second", file_txt="2\n")
    upstream.git("tag", "--force", "-a", "v1", "-m", "moved")
    mirrors.fetch(source)
    assert mirrors.pin(source).revision == new


def test_a_branch_that_was_deleted_is_told_with_those_that_are_there(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    upstream.git("branch", "stable")
    source = git_source(upstream, branch="stable")
    mirrors.fetch(source)
    upstream.git("branch", "--delete", "stable")
    with pytest.raises(Failed, match="there is no branch stable") as gone:
        mirrors.fetch(source)
    assert gone.value.hint == "it has main"


def test_an_empty_repository_has_no_branch(mirrors: Mirrors, tmp_path: Path) -> None:
    GitRepo(tmp_path).git("init", "--quiet", "empty")
    with pytest.raises(Failed, match="there is no branch main") as empty:
        mirrors.fetch(git_source(GitRepo(tmp_path / "empty")))
    assert empty.value.hint == "it has no heads"


def test_a_revision_that_is_here_needs_no_server(mirrors: Mirrors, upstream: GitRepo) -> None:
    mirrors.fetch(git_source(upstream))
    source = git_source(upstream, revision=upstream.git("rev-parse", "HEAD"))
    upstream.path.rename(upstream.path.with_name("gone"))
    mirrors.fetch(source)
    assert mirrors.pin(source).subject == "first"


def test_a_revision_that_no_branch_has_any_more_is_asked_for(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    lost = upstream.commit("lost", file_txt="lost\n")
    upstream.git("reset", "--quiet", "--hard", "HEAD^")
    mirrors.fetch(git_source(upstream, revision=lost))
    assert mirrors.pin(git_source(upstream, revision=lost)).subject == "lost"


def test_a_plain_web_server_will_do_and_what_it_has_not_is_trouble(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    upstream.git("update-server-info")
    with http_server(upstream.path.parent) as url:
        mirrors.fetch(git_source(f"{url}/zlib/.git"))
        with pytest.raises(Trouble, match=r"cannot be fetched: repository '.*' not found"):
            mirrors.fetch(git_source(f"{url}/none.git"))


def test_a_name_of_a_revision_is_looked_for_once(
    mirrors: Mirrors, upstream: GitRepo, sink: ListSink
) -> None:
    mirrors.fetch(git_source(upstream))
    assert mirrors.pin(git_source(upstream)) == mirrors.pin(git_source(upstream))
    assert started(sink, "describe") == 1


@pytest.mark.parametrize("odd", ["form\ffeed", "line\u2028end", "next\x85line", "tab\x1cset"])
def test_a_subject_may_have_odd_characters(mirrors: Mirrors, upstream: GitRepo, odd: str) -> None:
    old = Revision(upstream.git("rev-parse", "HEAD"))
    new = Revision(upstream.commit(odd, file_txt="2\n"))
    mirrors.fetch(git_source(upstream))
    assert [one.subject for one in mirrors.log_between(git_source(upstream), old, new)] == [odd]
    assert mirrors.pin(git_source(upstream)).subject == odd


def test_a_subject_may_be_of_another_encoding_than_it_says(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    tree = upstream.git("rev-parse", "HEAD^{tree}")
    parent = upstream.git("rev-parse", "HEAD")
    new = upstream.git("commit-tree", tree, "-p", parent, input=b"caf\xe9\n")
    upstream.git("update-ref", "refs/heads/main", new)
    mirrors.fetch(git_source(upstream))
    assert mirrors.pin(git_source(upstream)).subject.startswith("caf")
    found = mirrors.log_between(git_source(upstream), Revision(parent), Revision(new))
    assert found[0].subject.startswith("caf")


def test_where_no_history_leads_only_the_new_revision_is_told(
    mirrors: Mirrors, upstream: GitRepo
) -> None:
    old = Revision(upstream.git("rev-parse", "HEAD"))
    upstream.git("checkout", "--quiet", "--orphan", "fresh")
    new = Revision(upstream.commit("anew"))
    mirrors.fetch(git_source(upstream))
    assert [one.subject for one in mirrors.log_between(git_source(upstream), old, new)] == ["anew"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give files to somebody else")
def test_a_developers_repository_is_read_by_root(mirrors: Mirrors, upstream: GitRepo) -> None:
    subprocess.run(["chown", "-R", "12345:12345", upstream.path], check=True)
    mirrors.fetch(git_source(upstream))
    mirrors.fetch(git_source(f"file://{upstream.path}"))
    assert mirrors.pin(git_source(upstream)).subject == "first"


def test_settings_of_an_older_version_are_written_anew(mirrors: Mirrors) -> None:
    mirrors.root.mkdir()
    (mirrors.root / "gitconfig").write_text("[core]\n\tautocrlf = true\n")
    mirrors.git.run(["version"])
    assert "autocrlf" not in (mirrors.root / "gitconfig").read_text()


def test_a_mirror_can_lie_beside_one_that_is_called_as_its_lock(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    for name in ("a", "a.lock/b", "a.making/b"):
        mirrors.fetch(git_source(git_repo(tmp_path / "up" / name)))


@pytest.mark.parametrize("url", ["http://h/" + "a" * 300, "http://h/" + "/".join(["ab" * 60] * 40)])
def test_a_url_that_is_too_long_for_a_path_is_refused(mirrors: Mirrors, url: str) -> None:
    with pytest.raises(Failed, match="a URL with a"):
        mirrors.fetch(git_source(url))
