# SPDX-License-Identifier: LGPL-2.1-or-later
"""Used-sets: whose the files are that a build opened."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline.ports.opens import Opens
from pipeline.ports.ostree import Repo
from pipeline.stages.building.buildroot import layers_of
from pipeline.stages.building.used import Buildroot, Providers
from pipeline.words.artifact import BASE, Artifact
from pipeline.words.keys import base_facts
from pipeline.words.refs import Commit, Key, Part, Revision

PACKAGES = {"gcc-12": "12.2", "libc6": "2.36", "tar": "1.34"}
LISTS = {
    "gcc-12": "/usr/bin/gcc-12\n",
    "libc6:amd64": "/lib/x86_64-linux-gnu/libc.so.6\n/etc/ld.conf\n",
    "tar": "/bin/tar\n",
}


def opened(*paths: str, complete: bool = True) -> Opens:
    """Say what was opened."""
    found = Opens()
    found.paths |= set(paths)
    found.complete = complete
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A base with dpkg's lists."""
    info = tmp_path / "tree/usr/lib/sysimage/dpkg/info"
    info.mkdir(parents=True)
    for name, text in LISTS.items():
        (info / f"{name}.list").write_text(text)
    return tmp_path / "tree"


def artifact(repo: Repo, tmp_path: Path, name: str, interface: Mapping[str, str]) -> Artifact:
    """Commit a component that has a header."""
    top = tmp_path / name
    (top / "usr/include").mkdir(parents=True)
    (top / "usr/include/x.h").write_text(name)
    commit = repo.commit_dir(top, subject=name)
    return Artifact(
        component=name,
        arch="x86_64",
        recipe=Key("r"),
        key=Key("k"),
        revision=Revision("v"),
        interface=interface,
        commits={Part.DEVEL: commit},
    )


def used(
    repo: Repo, tree: Path, tmp_path: Path, opens: Opens, *artifacts: Artifact
) -> dict[str, dict[str, str]]:
    """Ask for the used-set of a build."""
    facts = base_facts((), PACKAGES, f"{tmp_path.name}")
    known = {one.component: one for one in artifacts}
    layers = layers_of(Commit("b"), {name: one.commits for name, one in known.items()})
    there = Buildroot(root=tree, layers=layers, artifacts=known)
    return Providers(repo, facts, tmp_path / "cache").used(opens, there)


def test_files_of_the_base_count_as_their_packages(repo: Repo, tree: Path, tmp_path: Path) -> None:
    opens = opened("/usr/bin/gcc-12", "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/etc/nobodys")
    assert used(repo, tree, tmp_path, opens) == {BASE: {"gcc-12": "12.2", "libc6": "2.36"}}
    # Kept beside the repository, it is the same without a look at the tree.
    assert used(repo, tmp_path / "none", tmp_path, opened("/usr/bin/tar"))[BASE] == {"tar": "1.34"}


def test_without_lists_of_files_all_packages_were_used(repo: Repo, tmp_path: Path) -> None:
    found = used(repo, tmp_path / "none", tmp_path, opened("/usr/bin/gcc-12"))
    assert found == {BASE: PACKAGES}


def test_what_lies_on_top_is_what_was_used(repo: Repo, tree: Path, tmp_path: Path) -> None:
    low = artifact(repo, tmp_path, "low", {"header:x.h": "1"})
    high = artifact(repo, tmp_path, "high", {"header:x.h": "2"})
    opens = opened("/usr/include/x.h", "/usr/bin/tar")
    found = used(repo, tree, tmp_path, opens, low, high)
    assert found == {BASE: {"tar": "1.34"}, "high": {"header:x.h": "2"}}


def test_where_not_all_was_seen_all_was_used(repo: Repo, tree: Path, tmp_path: Path) -> None:
    low = artifact(repo, tmp_path, "low", {"header:x.h": "1", "prog:x": "3"})
    found = used(repo, tree, tmp_path, opened(complete=False), low)
    assert found == {BASE: PACKAGES, "low": {"header:x.h": "1", "prog:x": "3"}}
