# SPDX-License-Identifier: LGPL-2.1-or-later
"""How the file system of one commit's disk becomes that of another: a list of what to do to it.

It knows where a deployment keeps what (``/ostree/deploy``, the repository's objects, the boot
entry) and that a deployed file is one more name of its object. It reads and writes nothing: what
is in a tree comes by way of functions, and the list is carried out by somebody else.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from pipeline.words.dirtree import EMPTY, Listing

Read: TypeAlias = Callable[[bytes], Listing]
"""Reads a dirtree object by its checksum."""

MAX_LINKS = 65_000
"""Names that one file of an ext4 can have (``EXT4_LINK_MAX``)."""


class Unfit(Exception):
    """A disk cannot be made out of another; says why. It is made in full then."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Meta:
    """Owner, type and mode as in ``st_mode``, and extended attributes; times are those of trees."""

    mode: int
    uid: int = 0
    gid: int = 0
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Remove:
    """Take away one name; the file goes with its last one."""

    path: str


@dataclass(frozen=True, slots=True)
class RemoveDir:
    """Take away an empty directory."""

    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a directory or a file another name in the same directory."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class MakeDir:
    """Make a directory."""

    path: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class Write:
    """Write a new file."""

    path: str
    content: bytes
    meta: Meta


@dataclass(frozen=True, slots=True)
class Copy:
    """Write a new file with what is in one of this machine's; it is to have so many names."""

    path: str
    source: str
    meta: Meta
    links: int = 1


@dataclass(frozen=True, slots=True)
class Symlink:
    """Make a symbolic link."""

    path: str
    target: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class Link:
    """Give a file one more name; its count of names is set by ``SetLinks``."""

    path: str
    to: str


@dataclass(frozen=True, slots=True)
class SetMeta:
    """Change owner, mode and attributes of what is there."""

    path: str
    meta: Meta


@dataclass(frozen=True, slots=True)
class SetLinks:
    """Say how many names a file has."""

    path: str
    count: int


Operation: TypeAlias = (
    Remove | RemoveDir | Rename | MakeDir | Write | Copy | Symlink | Link | SetMeta | SetLinks
)


@dataclass(kw_only=True, slots=True)
class TreeChange:
    """What differs between two trees, by path: files → object, directories → dirmeta object.

    A file that changed is both removed and added, in ``added`` with its new object.
    """

    removed: dict[str, bytes] = field(default_factory=dict)
    added: dict[str, bytes] = field(default_factory=dict)
    removed_dirs: dict[str, bytes] = field(default_factory=dict)
    added_dirs: dict[str, bytes] = field(default_factory=dict)
    changed_dirs: dict[str, bytes] = field(default_factory=dict)
    trees_gone: set[bytes] = field(default_factory=set)
    trees_new: set[bytes] = field(default_factory=set)
    metas_gone: set[bytes] = field(default_factory=set)
    metas_new: set[bytes] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Tell how many paths differ."""
        files = self.removed.keys() | self.added.keys()
        return len(files) + len(self.removed_dirs) + len(self.added_dirs) + len(self.changed_dirs)


def compare(old: tuple[bytes, bytes], new: tuple[bytes, bytes], read: Read) -> TreeChange:
    """Compare two trees, given by (dirtree, dirmeta) of their roots; equal parts are not read."""
    change = TreeChange()
    if old[1] != new[1]:
        change.changed_dirs[""] = new[1]
        change.metas_gone.add(old[1])
        change.metas_new.add(new[1])
    _compare("", old[0], new[0], read, change)
    return change


def _compare(
    path: str, old: bytes | None, new: bytes | None, read: Read, change: TreeChange
) -> None:
    if old == new:
        return
    before, after = (EMPTY if one is None else read(one) for one in (old, new))
    if old is not None:
        change.trees_gone.add(old)
    if new is not None:
        change.trees_new.add(new)
    for name in before.files.keys() | after.files.keys():
        was, now = before.files.get(name), after.files.get(name)
        if was != now and was is not None:
            change.removed[f"{path}/{name}"] = was
        if was != now and now is not None:
            change.added[f"{path}/{name}"] = now
    for name in before.dirs.keys() | after.dirs.keys():
        here = f"{path}/{name}"
        was_tree, was_meta = before.dirs.get(name, (None, None))
        now_tree, now_meta = after.dirs.get(name, (None, None))
        if was_meta != now_meta:
            _note_meta(here, was_meta, now_meta, change)
        _compare(here, was_tree, now_tree, read, change)


def _note_meta(path: str, was: bytes | None, now: bytes | None, change: TreeChange) -> None:
    if was is not None:
        change.metas_gone.add(was)
    if now is not None:
        change.metas_new.add(now)
    if was is None and now is not None:
        change.added_dirs[path] = now
    elif was is not None and now is None:
        change.removed_dirs[path] = was
    elif now is not None:
        change.changed_dirs[path] = now


@dataclass(kw_only=True, slots=True)
class Census:
    """All objects of a tree: how many names a file's has, and which others there are."""

    files: Counter[bytes] = field(default_factory=Counter)
    trees: set[bytes] = field(default_factory=set)
    metas: set[bytes] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Tell how many files the tree has."""
        return self.files.total()


def census(root: tuple[bytes, bytes], read: Read) -> Census:
    """Count the objects of a tree. This alone takes time by the tree's size, and little."""
    found = Census(trees={root[0]}, metas={root[1]})
    todo = [root[0]]
    while todo:
        listing = read(todo.pop())
        found.files.update(listing.files.values())
        for tree, meta in listing.dirs.values():
            found.trees.add(tree)
            found.metas.add(meta)
            todo.append(tree)
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Own:
    """Something of a deployment's ``/etc`` that is not of its tree."""

    meta: Meta
    content: bytes = b""
    symlink: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Copied:
    """A file of ``/etc`` by its object in ``/usr/etc``, or a directory by its dirmeta."""

    checksum: bytes
    directory: bool = False


Etc: TypeAlias = dict[str, Own | Copied]

_DIR = Own(meta=Meta(mode=0o40755))


def etc_of(tree: bytes, dirmeta: bytes, additions: Mapping[str, Own], read: Read) -> Etc:
    """List what a deployment has in ``/etc``: a copy of ``/usr/etc``, and files put over it.

    Raises Unfit where a file would have to replace a directory.
    """
    found: Etc = {"/etc": Copied(checksum=dirmeta, directory=True)}
    todo = [("/etc", tree)]
    while todo:
        path, dirtree = todo.pop()
        listing = read(dirtree)
        for name, checksum in listing.files.items():
            found[f"{path}/{name}"] = Copied(checksum=checksum)
        for name, (below, meta) in listing.dirs.items():
            found[f"{path}/{name}"] = Copied(checksum=meta, directory=True)
            todo.append((f"{path}/{name}", below))
    for path, own in additions.items():
        at = "/etc"
        for part in path.split("/")[2:-1]:
            at = f"{at}/{part}"
            if at not in found or not is_directory(found[at]):
                found[at] = _DIR
        if path in found and is_directory(found[path]):
            raise Unfit(f"{path} is a directory of the tree's")
        found[path] = own
    return found


def is_directory(one: Own | Copied) -> bool:
    """Tell whether an entry of ``/etc`` is a directory."""
    return one.directory if isinstance(one, Copied) else one.meta.mode & 0o170000 == 0o40000


def deepest_first(paths: Iterable[str]) -> list[str]:
    """Order directories for removal."""
    return sorted(paths, key=lambda path: (-path.count("/"), path))
