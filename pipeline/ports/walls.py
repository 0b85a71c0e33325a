# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is to be seen within a sandbox, and the words that tell bubblewrap so."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports.sandbox_inner import STAGE
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Limits

ENVIRONMENT = {
    "HOME": "/",
    "LANG": "C.UTF-8",
    "LOGNAME": "builduser",
    "PATH": "/usr/bin:/usr/sbin:/bin:/sbin",
    "SHELL": "/bin/sh",
    "TZ": "UTC",
    "USER": "builduser",
}
INSIDE = 1000
"""The number that the build user has within the walls."""
_SMALL_FILES = 256 * 1024**2
_LINKS = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")


@dataclass(frozen=True, kw_only=True)
class Walls:
    """What is to be seen within. Paths within are absolute.

    ``root`` is a checked-out tree: its ``/usr``, the links beside that, and its ``/usr/etc`` as
    ``/etc``. ``writable`` directories are given to the sandbox's user; what is in them counts
    together against ``limits.output``. ``tmpfs`` are empty at the start and gone at the end.
    """

    root: Path
    readonly: Mapping[str, Path] = field(default_factory=dict)
    writable: Mapping[str, Path] = field(default_factory=dict)
    tmpfs: tuple[str, ...] = ("/tmp", "/var", "/run")
    cwd: str = "/"
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to ``ENVIRONMENT``, which is all that is there otherwise."""
    limits: Limits = field(default_factory=Limits)
    hostname: str = "ostci"

    def mounts(self) -> list[tuple[str, str, Path | None]]:
        """List (place, bubblewrap's option, source) of all but the root, parents first."""
        found: dict[str, tuple[str, Path | None]] = {}
        found |= dict.fromkeys(self.tmpfs, ("--tmpfs", None))
        found |= {place: ("--ro-bind", path) for place, path in self.readonly.items()}
        found |= {place: ("--bind", path) for place, path in self.writable.items()}
        return [(place, how, path) for place, (how, path) in sorted(found.items())]


@dataclass(frozen=True, kw_only=True)
class Over:
    """An overlay instead of the bare root; without ``upper`` it is read-only.

    ``upper`` and ``work`` are beside each other.
    """

    upper: Path | None = None
    work: Path | None = None

    def orders(self, lower: Path) -> dict[str, str]:
        """Write it as ``sandbox_inner`` reads it."""
        if self.upper is None or self.work is None:
            return {"lower": str(lower)}
        if self.upper.parent != self.work.parent:
            raise ValueError(f"{self.upper} and {self.work} must be in one directory")
        room = str(self.upper.parent)
        return {"lower": str(lower), "room": room, "upper": self.upper.name, "work": self.work.name}


def binds(walls: Walls, over: Over | None) -> list[tuple[str, str]]:
    """List (source, name below the staging directory) of what has to be laid out."""
    found = [(str(walls.root), "root")] if over is None else []
    sources = [path for _, _, path in walls.mounts() if path is not None]
    return found + [(str(path), f"b{number}") for number, path in enumerate(sources)]


def bubblewrap(
    walls: Walls,
    argv: Sequence[str],
    *,
    over: Over | None,
    status: int,
    seccomp: int | None,
    terminal: bool,
) -> list[str]:
    """Write the command that makes the walls out of what was laid out.

    ``status`` and ``seccomp`` are descriptors. A program that writes over the root is root there.
    """
    inside = "0" if over is not None and over.upper is not None else str(INSIDE)
    words = ["bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--die-with-parent"]
    words += ["--json-status-fd", str(status), "--uid", inside, "--gid", inside]
    words += ["--cap-drop", "ALL", "--hostname", walls.hostname, "--clearenv"]
    words += [] if terminal else ["--new-session"]
    words += [] if seccomp is None else ["--seccomp", str(seccomp)]
    for name, value in sorted({**ENVIRONMENT, **walls.env}.items()):
        words += ["--setenv", name, value]
    words += _root(walls, over)
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(_SMALL_FILES)]
    words += ["--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    number = 0
    for place, how, path in walls.mounts():
        if path is None:
            words += ["--size", str(_SMALL_FILES), "--perms", "1777", how, place]
        else:
            words += [how, f"{STAGE}/b{number}", place]
            number += 1
    return [*words, "--remount-ro", "/", "--chdir", walls.cwd, "--", *argv]


def _root(walls: Walls, over: Over | None) -> list[str]:
    stage = f"{STAGE}/root" if over is None else f"{STAGE}/over"
    bind = "--bind" if over is not None and over.upper is not None else "--ro-bind"
    if not (walls.root / "usr").is_dir():
        raise Trouble(f"{walls.root} is no checked-out tree: it has no usr")
    words = [bind, f"{stage}/usr", "/usr"]
    for name in _LINKS:
        path = walls.root / name
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), f"/{name}"]
        elif path.is_dir():
            words += [bind, f"{stage}/{name}", f"/{name}"]
    etc = next((name for name in ("usr/etc", "etc") if (walls.root / name).is_dir()), None)
    if etc is not None and "/etc" not in {place for place, _, _ in walls.mounts()}:
        words += [bind, f"{stage}/{etc}", "/etc"]
    return words
