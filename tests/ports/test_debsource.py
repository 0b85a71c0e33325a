# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's source packages, from Debian's own servers: verified, unpacked and made git."""

import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from pipeline.ports.git import Mirrors
from pipeline.ports.log import ListSink, Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from tests.repos import closed_port

pytestmark = pytest.mark.slow
HELLO = Source(kind=SourceKind.DEBIAN, location="hello")


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lists and packages that these tests share."""
    return tmp_path_factory.mktemp("downloads")


def test_the_newest_of_the_suite_is_imported_the_same_everywhere(
    tmp_path: Path, downloads: Path, log: Log, sink: ListSink
) -> None:
    found = []
    for name in ("here", "there"):
        mirrors = Mirrors(tmp_path / name, log=log, downloads=downloads)
        mirrors.fetch(HELLO)
        found.append(mirrors.pin(HELLO))
    assert found[0] == found[1]
    assert found[0].subject.startswith("hello 2.")
    assert found[0].commit_time > 1500000000
    mirrors.check_out(HELLO, found[0], tmp_path / "out")
    assert (tmp_path / "out" / "configure").is_file()
    assert (tmp_path / "out" / "debian" / "changelog").is_file()
    assert not (tmp_path / "out" / ".pc").exists()
    version = found[0].subject.split()[1]
    named = Source(kind=SourceKind.DEBIAN, location="hello", versions=(version,))
    mirrors.fetch(named)
    assert mirrors.pin(named).tree == found[0].tree
    before = len(sink.texts())
    mirrors.fetch(named)
    assert not any("apt-get" in text for text in sink.texts()[before:])


def is_on_the_mirror(suite: str) -> bool:
    """Tell whether a suite is where those are that are cared for."""
    try:
        place = f"http://deb.debian.org/debian/dists/{suite}/Release"
        urllib.request.urlopen(place, timeout=60).close()
    except urllib.error.HTTPError as error:
        return error.code != 404
    except OSError:
        return True  # whoever wants to know why asks it himself
    return True


def test_versions_of_two_suites_become_a_history(tmp_path: Path, downloads: Path, log: Log) -> None:
    suites = ("bookworm", "bullseye")
    for suite in suites:
        if not is_on_the_mirror(suite):
            pytest.skip(f"{suite} has left the mirror for Debian's archive of old releases")
    lines = tuple(f"deb http://deb.debian.org/debian {suite} main" for suite in suites)
    mirrors = Mirrors(tmp_path / "mirrors", log=log, downloads=downloads, debian_mirrors=lines)
    both = Source(kind=SourceKind.DEBIAN, location="hello", versions=("2.10-2", "2.10-3"))
    mirrors.fetch(both)
    pin = mirrors.pin(both)
    assert pin.subject == "hello 2.10-3"
    argv = ["git", "--git-dir", str(mirrors.path(both)), "log", "--format=%s %H", pin.revision]
    history = subprocess.run(argv, capture_output=True, text=True).stdout.splitlines()
    assert [line.rpartition(" ")[0] for line in history] == ["hello 2.10-3", "hello 2.10-2"]
    old = Source(kind=SourceKind.DEBIAN, location="hello", versions=("2.10-2",))
    mirrors.fetch(old)
    between = mirrors.log_between(both, mirrors.pin(old).revision, pin.revision)
    assert [one.subject for one in between] == ["hello 2.10-3"]
    assert "debian/changelog" in mirrors.diffstat(both, mirrors.pin(old).revision, pin.revision)


def test_what_a_killed_import_left_is_cleared_away(
    tmp_path: Path, downloads: Path, log: Log
) -> None:
    mirrors = Mirrors(tmp_path / "mirrors", log=log, downloads=downloads)
    mirrors.fetch(HELLO)
    repository = mirrors.path(HELLO)
    revision = mirrors.pin(HELLO).revision
    for ref in ("refs/heads/newest", *_refs(repository, "refs/imports")):
        subprocess.run(["git", "--git-dir", repository, "update-ref", "-d", ref], check=True)
    for name in ("ostci-index.lock", "refs/heads/newest.lock", "packed-refs.lock"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("")
    (repository.with_suffix(".unpacking") / "tree" / "half").mkdir(parents=True)
    mirrors.fetch(HELLO)
    assert mirrors.pin(HELLO).revision == revision


def _refs(repository: Path, under: str) -> list[str]:
    argv = ["git", "--git-dir", str(repository), "for-each-ref", "--format=%(refname)", under]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()


def test_a_version_may_have_an_epoch(tmp_path: Path, downloads: Path, log: Log) -> None:
    mirrors = Mirrors(tmp_path / "mirrors", log=log, downloads=downloads)
    newest = Source(kind=SourceKind.DEBIAN, location="zlib")
    mirrors.fetch(newest)
    version = mirrors.pin(newest).subject.split()[1]
    assert version.startswith("1:")
    named = Source(kind=SourceKind.DEBIAN, location="zlib", versions=(version,))
    mirrors.fetch(named)
    assert mirrors.pin(named).tree == mirrors.pin(newest).tree


def test_a_version_or_package_that_the_archive_has_not_is_named(
    tmp_path: Path, downloads: Path, log: Log
) -> None:
    mirrors = Mirrors(tmp_path / "mirrors", log=log, downloads=downloads)
    old = Source(kind=SourceKind.DEBIAN, location="hello", versions=("0.1-1",))
    with pytest.raises(Failed, match=r"hello.*0\.1-1|0\.1-1.*hello"):
        mirrors.fetch(old)
    for name in ("no-such-package", "zlib1g"):  # the other is a binary package of zlib
        with pytest.raises(Failed, match=f"Unable to find a source package for {name}") as none:
            mirrors.fetch(Source(kind=SourceKind.DEBIAN, location=name))
        assert none.value.where == f"debian:{name}"


def test_a_mirror_of_debian_that_is_dead_is_trouble(tmp_path: Path, log: Log) -> None:
    url = f"http://127.0.0.1:{closed_port()}/debian"
    mirrors = Mirrors(tmp_path / "mirrors", log=log, debian_mirrors=(url,))
    with pytest.raises(Trouble, match="does not answer as it should"):
        mirrors.fetch(HELLO)
