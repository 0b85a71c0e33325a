# SPDX-License-Identifier: LGPL-2.1-or-later
"""A try on what a server has promoted: verified, built only where it differs, never promoted."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.house import SETTINGS, House
from pipeline.cli.serving import publish_key, serving
from pipeline.ports.gpg import Keyring
from pipeline.ports.log import Log
from pipeline.ports.static_http import answering
from pipeline.words.published import LIST, index_name
from pipeline.words.refs import buildmaster_ref, try_ref
from pipeline.words.verdict import SuiteResult, Verdict
from tests.cheap import NO_KERNEL, OSNAME, TREE, Cheap
from tests.repos import GitRepo
from tests.work import run_ostci

BAD_INPUT, TROUBLE = 2, 3
COMPONENTS = {"one": 0.0, "two": 0.0, "three": 0.0, "four": 0.0}


def promote(work: Cheap) -> str:
    """Run, and promote as if the tests had passed; tells the run."""
    work.ostci("run", code=NO_KERNEL)
    house = work.house()
    version = house.workdir.versions()[-1]
    trees = json.loads(house.workdir.run(version).file("trees").read_text())["trees"]
    for tree in trees:
        commit, verdict = tree["commit"], Verdict.PASSED
        passed = SuiteResult(suite="smoke", tree=tree["name"], commit=commit, verdict=verdict)
        house.ledger.record_suite(version, passed)
    house.ledger.close()
    work.ostci("promote", "--run", version)
    return version


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cheap]:
    """An OS of four components of which one tree is promoted, with its artifacts."""
    found = Cheap(tmp_path_factory.mktemp("server"), **COMPONENTS)
    with (found.root / SETTINGS).open("a") as settings:
        settings.write("artifacts = true\n")
    promote(found)
    yield found
    found.kill_children()


@pytest.fixture
def url(server: Cheap) -> Iterator[str]:
    """What ``ostci serve`` serves of it."""
    with serving(server.house(), "127.0.0.1:0") as place:
        yield place


@pytest.fixture
def copy(server: Cheap, tmp_path: Path) -> Path:
    """All that a web server would have, to be spoilt."""
    house, place = server.house(), tmp_path / "www"
    publish_key(house)
    shutil.copytree(house.workdir.published, place)
    shutil.copytree(house.archive.path, place / "repo", symlinks=True)
    return place


@contextmanager
def web(place: Path) -> Iterator[str]:
    """Serve files as they are, as any web server does."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(place))

        def log_message(self, *_words: object) -> None:
            return

    with answering(ThreadingHTTPServer(("127.0.0.1", 0), Handler), "127.0.0.1") as found:
        yield f"http://{found}"


def changed(server: Cheap, place: Path, name: str = "one") -> str:
    """Clone a component and change it without a commit; tells what to try."""
    subprocess.run(["git", "clone", "--quiet", server.sources / name, place], check=True)
    script = place / "build.sh"
    script.write_text(script.read_text() + f"echo mine > $DESTDIR/usr/share/cheap/{name}\n")
    return f"{name}={place}"


def tried(laptop: Path, *words: str) -> dict[str, Any]:
    """Try something on a laptop; it comes as far as this OS can."""
    said = run_ostci(laptop, "try", *words, "--json", code=NO_KERNEL)
    found: dict[str, Any] = json.loads(said.out)
    assert "kernel" in found["message"], found
    return found


def refused(laptop: Path, *words: str, code: int) -> str:
    """Try what must not be tried; tells what was said."""
    return run_ostci(laptop, "try", *words, code=code).err


def test_a_laptop_with_nothing_builds_what_differs_and_keeps_the_rest(
    server: Cheap, url: str, tmp_path: Path
) -> None:
    laptop = tmp_path / "laptop"
    what = changed(server, tmp_path / "mine")
    away = server.sources.with_name("away")
    server.sources.rename(away)  # no source is needed but that of what is tried
    try:
        told = tried(laptop, "--from", url, "--trust", what)
    finally:
        away.rename(server.sources)
    assert list(told["rebuilt"]) == ["one"] and told["kept"] == len(COMPONENTS) - 1
    assert told["server"] == url and told["start"] == server.house().workdir.versions()[-1]
    house = House(laptop, log=Log())
    (tree,) = told["trees"]
    assert tree["ref"] == try_ref(OSNAME, told["run"], TREE)
    assert house.repo.read(tree["commit"], "/usr/share/cheap/one") == b"mine\n"
    info = house.repo.info(tree["commit"])
    assert info.bindings == (tree["ref"],)
    promoted = server.house().archive.need(buildmaster_ref(OSNAME, TREE))
    assert info.parent == promoted
    diff = run_ostci(laptop, "diff", promoted, tree["commit"]).out
    assert "/usr/share/cheap/one" in diff and "/usr/share/cheap/two" not in diff
    for repo in (house.repo, house.archive):
        assert not any(buildmaster_ref(OSNAME, TREE) == ref for ref in repo.refs())
    said = run_ostci(laptop, "promote", "--run", told["run"], code=1).err
    assert "a try is never promoted" in said
    # Nothing that was taken is anybody else's.
    assert all(f"/try/{told['run']}/" in ref for ref in house.repo.refs())
    house.repo.fsck()
    # Once more: the server is remembered, and nothing is pulled again.
    again = tried(laptop, what)
    assert list(again["rebuilt"]) == ["one"] and again["server"] == url
    assert ", 0 commits pulled" in run_ostci(laptop, "log", again["run"]).out
    run_ostci(laptop, "clean", "--keep", "1")
    refs = House(laptop, log=Log()).repo.refs()
    assert refs and all(f"/try/{again['run']}/" in ref for ref in refs)


def test_a_branch_is_tried_and_a_tree_that_is_named(
    server: Cheap, url: str, tmp_path: Path
) -> None:
    laptop = tmp_path / "laptop"
    key = tmp_path / "key.gpg"
    key.write_bytes(server.house().keyring.export())
    GitRepo(server.sources / "two").git("branch", "--force", "topic")
    version = server.house().workdir.versions()[-1]
    commit = server.house().archive.need(buildmaster_ref(OSNAME, TREE))
    words = ("--from", url, "--key", str(key))
    told = tried(laptop, *words, "two=topic", "--rebuild", "three", "--tree", commit[:12])
    assert list(told["rebuilt"]) == ["three"] and told["start"] == version
    said = refused(laptop, "--from", url, "--tree", "20200101.0", code=BAD_INPUT)
    assert "it has no artifacts of 20200101.0" in said and f"it has {version}" in said


def test_a_key_is_trusted_because_a_person_says_so(server: Cheap, url: str, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"
    (fingerprint,) = server.house().keyring.fingerprints
    said = refused(laptop, "--from", url, code=BAD_INPUT)
    assert "no key is trusted for it yet" in said and fingerprint in said
    other = Keyring(tmp_path / "k", log=Log())
    other.ensure("somebody else")
    foreign = tmp_path / "other.gpg"
    foreign.write_bytes(other.export())
    said = refused(laptop, "--from", url, "--key", str(foreign), code=TROUBLE)
    assert "none of the keys that are trusted here has signed it" in said
    said = refused(laptop, "--from", url, code=BAD_INPUT)
    assert "no key is trusted for it yet" in said, "a key that has signed nothing is not kept"
    (tmp_path / "no.gpg").write_text("no key\n")
    said = refused(laptop, "--from", url, "--key", str(tmp_path / "no.gpg"), code=BAD_INPUT)
    assert "it holds no public key" in said
    assert not House(laptop, log=Log()).workdir.versions()


def test_a_server_that_lies_is_not_believed(server: Cheap, copy: Path, tmp_path: Path) -> None:
    laptop = tmp_path / "laptop"
    key = tmp_path / "key.gpg"
    key.write_bytes(server.house().keyring.export())
    version = server.house().workdir.versions()[-1]
    index = copy / f"{index_name(version)}.asc"
    good = index.read_text()
    with web(copy) as url:
        words = ("--from", url, "--key", str(key))
        # The index is changed.
        index.write_text(good.replace('"component": "two"', '"component": "one"'))
        assert "has signed it: BAD signature" in refused(laptop, *words, code=TROUBLE)
        # It is signed, but something else is.
        index.write_text((copy / f"{LIST}.asc").read_text())
        assert "not a PublishedRun" in refused(laptop, *words, code=TROUBLE)
        # Something stands before what is signed.
        index.write_text("{}\n" + good)
        assert "it is no signed text" in refused(laptop, *words, code=TROUBLE)
        index.write_text(good)
        # An object is another one.
        some = max((copy / "repo" / "objects").rglob("*.filez"), key=os.path.getsize)
        kept = some.read_bytes()
        some.write_bytes(kept[: len(kept) // 2])
        assert "cannot pull" in refused(laptop, *words, code=TROUBLE)
        some.write_bytes(kept)
        # One is missing.
        part = json.loads(index.with_suffix("").read_text())["artifacts"][1]["commits"]["runtime"]
        commit = copy / "repo" / "objects" / part[:2] / f"{part[2:]}.commit"
        commit.unlink()
        said = refused(tmp_path / "other", *words, code=TROUBLE)
        assert "cannot pull" in said and "thrown old artifacts away" in said
        # It is not there at all.
        index.unlink()
        assert "the server has no such file" in refused(laptop, *words, code=TROUBLE)
        (copy / f"{LIST}.asc").unlink()
        said = refused(laptop, *words, code=TROUBLE)
        assert "it publishes no artifacts" in said and "artifacts = true" in said
    assert "the server does not answer" in refused(laptop, *words, code=TROUBLE)
    nowhere = tmp_path / "nowhere"
    assert "does not answer" in refused(nowhere, *words, code=TROUBLE)
    assert not nowhere.exists(), "for a server that is none, nothing is made"
    assert "not the address of a server" in refused(nowhere, "--from", "ftp://x", code=BAD_INPUT)


def test_a_server_that_shows_less_than_before_is_not_taken_for_the_newest(
    server: Cheap, copy: Path, tmp_path: Path
) -> None:
    laptop = tmp_path / "laptop"
    old = server.house().workdir.versions()[-1]
    what = changed(server, tmp_path / "mine")
    shutil.copytree(copy, tmp_path / "old", symlinks=True)
    server.change("four")
    new = promote(server)
    shutil.copytree(server.house().workdir.published, copy, dirs_exist_ok=True)
    shutil.copytree(server.house().archive.path, copy / "repo", dirs_exist_ok=True)
    with web(copy) as url:
        assert tried(laptop, "--from", url, "--trust", what)["start"] == new
        shutil.rmtree(copy)
        (tmp_path / "old").rename(copy)
        said = refused(laptop, what, code=TROUBLE)
        assert f"its newest run is {old}, and it was {new} before" in said
        told = tried(laptop, "four=master", "--tree", old)
        assert "it serves old things" in refused(laptop, what, code=TROUBLE), "it is not forgotten"
    assert told["start"] == old and list(told["rebuilt"]) == ["four"]
    mine = House(laptop, log=Log()).repo.info(told["trees"][0]["commit"])
    theirs = server.house().archive.info(buildmaster_ref(OSNAME, TREE))
    assert mine.content == theirs.content, "what is built on its artifacts is what it has built"


def test_what_is_to_be_built_here_needs_its_source_and_says_so(
    server: Cheap, url: str, tmp_path: Path
) -> None:
    laptop = tmp_path / "laptop"
    away = server.sources.with_name("away")
    server.sources.rename(away)
    try:
        words = ("try", "--from", url, "--trust", "--rebuild", "two", "--json")
        said = run_ostci(laptop, *words, code=TROUBLE)
        assert json.loads(said.out)["trees"] == []
        assert "its source cannot be had; give one of your own: COMPONENT=DIR" in said.err
        assert "cannot be fetched" in refused(laptop, "two=topic", code=TROUBLE)
    finally:
        away.rename(server.sources)
    # Its branch was rewritten, and the revision that is promoted is only in the server's mirror.
    repo = GitRepo(server.sources / "two")
    gone = repo.git("rev-parse", "HEAD").strip()
    repo.git("commit", "--quiet", "--amend", "--message", "rewritten")
    repo.git("branch", "--force", "topic")
    repo.git("reflog", "expire", "--expire=now", "--all")
    repo.git("gc", "--quiet", "--prune=now")
    what = changed(server, tmp_path / "mine")
    assert list(tried(laptop, what)["rebuilt"]) == ["one"], "kept is what nobody can fetch"
    said = run_ostci(laptop, "try", "--rebuild", "two", code=TROUBLE)
    assert "its source cannot be had" in said.err
    assert "no branch or revision" in refused(laptop, f"two={gone}", code=BAD_INPUT)


def test_clean_leaves_the_newest_artifacts_and_takes_the_rest(server: Cheap) -> None:
    server.change("three")
    newest = promote(server)
    house = server.house()
    stored = [ref for ref in house.archive.refs() if "/keys/" in ref]
    listed = json.loads((house.workdir.published / LIST).read_text())["runs"]
    assert listed[0]["run"] == newest and len(listed) > 1
    told = server.ostci("clean", "--keep", "1", "--dry-run").out
    assert f"published artifacts of run {listed[1]['run']}" in told
    server.ostci("clean", "--keep", "1")
    left = [ref for ref in house.archive.refs() if "/keys/" in ref]
    assert len(left) < len(stored)
    listed = json.loads((house.workdir.published / LIST).read_text())["runs"]
    assert [one["run"] for one in listed] == [newest]
    for ref in house.archive.refs():
        assert house.archive.has_commit(house.archive.need(ref))
    house.archive.fsck()
    summary = house.archive.run("summary", "--view").text
    assert "/keys/" not in summary and buildmaster_ref(OSNAME, TREE) in summary
    server.check_whole()
