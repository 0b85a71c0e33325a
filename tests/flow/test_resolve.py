# SPDX-License-Identifier: LGPL-2.1-or-later
"""Resolve with real repositories: what is pinned, what fails, and whom it concerns."""

import os
import shutil
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.files import sha256_file
from pipeline.ports.git import Mirrors
from pipeline.ports.log import ListSink, Log
from pipeline.stages.resolve import ResolveRequest, ResolveResult, resolve
from pipeline.words.errors import BadInput, Failed, Trouble
from pipeline.words.manifest import Base, BaseKind, Child, Component, Manifest, Source, SourceKind
from pipeline.words.refs import Key, Revision
from pipeline.words.snapshot import BasePin
from tests.repos import GitRepo, closed_port, git_repo, git_source


def manifest(*components: Component, patches: Source | None = None) -> Manifest:
    return Manifest(
        osname="os",
        base=Base(name="debian", kind=BaseKind.DEBIAN),
        components=components,
        targets=(),
        patches=patches,
    )


def run(given: Manifest, mirrors: Mirrors, log: Log, **options: object) -> ResolveResult:
    base = BasePin(key=Key("0" * 64))
    request = ResolveRequest(manifest=given, base=base, **options)  # type: ignore[arg-type]
    return resolve(request, mirrors=mirrors, log=log)


def asked(sink: ListSink) -> int:
    return sum(1 for text in sink.texts() if text.startswith("$ git ls-remote"))


def test_every_failure_is_told_and_concerns_its_component_alone(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    archive = tmp_path / "a.tar"
    archive.write_text("x")
    dead = git_source(f"http://127.0.0.1:{closed_port()}/dead.git")
    wrong = Source(kind=SourceKind.TARBALL, location=str(archive), checksum="0" * 64)
    found = run(
        manifest(
            Component(name="good", source=git_source(upstream)),
            Component(name="dead", source=dead),
            Component(name="branch", source=git_source(upstream, branch="none")),
            Component(name="tag", source=git_source(upstream, tag="v9")),
            Component(name="sum", source=wrong),
        ),
        mirrors,
        log,
    )
    assert list(found.snapshot.pins) == ["good"]
    assert found.unresolved == {"dead", "branch", "tag", "sum"}
    kinds = {name: type(error) for name, error in found.failures.items()}
    assert kinds == {"dead": Trouble, "branch": Failed, "tag": Failed, "sum": Failed}
    assert "there is no branch none" in str(found.failures["branch"])
    assert "has the checksum" in str(found.failures["sum"])


def test_a_repository_is_asked_once_however_many_want_it(
    mirrors: Mirrors, log: Log, upstream: GitRepo, sink: ListSink
) -> None:
    upstream.git("branch", "stable")
    upstream.git("tag", "v1")
    kinds = [{"branch": "main"}, {"branch": "stable"}, {"tag": "v1"}]
    components = [
        Component(name=f"c{n}", source=git_source(upstream, **kind)) for n, kind in enumerate(kinds)
    ]
    tests = replace(components[0], name="c0-installed-tests", generated_from="c0")
    found = run(manifest(*components, tests), mirrors, log)
    assert not found.failures
    assert found.snapshot.pins["c0-installed-tests"] == found.snapshot.pins["c0"]
    assert asked(sink) == 1


def test_only_what_is_named_is_fetched_and_what_is_not_here_yet(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    other = git_repo(tmp_path / "up" / "other")
    both = [
        Component(name="zlib", source=git_source(upstream)),
        Component(name="other", source=git_source(other)),
    ]
    first = run(manifest(*both), mirrors, log, fetch=frozenset({"zlib"}))
    assert set(first.snapshot.pins) == {"zlib", "other"}
    upstream.commit("new", file_txt="2\n")
    other.commit("new", file_txt="2\n")
    second = run(manifest(*both), mirrors, log, fetch=frozenset({"zlib"}))
    assert second.snapshot.pins["zlib"].subject == "new"
    assert second.snapshot.pins["other"].subject == "first"


def test_an_unchanged_snapshot_has_the_same_digest(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    given = manifest(Component(name="zlib", source=git_source(upstream)))
    first = run(given, mirrors, log).snapshot.digest
    upstream.git("tag", "-a", "v1", "-m", "a tag on nothing new")
    assert run(given, mirrors, log).snapshot.digest == first
    upstream.commit("new", file_txt="2\n")
    assert run(given, mirrors, log).snapshot.digest != first


def test_an_override_takes_the_working_copy_without_patches_and_children(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    dead = git_source(f"http://127.0.0.1:{closed_port()}/dead.git", tag="v1")
    component = Component(
        name="zlib",
        source=dead,
        patches=("none.patch",),
        children=(Child(name="child", source=dead),),
    )
    tests = Component(name="zlib-installed-tests", source=dead, generated_from="zlib")
    found = run(manifest(component, tests), mirrors, log, overrides={"zlib": upstream.path})
    assert not found.failures
    assert found.snapshot.pins["zlib"].local
    taken = found.snapshot.manifest.component("zlib")
    assert (taken.source.kind, taken.source.tag) == (SourceKind.LOCAL, "")
    assert (taken.patches, taken.children) == ((), ())
    assert found.snapshot.pins["zlib-installed-tests"].local


def test_patches_are_pinned_by_their_content(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    patches = git_repo(tmp_path / "up" / "patches")
    patches.commit("patch", **{"one_patch": "a\n"})
    component = Component(name="zlib", source=git_source(upstream), patches=("one.patch",))
    given = manifest(component, patches=git_source(patches))
    first = run(given, mirrors, log).snapshot
    patches.commit("another file", **{"two_patch": "b\n"})
    assert run(given, mirrors, log).snapshot.digest == first.digest
    patches.commit("changed", **{"one_patch": "c\n"})
    assert run(given, mirrors, log).snapshot.digest != first.digest
    assert len(first.pins["zlib"].patches["one.patch"]) == 64


def test_a_patch_that_is_not_there_is_the_manifests_mistake(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    patches = git_repo(tmp_path / "up" / "patches")
    found = run(
        manifest(
            Component(name="zlib", source=git_source(upstream), patches=("x.patch",), line=12),
            Component(name="other", source=git_source(upstream)),
            patches=git_source(patches),
        ),
        mirrors,
        log,
    )
    error = found.failures["zlib"]
    assert isinstance(error, BadInput)
    assert str(error) == "components.zlib.patches (line 12): there is no patch x.patch"
    assert set(found.snapshot.pins) == {"other"}


def test_a_dead_patch_server_concerns_all_that_have_patches(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    dead = git_source(f"http://127.0.0.1:{closed_port()}/patches.git")
    with_patches = [
        Component(name=name, source=git_source(upstream), patches=("x.patch",)) for name in "ab"
    ]
    found = run(
        manifest(*with_patches, Component(name="c", source=git_source(upstream)), patches=dead),
        mirrors,
        log,
    )
    assert {name: type(error) for name, error in found.failures.items()} == {
        "a": Trouble,
        "b": Trouble,
    }


def test_a_child_that_fails_fails_its_parent(mirrors: Mirrors, log: Log, upstream: GitRepo) -> None:
    child = Child(name="inner", source=git_source(upstream, branch="none"))
    component = Component(name="zlib", source=git_source(upstream), children=(child,))
    found = run(manifest(component), mirrors, log)
    assert "child inner" in str(found.failures["zlib"])
    assert "there is no branch none" in str(found.failures["zlib"])


def test_all_patches_that_are_missing_are_told_at_once(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    patches = git_repo(tmp_path / "up" / "patches")
    (patches.path / "all").mkdir()
    (patches.path / "all" / "good.patch").write_text("x")
    patches.commit("patches")
    child = Child(name="inner", source=git_source(upstream), patches=("c.patch",))
    component = Component(
        name="zlib",
        source=git_source(upstream),
        patches=("a.patch", "good.patch", "../b.patch"),
        children=(child,),
    )
    given = replace(manifest(component, patches=git_source(patches)), patches_subdir="all")
    error = run(given, mirrors, log).failures["zlib"]
    assert isinstance(error, BadInput)
    assert [one.message for one in error.problems] == [
        f"there is no patch all/{name}" for name in ("a.patch", "../b.patch", "c.patch")
    ]


def test_many_sources_are_fetched_at_once_within_the_bound(
    mirrors: Mirrors, log: Log, tmp_path: Path
) -> None:
    components = [
        Component(name=f"c{n}", source=git_source(git_repo(tmp_path / "up" / f"c{n}")))
        for n in range(6)
    ]
    at_once, most = 0, 0
    guard = threading.Lock()

    class Counting(Mirrors):
        def fetch(self, source: Source, *, max_age_s: float = 0.0) -> None:
            nonlocal at_once, most
            with guard:
                at_once += 1
                most = max(most, at_once)
            super().fetch(source, max_age_s=max_age_s)
            with guard:
                at_once -= 1

    found = run(manifest(*components), Counting(mirrors.root, log=log), log, jobs=3)
    assert not found.failures
    assert 1 < most <= 3


def test_the_same_is_resolved_to_the_same_on_two_machines(
    log: Log, upstream: GitRepo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "a.tar"
    subprocess.run(["tar", "-cf", archive, "-C", upstream.path, "file.txt"], check=True)
    checksum = sha256_file(archive)
    given = manifest(
        Component(name="git", source=git_source(upstream)),
        Component(
            name="tar",
            source=Source(kind=SourceKind.TARBALL, location=str(archive), checksum=checksum),
        ),
    )
    here = run(given, Mirrors(tmp_path / "here", log=log), log).snapshot
    for name, value in (("TZ", "Pacific/Kiritimati"), ("LC_ALL", "C"), ("LANG", "tr_TR.UTF-8")):
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        there = run(given, Mirrors(tmp_path / "there", log=log), log).snapshot
    finally:
        os.umask(before)
    assert here.pins == there.pins
    assert here.digest == there.digest


def test_a_branch_that_moves_to_another_commit_of_the_same_files_is_another_snapshot(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    given = manifest(Component(name="zlib", source=git_source(upstream)))
    first = run(given, mirrors, log).snapshot.pins["zlib"]
    upstream.commit("nothing but words")
    second = run(given, mirrors, log).snapshot.pins["zlib"]
    assert first.tree == second.tree and first.revision != second.revision


def test_an_override_that_is_not_there_fails_its_component_alone(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    both = [Component(name=name, source=git_source(upstream)) for name in ("a", "b")]
    found = run(manifest(*both), mirrors, log, overrides={"a": tmp_path / "none"})
    assert set(found.snapshot.pins) == {"b"}
    assert "there is no such directory" in str(found.failures["a"])


def test_a_server_that_comes_back_is_asked_again(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    given = manifest(Component(name="zlib", source=git_source(upstream)))
    gone = upstream.path.with_name("gone")
    upstream.path.rename(gone)
    assert isinstance(run(given, mirrors, log).failures["zlib"], Trouble)
    gone.rename(upstream.path)
    assert not run(given, mirrors, log).failures


def test_a_dead_server_is_not_hidden_by_what_was_fetched_before(
    mirrors: Mirrors, log: Log, upstream: GitRepo
) -> None:
    given = manifest(Component(name="zlib", source=git_source(upstream)))
    run(given, mirrors, log)
    upstream.path.rename(upstream.path.with_name("gone"))
    assert isinstance(run(given, mirrors, log).failures["zlib"], Trouble)
    offline = run(given, mirrors, log, offline=True)
    assert set(offline.snapshot.pins) == {"zlib"}


def test_offline_nothing_is_fetched_and_what_is_not_here_is_named(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path, sink: ListSink
) -> None:
    other = git_repo(tmp_path / "up" / "other")
    archive = tmp_path / "a.tar"
    archive.write_text("x")
    tarball = Source(kind=SourceKind.TARBALL, location=str(archive), checksum="1" * 64)
    here = Component(name="zlib", source=git_source(upstream))
    run(manifest(here), mirrors, log)
    upstream.git("branch", "later")
    sink.lines.clear()
    found = run(
        manifest(
            here,
            Component(name="other", source=git_source(other)),
            Component(name="later", source=git_source(upstream, branch="later")),
            Component(name="tarball", source=tarball),
            Component(name="copy", source=Source(kind=SourceKind.LOCAL, location=str(other.path))),
        ),
        mirrors,
        log,
        offline=True,
    )
    assert asked(sink) == 0
    assert set(found.snapshot.pins) == {"zlib", "copy"}
    assert all(type(error) is Trouble for error in found.failures.values())
    hints = {error.hint for error in found.failures.values()}
    assert hints == {"give the same command without --offline"}
    told = {name: str(error) for name, error in found.failures.items()}
    assert f"git:{other.path} was never fetched, and offline" in told["other"]
    assert told["later"].startswith(f"{upstream.path}: there is no branch later, and offline")
    assert f"tarball:{archive} was never fetched" in told["tarball"]


def test_a_submodule_whose_mirror_is_gone_is_named_offline_and_fetched_again_else(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    top = git_repo(tmp_path / "up" / "top")
    top.add_submodule("../zlib", "sub")
    given = manifest(Component(name="top", source=git_source(top)))
    first = run(given, mirrors, log)
    shutil.rmtree(mirrors.path(git_source(upstream)))
    offline = run(given, mirrors, log, offline=True)
    assert f"submodule sub, {upstream.path} at " in str(offline.failures["top"])
    again = run(given, mirrors, log, fetch=frozenset())
    assert again.snapshot.digest == first.snapshot.digest
    assert mirrors.path(git_source(upstream)).is_dir()


# From an earlier snapshot


def test_only_what_is_named_moves_and_only_to_where_it_is_told(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path, sink: ListSink
) -> None:
    other = git_repo(tmp_path / "up" / "other")
    given = manifest(
        Component(name="zlib", source=git_source(upstream)),
        Component(name="other", source=git_source(other)),
    )
    before = run(given, mirrors, log).snapshot
    wanted = upstream.commit("wanted", file_txt="2\n")
    upstream.commit("later", file_txt="3\n")
    other.commit("later", file_txt="3\n")
    sink.lines.clear()
    at = {git_source(upstream): Revision(wanted)}
    after = run(given, mirrors, log, fetch=frozenset(), known=before, at=at).snapshot
    assert after.pins["zlib"].revision == wanted
    assert after.pins["zlib"].subject == "wanted"
    assert after.pins["other"] == before.pins["other"]
    assert asked(sink) == 1, "only the mirror of what moves is fetched"


def test_a_source_within_another_moves_alone(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    outer = git_repo(tmp_path / "up" / "outer")
    child = Child(name="inner", source=git_source(upstream))
    given = manifest(Component(name="outer", source=git_source(outer), children=(child,)))
    before = run(given, mirrors, log).snapshot
    moved = upstream.commit("moved", file_txt="2\n")
    outer.commit("moved too", file_txt="2\n")
    at = {git_source(upstream): Revision(moved)}
    after = run(given, mirrors, log, fetch=frozenset(), known=before, at=at).snapshot
    assert after.pins["outer"].children["inner"].revision == moved
    assert after.pins["outer"].revision == before.pins["outer"].revision


def test_what_an_earlier_snapshot_lacks_is_fetched(
    mirrors: Mirrors, log: Log, upstream: GitRepo, tmp_path: Path
) -> None:
    other = git_repo(tmp_path / "up" / "other")
    zlib = Component(name="zlib", source=git_source(upstream))
    before = run(manifest(zlib), mirrors, log).snapshot
    mirrors.fetch(git_source(other))
    new = other.commit("new", file_txt="2\n")
    both = manifest(zlib, Component(name="other", source=git_source(other)))
    after = run(both, mirrors, log, fetch=frozenset(), known=before).snapshot
    assert after.pins["other"].revision == new, "not what the mirror had"
    assert after.pins["zlib"] == before.pins["zlib"]


def test_patches_move_by_themselves(mirrors: Mirrors, log: Log, upstream: GitRepo) -> None:
    patches = git_repo(upstream.path.parent / "patches", a_patch="1\n")
    zlib = Component(name="zlib", source=git_source(upstream), patches=("a.patch",))
    given = replace(manifest(zlib), patches=git_source(patches))
    before = run(given, mirrors, log).snapshot
    upstream.commit("later", file_txt="2\n")
    moved = patches.commit("moved", a_patch="2\n")
    at = {git_source(patches): Revision(moved)}
    after = run(given, mirrors, log, fetch=frozenset(), known=before, at=at).snapshot
    assert after.pins["zlib"].revision == before.pins["zlib"].revision
    assert after.pins["zlib"].patches != before.pins["zlib"].patches
    assert after.patches is not None and after.patches.revision == moved
