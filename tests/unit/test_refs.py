# SPDX-License-Identifier: LGPL-2.1-or-later
"""Names of refs: OSTree takes them, and no two things get the same one."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ports.ostree import Repo
from pipeline.words.errors import BadInput
from pipeline.words.refs import (
    Key,
    Part,
    base_ref,
    buildmaster_ref,
    commit,
    component_ref,
    compose_ref,
    failed_ref,
    is_commit,
    is_name,
    is_revision,
    key_ref,
    name_of_part,
    ref_part,
)

# What ostree_validate_rev takes between two slashes.
_OSTREE = re.compile(r"[\w\d][-._\w\d]*", re.ASCII)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*", fullmatch=True).filter(is_name)


def test_refs_are_named_as_the_design_says() -> None:
    key = Key("a" * 64)
    assert base_ref("os", "debian", "x86_64", "devel") == "os/bases/debian/x86_64-devel"
    assert component_ref("os", "zlib", "noarch", Part.DOC) == "os/components/zlib/noarch-doc"
    assert key_ref("os", key, Part.RUNTIME) == f"os/keys/{key}-runtime"
    assert compose_ref("os", "x86_64-runtime") == "os/compose/x86_64-runtime"
    assert buildmaster_ref("os", "x86_64-runtime") == "os/buildmaster/x86_64-runtime"
    assert failed_ref("os", "20240101.2", "zlib") == "os/failed/20240101.2/zlib"


def test_names_of_derived_targets_are_written_as_ostree_takes_them() -> None:
    assert ref_part("x86_64-runtime+strace") == "x86_64-runtime..strace"
    assert ref_part("x86_64-runtime+@tracing") == "x86_64-runtime...-tracing"
    assert compose_ref("os", "x86_64-a+@b") == "os/compose/x86_64-a...-b"


@given(st.lists(NAMES, min_size=1, max_size=3), st.booleans())
def test_a_name_can_be_read_back_from_its_ref(names: list[str], group: bool) -> None:
    name = ("+@" if group else "+").join(names)
    part = ref_part(name)
    assert name_of_part(part) == name
    assert _OSTREE.fullmatch(part)


@given(NAMES, NAMES)
def test_no_two_names_become_one(one: str, other: str) -> None:
    assert (ref_part(one) == ref_part(other)) == (one == other)


@pytest.mark.parametrize("name", ["a", "gtk+", "libsigc++-2.0", "x86_64", "7zip", "_x", "a-b_c.d"])
def test_names_that_can_stand_in_a_ref(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "-a", ".a", "+a", "a/b", "a b", "a\n", "a..b", "a.-b", "a.", "ä", "@a"]
)
def test_names_that_cannot(name: str) -> None:
    assert not is_name(name)


def test_ids_are_not_taken_for_one_another() -> None:
    assert is_commit("0" * 64) and not is_revision("0" * 64)
    assert is_revision("0" * 40) and not is_commit("0" * 40)
    assert not is_commit("A" * 64)
    assert not is_commit("0" * 64 + "\n")
    assert commit("0" * 64) == "0" * 64
    with pytest.raises(BadInput, match="not an OSTree commit: 'master'"):
        commit("master")


@pytest.mark.parametrize("name", ["gtk+", "libsigc++-2.0", "runtime+@all", "a+-b", "_x"])
def test_ostree_takes_them(name: str, repo: Repo, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    made = repo.commit_dir(tree, subject="x")
    ref = compose_ref("os", name)
    repo.set_ref(ref, made)
    assert repo.resolve(ref) == made
    assert name_of_part(ref.rsplit("/", 1)[1]) == name
