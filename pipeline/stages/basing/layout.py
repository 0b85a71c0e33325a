# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the files of a root file system belong in a tree that OSTree deploys.

Only names and small texts are dealt with; archives and repositories are somebody else's.
The layout is that of "Adapting existing mainstream distributions" in OSTree's manual: all of
the system is in ``/usr``, ``/usr/etc`` is what ``/etc`` starts from, ``/var`` starts empty and
is filled by tmpfiles.d, and what people write to are links into ``/var``.
"""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

LAYOUT_VERSION = 4
"""To be raised with every change here that makes other trees of the same packages."""

FACTORY = "usr/share/factory"
DPKG = "usr/lib/sysimage/dpkg"
TMPFILES = "usr/lib/tmpfiles.d/ostci-base.conf"

DIRECTORIES = (
    *("boot", "dev", "proc", "run", "sys", "sysroot", "usr", "usr/etc", "var"),
    *("usr/bin", "usr/lib", "usr/sbin"),
)
"""Are in every tree, and empty but for ``usr``."""

LINKS = {
    "home": "var/home",
    "media": "run/media",
    "mnt": "var/mnt",
    "opt": "var/opt",
    "ostree": "sysroot/ostree",
    "root": "var/roothome",
    "srv": "var/srv",
    "tmp": "sysroot/tmp",
    "usr/local": "../var/usrlocal",
}
MERGED = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
"""Links to the same names in ``/usr``."""

_MOVED = {
    "etc": "usr/etc",
    "var/lib/dpkg": DPKG,
    "home": "var/home",
    "mnt": "var/mnt",
    "opt": "var/opt",
    "root": "var/roothome",
    "srv": "var/srv",
    "usr/local": "var/usrlocal",
    **{name: f"usr/{name}" for name in MERGED},
}
_KERNEL_FILES = {"vmlinuz": "vmlinuz", "config": "config", "System.map": "System.map"}
_LEFT_OUT = (
    # Belong to a running system, or are links to what moved.
    *("dev/*", "proc/*", "run/*", "sys/*", "sysroot/*", "tmp/*", "media/*", "ostree/*", "boot/*"),
    *("vmlinuz*", "initrd.img*", "initrd*", ".dockerenv"),
    # Belong to the machine on which the base was made.
    *("etc/hostname", "etc/resolv.conf", "etc/machine-id", "etc/mtab", "etc/fstab"),
    *("etc/.pwd.lock", "etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-"),
    *("etc/subuid-", "etc/subgid-"),
    # Locks, backups and caches; what else is in /var goes through tmpfiles.d.
    *("var/lib/dpkg/lock*", "var/lib/dpkg/*-old", "var/lib/dpkg/triggers/Lock"),
    *("var/cache/apt", "var/cache/debconf", "var/cache/ldconfig", "var/lib/apt"),
    *("var/lib/dbus/machine-id", "var/lib/systemd/catalog", "var/lib/systemd/deb-systemd-*"),
    *("var/lock", "var/run", "var/log/*", "var/tmp/*", "var/backups/*", "var/cache/man/*"),
    # They write to dpkg's database, which is part of the tree here, and would fail.
    *("etc/systemd/system/*.wants/apt-daily*.timer",),
    *("etc/systemd/system/*.wants/dpkg-db-backup.timer",),
)
_LEFT_OUT_FILES = re.compile("var/(log|cache)/.*")
_MASKED = re.compile(r"\S+\s+/(home|srv|root|mnt|opt|media|usr/local)(/\S*)?(\s|$)")
_IN_TMP = re.compile(r"^(\S+\s+)/tmp(?=[/\s]|$)")


def matches(path: str, patterns: Iterable[str]) -> bool:
    """Tell whether a path, or a directory above it, fits a shell pattern."""
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    return any(
        fnmatchcase(one, pattern) and one.count("/") == pattern.count("/")
        for pattern in patterns
        for one in above[pattern.count("/") : pattern.count("/") + 1]
    )


def place(path: str, *, directory: bool) -> str | None:
    """Tell where a path of a root file system goes in the tree; None where it is left out.

    ``path`` has no leading slash. What is placed in ``var`` is yet to become a tmpfiles.d line.
    """
    kernel = re.fullmatch(r"boot/(vmlinuz|config|System\.map)-([^/]+)", path)
    if kernel and not directory:
        return f"usr/lib/modules/{kernel[2]}/{_KERNEL_FILES[kernel[1]]}"
    if matches(path, _LEFT_OUT) or (not directory and _LEFT_OUT_FILES.fullmatch(path)):
        return None
    for old, new in _MOVED.items():
        if path == old:
            return new if directory else None
        if path.startswith(f"{old}/"):
            return place_moved(path, old, new)
    if path in LINKS or path in MERGED:
        return None
    return path


def place_moved(path: str, old: str, new: str) -> str:
    """Put a path below another directory."""
    return new + path[len(old) :]


def tmpfiles_line(path: str, kind: str, *, mode: int, uid: int, gid: int, link: str = "") -> str:
    """Write the tmpfiles.d line that makes one path of ``/var`` at boot.

    ``kind`` is ``d``, ``L`` or ``C`` (tmpfiles.d(5)); files come from the factory directory.
    """
    name = f"/{path.replace('%', '%%')}"
    if re.search(r"[\s\"'\\]", name):
        name = '"' + re.sub(r"([\"\\])", r"\\\1", name) + '"'
    if kind == "L":
        return f"L {name} - - - - {link.replace('%', '%%')}"
    return f"{kind} {name} {mode & 0o7777:04o} {uid} {gid} -"


def mend_tmpfiles(text: str) -> str:
    """Take out the lines about paths that are links here; systemd-tmpfiles complains about them.

    What they do for ``/tmp`` is needed: to empty it, to let nobody else have the sockets' places.
    They go by its real path, all of them, for those with ``x`` are exceptions from others.
    """
    return "".join(
        f"# a link into /var: {line}"
        if _MASKED.match(line)
        else _IN_TMP.sub(rf"\1/{LINKS['tmp']}", line)
        for line in text.splitlines(keepends=True)
    )


def mend_bytecode(data: bytes) -> bytes:
    """Date Python's byte code for sources of 1970, as which OSTree checks all files out.

    Else each start of a program in Python compiles all it imports anew. Format: PEP 552.
    """
    if len(data) < 16 or data[4:8] != b"\0\0\0\0":
        return data
    return data[:8] + b"\0\0\0\0" + data[12:]


def mend(path: str, data: bytes) -> bytes:
    """Change what a file says, where moving files makes it wrong; ``path`` is the new one."""
    if path.startswith("usr/lib/tmpfiles.d/") and path.endswith(".conf"):
        return mend_tmpfiles(data.decode("utf-8", "surrogateescape")).encode(
            "utf-8", "surrogateescape"
        )
    if path.endswith(".pyc"):
        return mend_bytecode(data)
    return data


def needs_mending(path: str) -> bool:
    """Tell whether ``mend`` has to see a file of that (new) path."""
    return path.endswith(".pyc") or path.startswith("usr/lib/tmpfiles.d/")


def parse_packages(status: str) -> dict[str, str]:
    """Read name → version of what is installed from dpkg's ``status`` file."""
    found = {}
    for paragraph in status.split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.*)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return dict(sorted(found.items()))
