# SPDX-License-Identifier: LGPL-2.1-or-later
"""Repositories by the real program, and objects of ours against its own."""

import os
import stat
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.ostree_objects import Missing, Objects
from pipeline.words import dirtree
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Commit, RefName
from tests.layers import write_files
from tests.small_disk import small_disk

ONE, TWO = RefName("os/one"), RefName("os/deep/two")


@pytest.fixture
def commit(repo: Repo, tmp_path: Path) -> Commit:
    top = write_files(
        tmp_path / "files",
        {"usr/bin/tool": "#!tool", "usr/share/text": "text", "usr/lib": None, "link": "-> usr"},
    )
    return repo.commit_dir(top, subject="files", metadata={"key": "value"}, time_s=1_700_000_000)


def layer(repo: Repo, top: Path, **files: str | None) -> Commit:
    return repo.commit_dir(write_files(top, files), subject="layer")


# Reading


def test_refs_lead_to_commits(repo: Repo, commit: Commit) -> None:
    repo.set_ref(ONE, commit)
    assert repo.resolve(ONE) == repo.resolve(commit) == commit
    assert repo.resolve("os/none") is None
    assert repo.resolve("os") is None, "a directory of refs is none"
    assert repo.resolve("f" * 64) is None
    with pytest.raises(Trouble, match="has no os/none") as caught:
        repo.need("os/none")
    assert caught.value.hint == f"ostree refs --repo={repo.path}"


def test_refs_are_listed_below_a_prefix_and_set_many_at_once(repo: Repo, commit: Commit) -> None:
    repo.set_refs({ONE: commit, TWO: commit})
    assert repo.refs() == {TWO: commit, ONE: commit}
    assert repo.refs("os/deep") == {TWO: commit}
    listed = repo.run("refs").text.split()
    assert sorted(listed) == sorted(repo.refs())
    repo.set_ref(TWO, None)
    assert repo.refs() == {ONE: commit}


def test_a_ref_to_nothing_is_refused(repo: Repo) -> None:
    with pytest.raises(Trouble, match=f"has no commit {'0' * 64} for {ONE}"):
        repo.set_refs({ONE: Commit("0" * 64)})
    with pytest.raises(ValueError, match="not a ref"):
        repo.set_refs({RefName("../escape"): Commit("0" * 64)})


def test_a_commit_tells_what_it_was_made_with(repo: Repo, commit: Commit) -> None:
    info = repo.info(commit)
    assert (info.subject, info.time, info.parent) == ("files", 1_700_000_000, None)
    assert info.metadata["key"] == "value"
    shown = repo.run("show", "--print-metadata-key=key", commit).text
    assert shown == "'value'"


def test_long_metadata_comes_back_whole(repo: Repo, tmp_path: Path) -> None:
    text = "".join(f"{n:06}" for n in range(60_000))
    made = repo.commit_dir(
        write_files(tmp_path / "x", {"a": "a"}), subject="", metadata={"k": text}
    )
    assert repo.info(made).metadata["k"] == text


def test_files_are_found_listed_and_read(repo: Repo, commit: Commit) -> None:
    assert {path for path, _ in repo.walk(commit)} == {
        *("/link", "/usr/", "/usr/bin/", "/usr/bin/tool", "/usr/lib/"),
        *("/usr/share/", "/usr/share/text"),
    }
    assert repo.read(commit, "/usr/share/text") == b"text"
    assert repo.find(commit, "/usr/share/text") == dict(repo.walk(commit))["/usr/share/text"]
    assert repo.find(commit, "/usr/share") is None
    assert repo.find(commit, "/usr/none/text") is None
    with pytest.raises(Trouble):
        repo.read(commit, "/none")


def test_changes_are_those_that_the_program_tells(
    repo: Repo, commit: Commit, tmp_path: Path
) -> None:
    new = write_files(tmp_path / "new", {"usr/bin/tool": "changed", "usr/lib/new": "n"})
    other = repo.commit_dir(new, subject="new")
    assert repo.changes(commit, other) == [
        *(("D", "/link"), ("M", "/usr/bin/tool"), ("A", "/usr/lib/new")),
        *(("D", "/usr/share/"), ("D", "/usr/share/text")),
    ]
    told = {
        line.split()[-1].rstrip("/") for line in repo.run("diff", commit, other).text.splitlines()
    }
    ours = {path.rstrip("/") for _, path in repo.changes(commit, other)}
    # The program does not list what is in a directory that went as a whole.
    assert told == ours - {"/usr/share/text"}


def test_a_damaged_object_is_trouble(repo: Repo, commit: Commit) -> None:
    path = repo.path / "objects" / commit[:2] / f"{commit[2:]}.commit"
    path.unlink()
    assert not repo.has_commit(commit)
    with pytest.raises(Trouble, match=f"has no {commit}"):
        repo.info(commit)


def test_history_goes_to_the_first_commit(repo: Repo, commit: Commit) -> None:
    second = repo.commit_layers([commit], subject="second", parent=commit, time_s=5)
    repo.set_ref(ONE, second)
    assert [info.commit for info in repo.history(ONE)] == [second, commit]


# Writing


def test_what_is_committed_is_roots_whoever_owned_it(repo: Repo, tmp_path: Path) -> None:
    top = write_files(tmp_path / "x", {"dir/file": "f"})
    if os.geteuid() == 0:
        for path in (top, top / "dir", top / "dir/file"):
            os.chown(path, 1234, 1234)
    made = repo.commit_dir(top, subject="x")
    metas = dict(repo.walk(made))
    assert repo.dir_mode(metas["/dir/"])[:2] == (0, 0)
    assert "-00644 0 0" in repo.run("ls", made, "/dir/file").text


def test_modes_are_added_as_they_are_granted(repo: Repo, tmp_path: Path) -> None:
    top = write_files(tmp_path / "x", {"usr/bin/su": "#!su", "usr/bin/no": "#!no"})
    made = repo.commit_dir(top, subject="x", modes={"/usr/bin/su": 0o4000})
    assert "-04755 0 0" in repo.run("ls", made, "/usr/bin/su").text
    assert "-00755 0 0" in repo.run("ls", made, "/usr/bin/no").text


def test_layers_lie_over_each_other(repo: Repo, commit: Commit, tmp_path: Path) -> None:
    second = layer(repo, tmp_path / "two", **{"usr/share/text": "over", "usr/more": "m"})
    ref = RefName("os/x")
    made = repo.commit_layers([commit, second], subject="both", body="why", bind=[ref], time_s=7)
    assert repo.read(made, "/usr/share/text") == b"over"
    assert repo.read(made, "/usr/bin/tool") == b"#!tool"
    info = repo.info(made)
    assert (info.body.strip(), info.bindings, info.time) == ("why", (ref,), 7)


def test_a_directory_over_a_link_is_refused_by_name(
    repo: Repo, commit: Commit, tmp_path: Path
) -> None:
    second = layer(repo, tmp_path / "two", **{"link/file": "f"})
    with pytest.raises(Failed, match=r"two layers cannot be put over each other.*link"):
        repo.commit_layers([commit, second], subject="both")


def test_a_checkout_is_hardlinked_and_a_copy_is_not(
    repo: Repo, commit: Commit, tmp_path: Path
) -> None:
    repo.checkout(commit, tmp_path / "linked")
    repo.checkout(commit, tmp_path / "copied", copy=True)
    assert (tmp_path / "linked/usr/share/text").stat().st_nlink > 1
    assert (tmp_path / "copied/usr/share/text").stat().st_nlink == 1
    repo.checkout(commit, tmp_path / "part", subpath="/usr/share")
    assert [path.name for path in (tmp_path / "part").iterdir()] == ["text"]


def test_commits_travel_between_repositories(repo: Repo, commit: Commit, tmp_path: Path) -> None:
    bound = repo.commit_layers([commit], subject="bound", bind=[ONE])
    repo.set_refs({ONE: bound, TWO: bound})
    other = Repo(tmp_path / "other", log=repo.log).create(Mode.ARCHIVE)
    other.pull_local(repo.path, [ONE])
    assert other.resolve(ONE) == bound
    assert other.read(bound, "/usr/share/text") == b"text"
    with pytest.raises(Trouble, match="ref binding metadata"):
        other.pull_local(repo.path, [TWO])


def test_fsck_names_what_is_damaged(repo: Repo, commit: Commit) -> None:
    repo.fsck()
    checksum = repo.find(commit, "/usr/share/text")
    assert checksum is not None
    path = repo.path / "objects" / checksum[:2] / f"{checksum[2:]}.file"
    path.chmod(0o644)
    path.write_text("xxxx")
    with pytest.raises(Trouble, match=checksum):
        repo.fsck()


def test_prune_takes_what_no_ref_leads_to(repo: Repo, commit: Commit, tmp_path: Path) -> None:
    repo.set_ref(ONE, commit)
    lost = layer(repo, tmp_path / "lost", gone="g")
    repo.prune()
    assert repo.has_commit(commit)
    assert not repo.has_commit(lost)
    repo.fsck()


# Full


def test_a_full_disk_is_trouble_that_names_the_path_and_the_bytes(tmp_path: Path, log: Log) -> None:
    top = tmp_path / "x"
    top.mkdir()
    (top / "large").write_bytes(os.urandom(8 << 20))
    with small_disk(tmp_path / "small", "4m") as place:
        repo = Repo(place / "repo", log=log).create(Mode.BARE_USER)
        with pytest.raises(Trouble, match=rf"no space left for {place}.*bytes free"):
            repo.commit_dir(top, subject="x")
        (top / "large").write_bytes(b"small now")
        made = repo.commit_dir(top, subject="x")
        repo.set_ref(ONE, made)
        repo.fsck()


# Objects of ours


@pytest.fixture
def objects(repo: Repo) -> Objects:
    return Objects(repo)


def test_directories_are_written_byte_for_byte_as_the_program_does(
    objects: Objects, repo: Repo, tmp_path: Path
) -> None:
    names: dict[str, str | None] = {
        f"usr/{'n' * length}": "x" for length in (1, 100, 221, 222, 223, 240)
    }
    names |= {f"usr/many/{n:03}": "x" for n in range(300)} | {"usr/é/ü": "x", "empty/": None}
    made = layer(repo, tmp_path / "x", **names)
    for path in repo.path.rglob("*.dirtree"):
        data = path.read_bytes()
        assert dirtree.encode(dirtree.parse(data)) == data
        checksum = bytes.fromhex(path.parent.name + path.stem)
        same = repo.directory(checksum.hex())
        assert {n: c.hex() for n, c in objects.listing(checksum).files.items()} == same.files
        assert objects.write_dirtree(data) == checksum
    assert objects.root(made)[0].hex() == repo.info(made).tree


def test_commits_are_written_byte_for_byte_as_the_program_does(
    objects: Objects, repo: Repo, commit: Commit
) -> None:
    bind = [RefName("os/b"), RefName("os/a")]
    told = {"version": "20260101.1", "other": "x" * 300}
    theirs = repo.commit_layers(
        [commit], subject="s", body="b\nc", metadata=told, parent=commit, bind=bind, time_s=99
    )
    path = repo.path / "objects" / theirs[:2] / f"{theirs[2:]}.commit"
    path.unlink()
    tree, meta = objects.root(commit)
    ours = objects.write_commit(
        tree, meta, subject="s", body="b\nc", metadata=told, parent=commit, bind=bind, time_s=99
    )
    assert ours == theirs
    repo.set_ref(ONE, ours)
    repo.fsck()


def test_metadata_of_directories_is_what_the_program_writes(
    objects: Objects, repo: Repo, tmp_path: Path
) -> None:
    made = layer(repo, tmp_path / "x", a="a")
    (tmp_path / "x").chmod(0o755)
    assert objects.write_dirmeta(mode=0o755).hex() == repo.info(made).dirmeta
    assert stat.S_IMODE(repo.dir_mode(objects.write_dirmeta(mode=0o1777).hex())[2]) == 0o1777


def test_links_are_told_from_files(objects: Objects, repo: Repo, commit: Commit) -> None:
    for path, is_link in (("/link", True), ("/usr/bin/tool", False)):
        checksum = repo.find(commit, path)
        assert checksum is not None
        assert objects.is_symlink(bytes.fromhex(checksum)) is is_link


def test_what_is_not_there_is_missing(objects: Objects) -> None:
    with pytest.raises(Missing, match="directory object 00"):
        objects.listing(bytes(32))
    with pytest.raises(Missing, match="commit 00"):
        objects.root(Commit("0" * 64))
    with pytest.raises(Missing, match="file object 00"):
        objects.is_symlink(bytes(32))
