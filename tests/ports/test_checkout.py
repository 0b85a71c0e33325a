# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a component is built of: its source, children, submodules and patches, always the same."""

import json
import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.checkout import META, check_out
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.stages.resolve import ResolveRequest, resolve
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Base, BaseKind, Child, Component, Manifest, Source, SourceKind
from pipeline.words.refs import Key
from pipeline.words.snapshot import BasePin, Snapshot
from tests.repos import GitRepo, git_repo, git_source


@pytest.fixture
def upstream(tmp_path: Path) -> GitRepo:
    text = "".join(f"line {number}\n" for number in range(20))
    return git_repo(tmp_path / "up" / "zlib", file_txt=text)


@pytest.fixture
def patches(tmp_path: Path, upstream: GitRepo) -> GitRepo:
    """Two patches that go on one another's result; the branch then moves under them."""
    text = (upstream.path / "file.txt").read_text()
    made = git_repo(tmp_path / "up" / "patches")
    one = text.replace("line 3\n", "patched 3\n")
    (made.path / "one.patch").write_bytes(upstream.patch(file_txt=one))
    (made.path / "other.patch").write_bytes(
        upstream.patch(file_txt=text.replace("line 16\n", "patched 16\n"))
    )
    made.commit("patches")
    return made


def snapshot_of(
    component: Component, mirrors: Mirrors, log: Log, patches: GitRepo | Source | None = None
) -> Snapshot:
    manifest = Manifest(
        osname="os",
        base=Base(name="debian", kind=BaseKind.DEBIAN),
        components=(component,),
        targets=(),
        patches=git_source(patches) if isinstance(patches, GitRepo) else patches,
    )
    request = ResolveRequest(manifest=manifest, base=BasePin(key=Key("0" * 64)))
    result = resolve(request, mirrors=mirrors, log=log)
    assert not result.failures, result.failures
    return result.snapshot


def content(top: Path) -> dict[str, tuple[str, bool]]:
    return {
        str(path.relative_to(top)): (path.read_text(), os.access(path, os.X_OK))
        for path in sorted(top.rglob("*"))
        if path.is_file() and ".git" not in path.parts
    }


def test_patches_are_applied_one_after_the_other(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    names = ("one.patch", "other.patch")
    component = Component(name="zlib", source=git_source(upstream), patches=names)
    check_out(
        component,
        snapshot_of(component, mirrors, log, patches),
        tmp_path / "out",
        mirrors=mirrors,
        log=log,
    )
    text = (tmp_path / "out" / "file.txt").read_text()
    assert "patched 3\n" in text and "patched 16\n" in text
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [META, "file.txt"]


def test_a_patch_falls_back_on_the_blobs_it_was_made_of(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    old = (upstream.path / "file.txt").read_text()
    upstream.commit("moved", file_txt="new\n" * 40 + old.replace("line 5\n", "changed 5\n"))
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    text = (tmp_path / "out" / "file.txt").read_text()
    assert "patched 3\n" in text and "changed 5\n" in text


def test_a_patch_that_does_not_apply_is_named_with_the_conflict(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    text = (upstream.path / "file.txt").read_text()
    upstream.commit("theirs", file_txt=text.replace("line 3\n", "theirs 3\n"))
    names = ("other.patch", "one.patch")
    component = Component(name="zlib", source=git_source(upstream), patches=names)
    snapshot = snapshot_of(component, mirrors, log, patches)
    with pytest.raises(Failed, match=r"the patch one\.patch does not apply") as conflict:
        check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert conflict.value.where == "zlib"
    assert "CONFLICT (content): Merge conflict in file.txt" in conflict.value.what
    assert "git format-patch" in conflict.value.hint


def test_children_come_inside_under_their_names_with_their_own_patches(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    parent = git_repo(tmp_path / "up" / "config", config_mk="x\n")
    child = Child(name="zlib", source=git_source(upstream), patches=("one.patch",))
    component = Component(name="config", source=git_source(parent), children=(child,))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert (tmp_path / "out" / "config.mk").exists()
    assert "patched 3\n" in (tmp_path / "out" / "zlib" / "file.txt").read_text()


def test_a_child_does_not_replace_a_file_of_its_parent(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    parent = git_repo(tmp_path / "up" / "config", zlib="a file\n")
    child = Child(name="zlib", source=git_source(upstream))
    component = Component(name="config", source=git_source(parent), children=(child,))
    snapshot = snapshot_of(component, mirrors, log)
    with pytest.raises(Failed, match="has a file where its child zlib goes"):
        check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)


def test_a_patched_source_keeps_its_submodules(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    upstream.add_submodule(str(git_repo(tmp_path / "up" / "inner", in_txt="i\n").path), "sub")
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert (tmp_path / "out" / "sub" / "in.txt").read_text() == "i\n"


def test_patches_go_on_a_working_copy_and_leave_it_alone(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    source = Source(kind=SourceKind.LOCAL, location=str(upstream.path))
    component = Component(name="zlib", source=source, patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    before = content(upstream.path)["file.txt"]
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert "patched 3\n" in (tmp_path / "out" / "file.txt").read_text()
    assert content(upstream.path)["file.txt"] == before
    assert not (tmp_path / "out" / ".git").exists()


def test_a_patch_that_changed_since_it_was_resolved_is_refused(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    pin = replace(snapshot.pins["zlib"], patches={"one.patch": "0" * 64})
    other = replace(snapshot, pins={"zlib": pin})
    with pytest.raises(Failed, match=r"one\.patch was changed since it was resolved"):
        check_out(component, other, tmp_path / "out", mirrors=mirrors, log=log)


def test_the_same_snapshot_gives_the_same_files_for_whomever(
    mirrors: Mirrors,
    log: Log,
    upstream: GitRepo,
    patches: GitRepo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "one", mirrors=mirrors, log=log)
    evil = tmp_path / "home"
    evil.mkdir()
    (evil / ".gitconfig").write_text("[core]\n\tautocrlf = true\n[user]\n\tname = Other\n")
    monkeypatch.setenv("HOME", str(evil))
    monkeypatch.setenv("GIT_AUTHOR_NAME", "Other")
    again = Mirrors(tmp_path / "other-mirrors", log=log)
    other = snapshot_of(component, again, log, patches)
    check_out(component, other, tmp_path / "two", mirrors=again, log=log)
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert other.digest == snapshot.digest


def stats(top: Path) -> dict[str, tuple[str, int]]:
    """Tell mode and time of everything."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        found[str(path.relative_to(top))] = (stat.filemode(status.st_mode), int(status.st_mtime))
    return found


@pytest.fixture
def large(upstream: GitRepo, tmp_path: Path) -> Component:
    """A component with all there can be: patches, submodules, children, a program, a link."""
    program = upstream.path / "bin" / "program"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o775)
    (upstream.path / "link").symlink_to("bin/program")
    upstream.commit("program")
    upstream.add_submodule(str(git_repo(tmp_path / "up" / "inner", in_txt="i\n").path), "sub")
    child = git_repo(tmp_path / "up" / "child", file_txt=(upstream.path / "file.txt").read_text())
    return Component(
        name="zlib",
        source=git_source(upstream),
        patches=("one.patch",),
        children=(
            Child(name="child", source=git_source(child), patches=("one.patch",)),
            Child(name="copy", source=Source(kind=SourceKind.LOCAL, location=str(child.path))),
        ),
    )


def test_neither_the_time_nor_the_umask_of_a_checkout_can_be_seen(
    mirrors: Mirrors, log: Log, patches: GitRepo, large: Component, tmp_path: Path
) -> None:
    snapshot = snapshot_of(large, mirrors, log, patches)
    found = []
    for number, umask in enumerate((0o077, 0o002)):
        before = os.umask(umask)
        try:
            check_out(large, snapshot, tmp_path / str(number), mirrors=mirrors, log=log)
        finally:
            os.umask(before)
        found.append(stats(tmp_path / str(number)))
        (tmp_path / "up" / "child" / "file.txt").chmod(0o664)
    assert found[0] == found[1]
    assert found[0]["bin/program"] == ("-rwxr-xr-x", 1700000000)
    assert found[0]["copy/file.txt"] == ("-rw-r--r--", 1700000000)
    assert found[0]["sub"] == ("drwxr-xr-x", 1700000000)
    assert found[0]["link"][0] == "lrwxrwxrwx"


def test_files_of_another_user_can_be_patched(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root to give files to somebody else")
    subprocess.run(["chown", "-R", "12345:12345", upstream.path], check=True)
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert "patched 3\n" in (tmp_path / "out" / "file.txt").read_text()


def test_a_developers_own_attributes_change_nothing(
    mirrors: Mirrors,
    log: Log,
    upstream: GitRepo,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = tmp_path / "home" / ".config" / "git"
    own.mkdir(parents=True)
    (own / "attributes").write_text("* text eol=crlf\n")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    component = Component(name="zlib", source=git_source(upstream))
    snapshot = snapshot_of(component, mirrors, log)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert b"\r" not in (tmp_path / "out" / "file.txt").read_bytes()


BAD_PATCHES = {
    "plain": (
        b"--- a/file.txt\n+++ b/file.txt\n@@ -1,2 +1,2 @@\n-line 0\n+new 0\n line 1\n",
        "has no author and subject",
    ),
    "empty": (b"", "has no author and subject"),
    "prose": (b"a note, and no patch at all\n", "has no author and subject"),
    "letter": (b"From: a <a@b>\nSubject: x\n\nno diff\n", "does not apply: .*empty"),
    "outside": (
        b"From: a <a@b>\nSubject: x\n\n---\ndiff --git a/../x b/../x\nnew file mode 100644\n"
        b"--- /dev/null\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n",
        "does not apply: .*(invalid path|bad git-diff)",
    ),
    "hook": (
        b"From: a <a@b>\nSubject: x\n\n---\ndiff --git a/.git/hooks/x b/.git/hooks/x\n"
        b"new file mode 100755\n--- /dev/null\n+++ b/.git/hooks/x\n@@ -0,0 +1 @@\n+x\n",
        "does not apply: .*invalid path",
    ),
}


@pytest.mark.parametrize("name", BAD_PATCHES)
def test_what_is_no_patch_that_git_takes_is_refused(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path, name: str
) -> None:
    text, told = BAD_PATCHES[name]
    (patches.path / "bad.patch").write_bytes(text)
    patches.commit("bad")
    component = Component(name="zlib", source=git_source(upstream), patches=("bad.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    with pytest.raises(Failed, match=rf"the patch bad\.patch {told}") as refused:
        check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert refused.value.where == "zlib"
    assert "git format-patch" in refused.value.hint
    assert not (tmp_path / "x").exists()


def test_patches_may_lie_in_a_working_copy(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    source = Source(kind=SourceKind.LOCAL, location=str(patches.path))
    snapshot = snapshot_of(component, mirrors, log, source)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert "patched 3\n" in (tmp_path / "out" / "file.txt").read_text()
    (patches.path / "one.patch").write_text("changed since\n")
    with pytest.raises(Failed, match=r"one\.patch was changed since it was resolved"):
        check_out(component, snapshot, tmp_path / "again", mirrors=mirrors, log=log)
    (patches.path / "one.patch").unlink()
    with pytest.raises(Trouble, match=r"one\.patch is gone since it was resolved"):
        check_out(component, snapshot, tmp_path / "third", mirrors=mirrors, log=log)


def test_a_file_of_dos_is_patched_as_it_is(
    mirrors: Mirrors, log: Log, upstream: GitRepo, patches: GitRepo, tmp_path: Path
) -> None:
    (upstream.path / "dos.txt").write_bytes(b"one\r\ntwo\r\n")
    upstream.commit("dos")
    (upstream.path / "dos.txt").write_bytes(b"one\r\n2\r\n")
    (patches.path / "dos.patch").write_bytes(upstream.patch())
    patches.commit("dos")
    component = Component(name="zlib", source=git_source(upstream), patches=("dos.patch",))
    snapshot = snapshot_of(component, mirrors, log, patches)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert (tmp_path / "out" / "dos.txt").read_bytes() == b"one\r\n2\r\n"


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_the_meta_file_takes_the_place_of_what_is_there(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path, kind: str
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    if kind == "link":
        (upstream.path / META).symlink_to(outside)
    else:
        (upstream.path / META).mkdir()
        (upstream.path / META / "file").write_text("x")
    upstream.commit("meta")
    component = Component(name="zlib", source=git_source(upstream))
    snapshot = snapshot_of(component, mirrors, log)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    assert json.loads((tmp_path / "out" / META).read_text())["name"] == "zlib"
    assert outside.read_text() == "x"


def test_a_source_that_is_nested_beyond_all_sense_is_refused(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    deep = upstream.path.joinpath(*["d"] * 220)
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    upstream.commit("deep")
    component = Component(name="zlib", source=git_source(upstream))
    snapshot = snapshot_of(component, mirrors, log)
    with pytest.raises(Failed, match="nested deeper than 200"):
        check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)


def test_the_original_meta_file_tells_the_revision(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    component = Component(name="zlib", source=git_source(upstream))
    snapshot = snapshot_of(component, mirrors, log)
    check_out(component, snapshot, tmp_path / "out", mirrors=mirrors, log=log)
    found = json.loads((tmp_path / "out" / META).read_text())
    assert found["name"] == "zlib"
    assert found["revision"] == upstream.git("rev-parse", "HEAD")
