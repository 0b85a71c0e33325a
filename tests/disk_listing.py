# SPDX-License-Identifier: LGPL-2.1-or-later
"""Everything that is in a disk's file system, read by debugfs, to be compared with another's."""

import re
from pathlib import Path

from pipeline.ports import image, process
from pipeline.ports.ext4 import Ext4, quoted
from pipeline.ports.files import sha256_file
from pipeline.ports.log import Log

Listing = dict[str, tuple[str, ...]]


def listing(disk: Path, dump: Path, *, log: Log) -> Listing:
    """Tell of every path: mode and type, owner, number of names, attributes, content or target.

    Times and inode numbers are left out, and the sizes of directories. The files themselves are
    in ``dump`` afterwards. A file system that e2fsck does not find clean is an AssertionError.
    """
    dump.mkdir()
    with image.exported(disk, log=log) as raw:
        checked = process.run(["e2fsck", "-f", "-n", raw], log=log, ok=())
        assert checked.code == 0, checked.stdout.decode()
        system = Ext4(raw, log=log)
        found, todo = {}, ["/"]
        while todo:
            level = system.names(todo)
            todo = []
            for directory, names in level.items():
                for name, entry in names.items():
                    path = f"{directory.rstrip('/')}/{name}"
                    found[path] = entry
                    if entry.mode & 0o170000 == 0o40000:
                        todo.append(path)
        stats = _stats(raw, sorted({entry.inode for entry in found.values()}), log)
        image.debugfs(raw, [f"rdump / {quoted(str(dump))}"], log=log)
    for path, entry in found.items():
        # debugfs gives a file its owner last, which takes these bits away again.
        if entry.mode & 0o170000 == 0o100000 and entry.mode & 0o6000:
            (dump / path.lstrip("/")).chmod(entry.mode & 0o7777)
    return {
        path: (f"{entry.mode:o} {entry.uid}:{entry.gid}", *stats[entry.inode], _content(dump, path))
        for path, entry in found.items()
    }


def _stats(raw: Path, inodes: list[int], log: Log) -> dict[int, tuple[str, str]]:
    said = image.debugfs(raw, [f"stat <{inode}>" for inode in inodes], log=log)
    found = {}
    for text in said.split("debugfs: stat ")[1:]:
        inode = int(text[1 : text.index(">")])
        links = re.search(r"Links: (\d+)", text)
        attributes = re.findall(r"^  (\S+ \(\d+\) = .*)$", text, re.MULTILINE)
        assert links is not None
        found[inode] = (f"{links[1]} names", " ".join(sorted(attributes)))
    return found


def _content(dump: Path, path: str) -> str:
    copy = dump / path.lstrip("/")
    if copy.is_symlink():
        return f"-> {copy.readlink()}"
    return sha256_file(copy) if copy.is_file() else ""


def differences(one: Listing, other: Listing) -> list[str]:
    """Tell what differs, a line a path."""
    return [
        f"{path}: {one.get(path)} and {other.get(path)}"
        for path in sorted(one.keys() | other.keys())
        if one.get(path) != other.get(path)
    ]
