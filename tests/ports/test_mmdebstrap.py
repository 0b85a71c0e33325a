# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's packages are resolved and installed from an archive, here one of a few tiny packages."""

import tarfile
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.mmdebstrap import (
    Archive,
    PrivateApt,
    archive,
    bootstrap,
    check_names,
    unpack_to_tar,
)
from pipeline.words.errors import BadInput, Failed, Trouble
from tests.debs import make_archive


@pytest.fixture
def source(tmp_path: Path) -> Archive:
    """An archive of three packages, on this machine."""
    return make_archive(tmp_path / "archive")


@pytest.fixture
def apt(source: Archive, tmp_path: Path, log: Log) -> PrivateApt:
    made = PrivateApt(source, tmp_path / "apt", log=log)
    made.update(max_age_s=0)
    return made


def test_versions_are_told_of_all_that_the_names_need(apt: PrivateApt) -> None:
    assert apt.versions("minbase", ["tool"]) == {
        "apt": "9",
        "library": "2-1",
        "seed": "1",
        "tool": "1.0",
    }


def test_exact_takes_what_is_named_alone(apt: PrivateApt) -> None:
    assert apt.versions("exact", ["tool"]) == {"tool": "1.0"}


def test_a_pattern_chooses_among_what_the_others_need(apt: PrivateApt) -> None:
    assert apt.versions("exact", ["tool", "lib*"]) == {"library": "2-1", "tool": "1.0"}
    assert apt.versions("exact", ["seed", "lib*"]) == {"seed": "1"}


def test_a_name_that_the_archive_does_not_have_is_told(apt: PrivateApt) -> None:
    with pytest.raises(Failed, match="the archive has no package tol") as failed:
        apt.versions("exact", ["tol"])
    assert "packages.debian.org" in failed.value.hint


def test_packages_that_cannot_go_together_are_told(apt: PrivateApt) -> None:
    with pytest.raises(Failed, match=r"cannot go together: .*broken : Depends: nobody"):
        apt.versions("exact", ["broken"])


def test_lists_that_are_young_are_not_fetched_again(apt: PrivateApt, log: Log) -> None:
    again = PrivateApt(apt.source, apt.directory, log=log)
    assert again.update(max_age_s=3600) >= 0
    state = again.state()
    assert state == apt.state()


def test_a_newer_package_gives_other_versions_and_another_state(
    apt: PrivateApt, tmp_path: Path
) -> None:
    before = apt.state()
    make_archive(tmp_path / "archive", library="3-10")
    apt.update(max_age_s=0)
    assert apt.versions("exact", ["library"]) == {"library": "3-10"}
    assert apt.state() != before


def test_a_mirror_that_is_not_there_is_trouble(tmp_path: Path, log: Log) -> None:
    gone = Archive(
        suite="here",
        architecture="amd64",
        sources=(f"deb [trusted=yes] file:{tmp_path}/no here main",),
    )
    with pytest.raises(Trouble, match="the mirror does not answer as it should: "):
        PrivateApt(gone, tmp_path / "apt", log=log).update(max_age_s=0)


def test_a_package_is_unpacked_as_an_archive(apt: PrivateApt, tmp_path: Path, log: Log) -> None:
    [package] = apt.download({"tool": "1.0"}, tmp_path / "packages")
    unpack_to_tar(package, tmp_path / "tool.tar", log=log)
    with tarfile.open(tmp_path / "tool.tar") as opened:
        assert "./usr/bin/tool" in opened.getnames()


def test_a_damaged_package_is_told(tmp_path: Path, log: Log) -> None:
    package = tmp_path / "x.deb"
    package.write_bytes(b"no archive")
    with pytest.raises(Failed, match=r"x\.deb: cannot be unpacked: "):
        unpack_to_tar(package, tmp_path / "x.tar", log=log)


@pytest.mark.slow
def test_a_root_is_made_of_the_real_archive(tmp_path: Path, log: Log) -> None:
    source = archive("bookworm", (), "x86_64")
    output = tmp_path / "root.tar"
    bootstrap(source, "essential", (), output, temporary=tmp_path / "t", log=log)
    with tarfile.open(output) as opened:
        names = set(opened.getnames())
    assert {"./usr/bin/dpkg", "./etc/passwd"} <= names


def test_a_root_cannot_be_made_of_an_archive_that_is_not_there(tmp_path: Path, log: Log) -> None:
    gone = archive("bookworm", ["http://127.0.0.1:9/debian"], "x86_64")
    with pytest.raises(Trouble, match="the mirror does not answer as it should: "):
        bootstrap(gone, "essential", (), tmp_path / "x.tar", temporary=tmp_path / "t", log=log)


@pytest.mark.parametrize(
    ("suite", "mirrors", "arch", "message"),
    [
        ("book worm", (), "x86_64", "not the name of a suite of Debian: 'book worm'"),
        ("-x", (), "x86_64", "not the name of a suite"),
        ("bookworm", (), "vax", "Debian has no architecture 'vax'"),
        ("bookworm", ("--x",), "x86_64", "not a mirror of Debian: '--x'"),
        ("bookworm", ("http://a b",), "x86_64", "not a mirror of Debian"),
    ],
)
def test_what_could_mislead_apt_is_refused(
    suite: str, mirrors: tuple[str, ...], arch: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        archive(suite, mirrors, arch)


def test_all_bad_names_are_told_at_once() -> None:
    with pytest.raises(BadInput, match="not names of packages: '-x', 'A', 'lib\\*'"):
        check_names(["good", "-x", "A", "lib*", "good=1.0-1"])
    check_names(["lib*"], patterns=True)
