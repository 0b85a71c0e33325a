# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that make, read and remove files of every user, also when we are not root.

As root they are started as they are. Else each gets a user namespace of its own, in which we are
root and our subordinate ids (subuid(5)) are all other users. The mapping is the same each time,
so that one program finds the owners that another one made.
"""

import os
import pwd
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipeline.ports import files, process
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble

_WORDS = ("unshare", "--user", "--map-auto", "--map-root-user", "--")
_FIRST_ID, _COUNT = 100_000, 65_536
"""What Debian's useradd gives: enough for every number that a tree's files are of."""
_PROBE_S = 10.0
# Debian's own switch; the kernel's bound; what Ubuntu's AppArmor adds. Value that forbids.
_SWITCHES = (
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "10000"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Why files of other users cannot be had, and the command that mends it."""

    words: str
    mend: str


def as_root(argv: Sequence[str | Path], *, log: Log) -> list[str | Path]:
    """Write the command that runs a program as one that may own files of every user.

    Raises Trouble where that cannot be had, with the command that mends it.
    """
    if os.geteuid() == 0:
        return list(argv)
    lack = missing(log=log)
    if lack is not None:
        raise Trouble(f"files of other users cannot be made: {lack.words}", hint=lack.mend)
    return [*_WORDS, *argv]


def remove_tree(path: Path) -> None:
    """Remove a directory that holds files of every user."""
    if os.geteuid() != 0 and path.is_dir() and not path.is_symlink():
        log = Log()
        if missing(log=log) is None:
            argv = as_root(["rm", "--recursive", "--force", "--", path], log=log)
            process.run(argv, log=log, deadline_s=600.0)
    # Without a namespace there were never files of others; and what rm left is told here.
    files.remove_tree(path)


@cache
def missing(*, log: Log) -> Lack | None:
    """Tell what keeps an ordinary user from it; None when nothing does. Tried once a process."""
    done = process.run([*_WORDS, "true"], log=log, ok=(), deadline_s=_PROBE_S)
    if done.code == 0:
        return None
    return _why(done.error_text.strip())


def forbidden() -> Lack | None:
    """Tell whether a setting of this kernel forbids user namespaces to ordinary users."""
    for name, value, allowed in _SWITCHES:
        switch = Path("/proc/sys") / name.replace(".", "/")
        if switch.is_file() and switch.read_text().strip() == value:
            words = f"this kernel lets ordinary users make no user namespaces ({name}={value})"
            return Lack(words=words, mend=f"sudo sysctl -w {name}={allowed}")
    return None


def _why(said: str) -> Lack:
    lack = forbidden()
    if lack is not None:
        return lack
    if shutil.which("newuidmap") is None:
        return Lack(words="newuidmap is not installed", mend="sudo apt-get install uidmap")
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        words = f"user {os.geteuid()} has no line in /etc/passwd, and so no subordinate ids"
        return Lack(words=words, mend="use an account that useradd made")
    lacking = [kind for kind in ("uid", "gid") if not _has_ids(Path(f"/etc/sub{kind}"), name)]
    if lacking:
        wanted = " ".join(f"--add-sub{kind}s {_free(Path(f'/etc/sub{kind}'))}" for kind in lacking)
        words = f"{name} has no {_COUNT} ids in {' and '.join(f'/etc/sub{k}' for k in lacking)}"
        return Lack(words=words, mend=f"sudo usermod {wanted} {name}")
    words = f"no user namespace can be made: {said or 'unshare said nothing'}"
    return Lack(words=words, mend=f"{' '.join(_WORDS)} true")


def _ranges(path: Path) -> list[tuple[str, int, int]]:
    """Read (owner, first, count) of a file as subuid(5) describes it."""
    lines = path.read_text().splitlines() if path.is_file() else []
    words = [line.split(":") for line in lines if line.count(":") == 2]
    return [(one[0], int(one[1]), int(one[2])) for one in words if one[1].isdigit()]


def _has_ids(path: Path, name: str) -> bool:
    owners = (name, str(os.geteuid()))
    return any(owner in owners and count >= _COUNT for owner, _, count in _ranges(path))


def _free(path: Path) -> str:
    """Write a range that nobody has yet, as usermod reads it."""
    first = max([_FIRST_ID, *(start + count for _, start, count in _ranges(path))])
    return f"{first}-{first + _COUNT - 1}"
