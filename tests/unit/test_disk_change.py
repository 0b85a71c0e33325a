# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two trees are compared by what differs in them, and ``/etc`` is what is put over a copy."""

import hashlib

import pytest

from pipeline.ports.ext4 import quoted
from pipeline.words.dirtree import Listing
from pipeline.words.disk_change import (
    Copied,
    Meta,
    Own,
    Unfit,
    census,
    compare,
    deepest_first,
    etc_of,
    is_directory,
)

Tree = dict[str, "str | Tree"]
OWN = Own(meta=Meta(mode=0o100644), content=b"ours")


def checksum(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


META = checksum("a directory")


class Store:
    """Trees in memory, and which of their directories were read."""

    def __init__(self) -> None:
        self.listings: dict[bytes, Listing] = {}
        self.seen: list[bytes] = []

    def add(self, tree: Tree) -> bytes:
        files = {name: checksum(one) for name, one in tree.items() if isinstance(one, str)}
        dirs = {
            name: (self.add(one), META) for name, one in tree.items() if not isinstance(one, str)
        }
        name = checksum(repr(sorted(tree.items(), key=lambda entry: entry[0])))
        self.listings[name] = Listing(files=files, dirs=dirs)
        return name

    def read(self, tree: bytes) -> Listing:
        self.seen.append(tree)
        return self.listings[tree]


@pytest.fixture
def store() -> Store:
    return Store()


def test_only_what_differs_is_read(store: Store) -> None:
    same: Tree = {"large": {f"{number}": "x" for number in range(9)}}
    old, new = store.add({"usr": same, "a": {"f": "1"}}), store.add({"usr": same, "a": {"f": "2"}})
    change = compare((old, META), (new, META), store.read)
    assert change.removed == {"/a/f": checksum("1")}
    assert change.added == {"/a/f": checksum("2")}
    assert (change.size, len(store.seen)) == (1, 4)


def test_a_file_and_a_directory_change_places(store: Store) -> None:
    old, new = store.add({"a": "1", "b": {"f": "1"}}), store.add({"a": {"f": "1"}, "b": "1"})
    change = compare((old, META), (new, META), store.read)
    assert set(change.removed) == {"/a", "/b/f"}
    assert set(change.added) == {"/a/f", "/b"}
    assert (set(change.removed_dirs), set(change.added_dirs)) == ({"/b"}, {"/a"})


def test_equal_files_are_names_of_one_object(store: Store) -> None:
    tree = store.add({"a": "1", "b": {"c": "1", "d": "2"}, "e": {"c": "1", "d": "2"}})
    found = census((tree, META), store.read)
    assert found.files == {checksum("1"): 3, checksum("2"): 2}
    assert (found.size, len(found.trees), found.metas) == (5, 2, {META})


def test_what_is_put_into_etc_replaces_links_on_the_way(store: Store) -> None:
    tree = store.add({"link": "-> elsewhere", "kept": "k", "d": {"file": "theirs"}})
    additions = {"/etc/link/below/file": OWN, "/etc/d/file": OWN}
    found = etc_of(tree, META, additions, store.read)
    assert found["/etc/kept"] == Copied(checksum=checksum("k"))
    assert found["/etc/d"] == Copied(checksum=META, directory=True)
    assert found["/etc/link/below/file"] == found["/etc/d/file"] == OWN
    assert is_directory(found["/etc/link"])
    assert is_directory(found["/etc/link/below"])


def test_a_directory_where_a_file_is_wanted_does_not_fit(store: Store) -> None:
    tree = store.add({"file": {"theirs": "1"}})
    with pytest.raises(Unfit, match="/etc/file is a directory of the tree's"):
        etc_of(tree, META, {"/etc/file": OWN}, store.read)


def test_directories_go_after_what_is_in_them() -> None:
    assert deepest_first(["/a", "/a/b", "/c", "/a/b/c"]) == ["/a/b/c", "/a/b", "/a", "/c"]


def test_no_name_ends_the_request_that_it_stands_in() -> None:
    assert quoted('a "b" \\c') == '"a ""b"" \\c"'
    for text in ("a\nrm /etc", "a\rb", "ü" * 2000, '"' * 2000):
        with pytest.raises(Unfit, match="cannot be told of"):
            quoted(text)
