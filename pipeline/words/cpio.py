# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write cpio archives as the kernel unpacks them, the same bytes for the same files.

Format: "newc" of ``Documentation/driver-api/early-userspace/buffer-format.rst``. Inode numbers
count up, times are 0 and all belongs to root.
"""

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One path without a leading slash; ``mode`` has the type bits; a link's data is its target."""

    path: str
    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(path: str, mode: int = 0o755) -> Member:
    """Describe a directory."""
    return Member(path=path, mode=stat.S_IFDIR | mode)


def regular(path: str, data: bytes, mode: int = 0o644) -> Member:
    """Describe a file."""
    return Member(path=path, mode=stat.S_IFREG | mode, data=data)


def link(path: str, to: str) -> Member:
    """Describe a symbolic link."""
    return Member(path=path, mode=stat.S_IFLNK | 0o777, data=to.encode())


def character_device(path: str, major: int, minor: int, mode: int = 0o600) -> Member:
    """Describe a device node; only the kernel that unpacks it makes one."""
    return Member(path=path, mode=stat.S_IFCHR | mode, device=(major, minor))


def write(members: Iterable[Member]) -> bytes:
    """Write an archive; members come in the order of their paths, so that parents are first."""
    ordered = sorted(members, key=lambda member: member.path)
    parts = [_header(number, member) for number, member in enumerate(ordered, start=1)]
    parts.append(_header(0, Member(path=_TRAILER, mode=0)))
    archive = b"".join(parts)
    return archive + b"\0" * (-len(archive) % 512)


def _header(number: int, member: Member) -> bytes:
    name = member.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(member.mode) else 1
    fields = (number, member.mode, 0, 0, links, 0, len(member.data), 0, 0, *member.device)
    header = b"070701" + b"".join(b"%08X" % value for value in (*fields, len(name), 0))
    return _padded(header + name) + _padded(member.data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)
