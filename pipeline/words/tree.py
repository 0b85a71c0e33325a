# SPDX-License-Identifier: LGPL-2.1-or-later
"""A composed tree: what is booted, tested and promoted."""

from dataclasses import dataclass

from pipeline.words.refs import Commit


@dataclass(frozen=True, kw_only=True)
class Tree:
    """One composed tree, ``<arch>-<target>``; ``content`` is equal for equal files.

    ``unchanged`` tells that the commit was there already for an equal tree and snapshot.
    """

    name: str
    arch: str
    target: str
    commit: Commit
    content: str
    version: str
    snapshot: str
    unchanged: bool = False
    conflicts: tuple[str, ...] = ()
    """Paths that several components install, in words; the later one's file is in the tree."""


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The bootable disk of one commit: a path to a qcow2 that is never written to again."""

    commit: Commit
    path: str
    ref: str
    osname: str
    size: int
