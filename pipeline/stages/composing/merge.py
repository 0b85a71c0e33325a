# SPDX-License-Identifier: LGPL-2.1-or-later
"""Directories put over each other in metadata alone; no file is read, and equal work is done once.

Where a directory meets a directory they become one, with mode and owner of the *first*: what
brings ``/usr/bin`` along must not change ``/usr``. Elsewhere the later layer wins. Only
directories that two layers share are looked into, in step; each such meeting is remembered by
the checksums of both.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from pipeline.ports.merges import Merges
from pipeline.ports.ostree_objects import Objects
from pipeline.words import dirtree
from pipeline.words.conflicts import Conflict, Meeting
from pipeline.words.dirtree import EMPTY, Listing
from pipeline.words.layers import Node

EMPTY_TREE = hashlib.sha256(dirtree.encode(EMPTY)).digest()
_Met = tuple[str, str, str]
"""Path from the directories that met, and ``d`` or ``f`` of the lower and of the upper."""


@dataclass(frozen=True, kw_only=True)
class Merged:
    """A stretch of layers as one tree."""

    tree: bytes
    meta: bytes
    conflicts: tuple[Conflict, ...] = ()


class Merger:
    """Merge trees of one repository; directories made are kept in ``merges``."""

    def __init__(self, objects: Objects, merges: Merges) -> None:
        self.objects = objects
        self.merges = merges
        self._listings: dict[bytes, Listing] = {EMPTY_TREE: EMPTY}
        self._nodes: dict[str, Merged] = {}

    # Looking

    def listing(self, tree: bytes) -> Listing:
        """Read a directory, of the repository or made here; raises Missing."""
        found = self._listings.get(tree)
        if found is None:
            kept = self.merges.directory(tree)
            found = dirtree.parse(kept) if kept is not None else self.objects.listing(tree)
            self._listings[tree] = found
        return found

    def find(self, tree: bytes, path: str) -> tuple[str, bytes] | None:
        """Tell (``d`` or ``f``, checksum) of what is at a path; None for nothing."""
        names = [name for name in path.split("/") if name]
        for name in names[:-1]:
            entry = self.listing(tree).dirs.get(name)
            if entry is None:
                return None
            tree = entry[0]
        if not names:
            return "d", tree
        here = self.listing(tree)
        if names[-1] in here.files:
            return "f", here.files[names[-1]]
        return ("d", here.dirs[names[-1]][0]) if names[-1] in here.dirs else None

    def files(self, tree: bytes, top: str = "") -> Iterable[tuple[str, bytes]]:
        """Yield (path, checksum) of all files of a directory, in order."""
        here = self.listing(tree)
        for name, checksum in sorted(here.files.items()):
            yield f"{top}/{name}", checksum
        for name, (below, _) in sorted(here.dirs.items()):
            yield from self.files(below, f"{top}/{name}")

    # Making

    def keep(self, listing: Listing) -> bytes:
        """Have a directory object of these entries; tells its checksum."""
        body = dirtree.encode(listing)
        checksum = hashlib.sha256(body).digest()
        if checksum not in self._listings:
            self._listings[checksum] = listing
            self.merges.keep(checksum, body)
        return checksum

    def remember(self, listing: Listing) -> None:
        """Keep a directory object that is in the repository too, but may be pruned from it."""
        body = dirtree.encode(listing)
        self.merges.keep(hashlib.sha256(body).digest(), body)

    def over(self, lower: bytes, upper: bytes) -> tuple[bytes, list[_Met]]:
        """Put one directory over another; tells what met that was not the same."""
        if lower == upper or upper == EMPTY_TREE:
            return lower, []
        if lower == EMPTY_TREE:
            return upper, []
        key = f"over {lower.hex()} {upper.hex()}"
        known = self.merges.get(key)
        if known is not None:
            return bytes.fromhex(known[0]), [(met[0], met[1], met[2]) for met in known[1]]
        tree, met = self._over(self.listing(lower), self.listing(upper))
        self.merges.put(key, [tree.hex(), met])
        return tree, met

    def _over(self, lower: Listing, upper: Listing) -> tuple[bytes, list[_Met]]:
        files, dirs, met = dict(lower.files), dict(lower.dirs), list[_Met]()
        for name, checksum in upper.files.items():
            if dirs.pop(name, None) is not None:
                met.append((f"/{name}", "d", "f"))
            elif files.get(name, checksum) != checksum:
                met.append((f"/{name}", "f", "f"))
            files[name] = checksum
        for name, (tree, meta) in upper.dirs.items():
            if files.pop(name, None) is not None:
                met.append((f"/{name}", "f", "d"))
            if name in dirs:
                merged, below = self.over(dirs[name][0], tree)
                dirs[name] = (merged, dirs[name][1])
                met += [(f"/{name}{path}", was, now) for path, was, now in below]
            else:
                dirs[name] = (tree, meta)
        return self.keep(Listing(files=files, dirs=dirs)), met

    def without(self, tree: bytes, paths: Iterable[str]) -> bytes:
        """Take paths out of a tree; what is not there is no error."""
        for path in paths:
            tree = self.replaced(tree, [name for name in path.split("/") if name], _no_entry)
        return tree

    def replaced(
        self, tree: bytes, names: list[str], change: Callable[[Listing, str], Listing]
    ) -> bytes:
        """Change the entry at a path; a tree that has not its directory stays as it is."""
        here = self.listing(tree)
        name, *below = names
        if not below:
            return self.keep(change(here, name))
        if name not in here.dirs:
            return tree
        inner, meta = here.dirs[name]
        new = self.replaced(inner, below, change)
        return self.keep(replace(here, dirs={**here.dirs, name: (new, meta)}))

    # Layers

    def merged(self, node: Node) -> Merged:
        """Merge a stretch of layers, or remember it, with all conflicts inside it."""
        if node.key in self._nodes:
            return self._nodes[node.key]
        known = self.merges.get(f"layers {node.key}")
        found = self._merge(node) if known is None else _from_plain(known)
        if known is None:
            self.merges.put(f"layers {node.key}", _plain(found))
        self._nodes[node.key] = found
        return found

    def _merge(self, node: Node) -> Merged:
        tree, meta = self.objects.root(node.layer.commit)
        conflicts: list[Conflict] = []
        mine = Node(layer=node.layer, left=None, right=None, key=node.layer.commit)
        if node.left is not None:
            left = self.merged(node.left)
            meta = left.meta
            tree, met = self.over(left.tree, tree)
            conflicts += left.conflicts
            conflicts += [self._conflict(one, (node.left,), mine) for one in met]
        if node.right is not None:
            right = self.merged(node.right)
            tree, met = self.over(tree, right.tree)
            before = (mine,) if node.left is None else (mine, node.left)
            conflicts += [self._conflict(one, before, node.right) for one in met]
            conflicts += right.conflicts
        return Merged(tree=tree, meta=meta, conflicts=tuple(conflicts))

    def _conflict(self, met: _Met, before: tuple[Node, ...], after: Node) -> Conflict:
        """Name the owners: the last before, the first after, which is whom they meet in order."""
        path = met[0]
        first = next(filter(None, (self._owner(node, path, last=True) for node in before)))
        second = self._owner(after, path, last=False)
        assert second is not None, path
        return Conflict(
            path=path,
            first=first[0],
            second=second[0],
            was=self.meeting(*first[1]),
            now=self.meeting(*second[1]),
        )

    def _owner(self, node: Node, path: str, *, last: bool) -> tuple[str, tuple[str, bytes]] | None:
        """Find the last (or first) layer of a stretch that has a path, and what it has there."""
        first, second = (node.right, node.left) if last else (node.left, node.right)
        if first is not None and self.find(self.merged(first).tree, path) is not None:
            return self._owner(first, path, last=last)
        own = self.find(self.objects.root(node.layer.commit)[0], path)
        if own is not None:
            return node.layer.owner, own
        return None if second is None else self._owner(second, path, last=last)

    def meeting(self, kind: str, checksum: bytes) -> Meeting:
        """Say what an entry is."""
        if kind == "d":
            return Meeting.DIRECTORY
        return Meeting.SYMLINK if self.objects.is_symlink(checksum) else Meeting.FILE


def _no_entry(here: Listing, name: str) -> Listing:
    return Listing(
        files={one: checksum for one, checksum in here.files.items() if one != name},
        dirs={one: entry for one, entry in here.dirs.items() if one != name},
    )


def _plain(merged: Merged) -> list[object]:
    told = [[one.path, one.first, one.second, one.was, one.now] for one in merged.conflicts]
    return [merged.tree.hex(), merged.meta.hex(), told]


def _from_plain(value: list[object]) -> Merged:
    tree, meta, told = value
    return Merged(
        tree=bytes.fromhex(str(tree)),
        meta=bytes.fromhex(str(meta)),
        conflicts=tuple(
            Conflict(path=path, first=first, second=second, was=Meeting(was), now=Meeting(now))
            for path, first, second, was, now in told  # type: ignore[attr-defined]
        ),
    )
