# SPDX-License-Identifier: LGPL-2.1-or-later
"""Change an ext4 that nothing has mounted, by debugfs(8): no root, no mount, no kernel.

debugfs ends well whatever happens and says on standard error what did not work; so the smallest
word there fails the edit, and e2fsck looks at the whole afterwards. What is changed is a layer
that is thrown away then.
"""

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.disk_change import (
    Copy,
    Link,
    MakeDir,
    Meta,
    Operation,
    Remove,
    RemoveDir,
    Rename,
    SetLinks,
    SetMeta,
    Symlink,
    Unfit,
    Write,
)
from pipeline.words.errors import Trouble

_DEADLINE_S = 300.0
_BANNER = "debugfs "
# It reads lines of 8 KiB, and ends one also at a carriage return; a request has two words at most.
_LONGEST_WORD = 3900
# ``ln`` alone does not make a directory larger that is full; what it says then.
_FULL_DIR = "make_link: No free space in the directory"
_ROUNDS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One name in a directory; ``mode`` as in ``st_mode``."""

    inode: int
    mode: int
    uid: int
    gid: int
    size: int


class Ext4:
    """A raw file system that is written to; each call is one process."""

    def __init__(self, raw: Path, *, log: Log) -> None:
        self.raw = raw
        self._log = log

    def names(self, paths: Sequence[str]) -> dict[str, dict[str, Entry]]:
        """List directories; one that is not there is left out of the answer."""
        requests = [f"ls -p {quoted(path)}" for path in paths]
        said, _ = self._debugfs(requests, writable=False)
        found: dict[str, dict[str, Entry]] = {}
        marks = {f"debugfs: {request}": path for request, path in zip(requests, paths, strict=True)}
        at, names = "", dict[str, Entry]()
        for line in said.split("\n"):
            if line in marks:
                names = {}
                at = marks[line]
            elif line.startswith("/"):
                inode, mode, uid, gid, rest = line[1:].split("/", 4)
                name, size, _end = rest.rsplit("/", 2)
                entry = Entry(
                    inode=int(inode),
                    mode=int(mode, 8),
                    uid=int(uid),
                    gid=int(gid),
                    size=int(size or 0),
                )
                # What was removed from the front of a block is still told, without an inode.
                if entry.inode and name not in (".", ".."):
                    names[name] = entry
                found[at] = names
        return found

    def read(self, path: str) -> bytes:
        """Read a file; raises Trouble where there is none."""
        with tempfile.TemporaryDirectory(prefix="read-", dir=self.raw.parent) as name:
            copy = Path(name) / "copy"
            _, errors = self._debugfs([f"dump {quoted(path)} {quoted(str(copy))}"], writable=False)
            if errors or not copy.is_file():
                raise Trouble(f"{path} cannot be read from the disk: {' '.join(errors)}")
            return copy.read_bytes()

    def change(self, operations: Iterable[Operation]) -> None:
        """Carry out operations in their order; raises Unfit where there is no room for them, and
        Trouble unless all of them worked.
        """
        todo = list(operations)
        # Beside the file system as it is shown to us: gone with that, whatever happens to us.
        with tempfile.TemporaryDirectory(prefix="edit-", dir=self.raw.parent) as name:
            requests = list(_requests(todo, Path(name)))
            _, errors = self._debugfs(requests, writable=True)
        self._expect([error for error in errors if error != _FULL_DIR])
        if errors:
            self._make_room([one for one in todo if isinstance(one, Link)])

    def _make_room(self, links: Sequence[Link]) -> None:
        """Make directories larger until every link is in them."""
        for _ in range(_ROUNDS):
            there = self.names(sorted({_parent(link.path) for link in links}))
            links = [link for link in links if _name(link.path) not in there[_parent(link.path)]]
            if not links:
                return
            requests = [f"expand_dir {quoted(one)}" for one in {_parent(one.path) for one in links}]
            requests += [f"ln {quoted(link.to)} {quoted(link.path)}" for link in links]
            _, errors = self._debugfs(requests, writable=True)
            self._expect([error for error in errors if error != _FULL_DIR])
        raise Trouble(f"{links[0].path} finds no room in its directory")

    def check(self) -> None:
        """Look at the whole file system, changing nothing; raises Trouble where it is not clean."""
        argv = ["e2fsck", "-f", "-n", str(self.raw)]
        done = process.run(argv, log=self._log, deadline_s=_DEADLINE_S, ok=())
        if done.code != 0:
            lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
            raise Trouble(f"e2fsck finds the disk's file system damaged: {' / '.join(lines[:6])}")

    def _debugfs(self, requests: Sequence[str], *, writable: bool) -> tuple[str, list[str]]:
        argv: list[str | Path] = ["debugfs", *(["-w"] if writable else []), "-f", "-", self.raw]
        text = "".join(f"{request}\n" for request in requests)
        done = process.run(argv, log=self._log, input=text.encode(), deadline_s=_DEADLINE_S)
        errors = done.stderr.decode("utf-8", "replace").splitlines()
        said = done.stdout.decode("utf-8", "surrogateescape")
        return said, [line.strip() for line in errors if line and not line.startswith(_BANNER)]

    def _expect(self, errors: Sequence[str]) -> None:
        if any("Could not allocate" in error for error in errors):
            raise Unfit("the change does not fit on the old disk")
        if errors:
            raise Trouble(f"debugfs could not change {self.raw}: {' / '.join(errors[:3])}")


def quoted(text: str) -> str:
    """Write a word of a request: in quotes, of which those inside are doubled.

    Raises Unfit for what no request can hold.
    """
    word = '"' + text.replace('"', '""') + '"'
    if any(one in text for one in "\n\r\0") or len(word.encode()) > _LONGEST_WORD:
        raise Unfit(f"debugfs cannot be told of {text[:200]!r}")
    return word


def _requests(operations: Iterable[Operation], scratch: Path) -> Iterator[str]:
    """Write operations as requests: each in its directory, as debugfs keeps only eight blocks."""
    at = ""
    for number, one in enumerate(operations):
        if isinstance(one, Rename):
            yield f"ln {quoted(one.old)} {quoted(one.new)}"
            yield f"unlink {quoted(one.old)}"
            at = ""
            continue
        if _parent(one.path) != at:
            at = _parent(one.path)
            yield f"cd {quoted(at)}"
        # Never a bare name: "<8>" would be an inode, "-x" an option.
        yield from _request(one, quoted(f"./{_name(one.path)}"), scratch / str(number))


def _request(one: Operation, name: str, scratch: Path) -> Iterator[str]:
    match one:
        case Remove():
            yield f"rm {name}"
        case RemoveDir():
            yield f"rmdir {name}"
        case MakeDir(meta=meta):
            yield f"mkdir {name}"
            yield from _set(name, meta, scratch)
        case Write(content=content, meta=meta):
            scratch.write_bytes(content)
            yield f"write {quoted(str(scratch))} {name}"
            yield from _set(name, meta, scratch)
        case Copy(source=source, meta=meta, links=links):
            yield f"write {quoted(source)} {name}"
            yield from _set(name, meta, scratch)
            if links > 1:
                yield f"sif {name} links_count {links}"
        case Symlink(target=target, meta=meta):
            yield f"symlink {name} {quoted(target)}"
            yield from _set(name, meta, scratch)
        case Link(to=to):
            yield f"ln {quoted(to)} {name}"
        case SetMeta(meta=meta):
            yield from _set(name, meta, scratch, owner=True)
        case SetLinks(count=count):
            yield f"sif {name} links_count {count}"


def _set(name: str, meta: Meta, scratch: Path, *, owner: bool = False) -> Iterator[str]:
    """Say whose a thing is; what is new is root's, and need not be told of it."""
    yield f"sif {name} mode 0{meta.mode:o}"
    if owner or meta.uid:
        yield f"sif {name} uid {meta.uid}"
    if owner or meta.gid:
        yield f"sif {name} gid {meta.gid}"
    # As OSTree sets it: what is deployed is of no time.
    yield f"sif {name} mtime @0"
    for number, (attribute, value) in enumerate(meta.xattrs):
        file = scratch.with_name(f"{scratch.name}.xattr{number}")
        file.write_bytes(value)
        yield f"ea_set -f {quoted(str(file))} {name} {quoted(attribute.decode())}"


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _name(path: str) -> str:
    return path.rpartition("/")[2]
