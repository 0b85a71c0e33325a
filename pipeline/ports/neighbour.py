# SPDX-License-Identifier: LGPL-2.1-or-later
"""Objects of another user's repository on this machine, copied as files.

A worker of the same machine has most of what it needs beside it: read from there it costs a
copy, where the dock deflates each object and the worker inflates it again. Only what everybody may
read is taken; commits are not, so that the pull afterwards looks at all of them and brings the
rest. Both repositories are ``bare-user``, whose files carry their meta data as one attribute.
"""

import os
from collections.abc import Iterable, Iterator

from pipeline.ports.files import copy_whole
from pipeline.ports.ostree import Repo
from pipeline.ports.ostree_objects import Missing, Objects
from pipeline.words.refs import Commit

_META = "user.ostreemeta"


def copy_readable(source: Repo, target: Repo, commits: Iterable[Commit]) -> int:
    """Copy what the trees of commits consist of and is not there yet; tells how many objects.

    What cannot be read, or is gone meanwhile, is left out.
    """
    there, here = Objects(source), Objects(target)
    count = 0
    seen: set[bytes] = set()
    for commit in commits:
        if target.has_commit(commit):
            continue
        try:
            tree, meta = there.root(commit)
        except (Missing, OSError):
            continue
        count += _copy(there, here, meta, "dirmeta")
        for kind, checksum in _walk(there, tree, seen):
            count += _copy(there, here, checksum, kind)
    return count


def _walk(there: Objects, tree: bytes, seen: set[bytes]) -> Iterator[tuple[str, bytes]]:
    """List the objects of a tree, each once."""
    todo = [tree]
    while todo:
        one = todo.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            listing = there.listing(one)
        except (Missing, OSError):
            continue
        for checksum in listing.files.values():
            if checksum not in seen:
                seen.add(checksum)
                yield "file", checksum
        for below, meta in listing.dirs.values():
            todo.append(below)
            if meta not in seen:
                seen.add(meta)
                yield "dirmeta", meta
        yield "dirtree", one


def _copy(there: Objects, here: Objects, checksum: bytes, kind: str) -> int:
    """Copy one object whole, or not at all; tells whether it was."""
    if here.has(checksum, kind):
        return 0
    source, path = there.path(checksum, kind), here.path(checksum, kind)
    try:
        handle = os.open(source, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return 0
    try:
        path.parent.mkdir(exist_ok=True)
        copy_whole(
            handle,
            path,
            room=here.repo.path / "tmp",
            finish=lambda out, _found: _keep_meta(handle, out) if kind == "file" else None,
        )
    finally:
        os.close(handle)
    return 1


def _keep_meta(handle: int, out: int) -> None:
    os.setxattr(out, _META, os.getxattr(handle, _META))
