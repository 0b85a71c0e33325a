# SPDX-License-Identifier: LGPL-2.1-or-later
"""Layers, directories, conflicts and heads of triggers, without a repository."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ports.ostree import COMMIT_FORMAT, DIRTREE_FORMAT
from pipeline.words import dirtree
from pipeline.words.conflicts import Conflict, Meeting, refuse, told
from pipeline.words.dirtree import Listing
from pipeline.words.errors import Failed
from pipeline.words.gvariant import decode
from pipeline.words.gvariant_write import encode
from pipeline.words.layers import Layer, Node, shape
from pipeline.words.refs import Commit
from pipeline.words.trigger_text import parse_trigger

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
SUMS = st.binary(min_size=32, max_size=32)


def layers(names: list[str], changed: str = "") -> list[Layer]:
    return [
        Layer(
            name=name,
            owner=name,
            commit=Commit(hashlib.sha256(f"{name}{name == changed}".encode()).hexdigest()),
        )
        for name in names
    ]


def row(node: Node | None) -> list[str]:
    return [] if node is None else [*row(node.left), node.layer.name, *row(node.right)]


def keys(node: Node | None) -> set[str]:
    return set() if node is None else {node.key} | keys(node.left) | keys(node.right)


@given(st.lists(NAMES, unique=True))
def test_a_shape_keeps_the_order(names: list[str]) -> None:
    assert row(shape(layers(names))) == names


@pytest.mark.parametrize("at", [0, 17, 500, 999])
def test_a_change_leaves_all_but_a_few_stretches_as_they_were(at: int) -> None:
    names = [f"component-{n}" for n in range(1000)]
    before = keys(shape(layers(names)))
    assert len(keys(shape(layers(names, changed=names[at]))) - before) < 60
    assert len(keys(shape(layers(names[:at] + names[at + 1 :]))) - before) < 60


@given(st.dictionaries(NAMES, SUMS), st.dictionaries(NAMES, st.tuples(SUMS, SUMS)))
def test_directories_are_read_as_they_were_written(
    files: dict[str, bytes], dirs: dict[str, tuple[bytes, bytes]]
) -> None:
    data = dirtree.encode(Listing(files=files, dirs=dirs))
    assert dirtree.parse(data) == Listing(files=files, dirs=dirs)
    generic = decode(DIRTREE_FORMAT, data)
    assert generic == (sorted(files.items()), [(n, *pair) for n, pair in sorted(dirs.items())])
    assert encode(DIRTREE_FORMAT, generic) == data


@given(st.dictionaries(NAMES, TEXTS))
def test_commits_are_read_as_they_were_written(told: dict[str, str]) -> None:
    metadata = {name: ("s", text) for name, text in told.items()}
    value: tuple[Any, ...] = (metadata, b"", [], "subject", "", 7, bytes(32), bytes(32))
    assert decode(COMMIT_FORMAT, encode(COMMIT_FORMAT, value)) == (told, *value[1:])


def test_conflicts_are_told_a_few_for_each_pair() -> None:
    many = [Conflict(path=f"/x/{n}", first="a", second="b") for n in range(9)]
    lines = told([*many, Conflict(path="/y", first="b", second="c", now=Meeting.SYMLINK)])
    assert lines[0] == "/x/0: a and b differ"
    assert lines[5:] == ["4 more paths of a and b", "/y: a file of b, a symbolic link of c"]
    refuse([], "nothing", where="")
    with pytest.raises(Failed, match=r"bad: /x/0: a and b differ"):
        refuse(many[:1], "bad", where="tree")


def test_the_head_of_a_trigger_says_what_it_needs() -> None:
    script = "# Why.\n# needs: /usr/bin/a /usr/share/b\n# reads: /usr/x\nset -e\n# reads: /no\n"
    trigger = parse_trigger("name", script, deletes=["/etc/old"])
    assert trigger.needs == ("/usr/bin/a", "/usr/share/b")
    assert trigger.reads == ("/usr/x",)
    assert trigger.may_delete("/usr/etc/old/file")
    assert not trigger.may_delete("/usr/etc/older")
    assert parse_trigger("name", "echo\n").reads is None
