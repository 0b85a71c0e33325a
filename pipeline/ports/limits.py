# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a sandbox may take: control groups where there are any, rlimits always.

rlimits hold for each process (the number of processes: for each user), control groups for all of
a sandbox together. Where no control group can be had, what all processes take together is looked
at from outside, a few times a second. Formats: cgroups(7), Documentation/admin-guide/cgroup-v1.
"""

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import unique_name
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Limits

SPARE_PROCESSES = 8
"""The sandbox's own processes: bubblewrap's two, and what is between fork and exec."""


def in_words(size: int) -> str:
    """Write a number of bytes as people say it, exactly."""
    for unit, one in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= one and size % one == 0:
            return f"{size // one} {unit}"
    return f"{size} bytes"


@dataclass(frozen=True, kw_only=True)
class Group:
    """The control groups of one sandbox; none where the host gives none."""

    paths: tuple[Path, ...] = ()
    pids: Path | None = None
    memory: Path | None = None

    def exceeded(self, limits: Limits, pid: int | None) -> str:
        """Say which limit all processes together went over, or nothing.

        ``pid`` is above all of them: they are looked at where there is no group to ask.
        """
        family: list[int] = []
        if pid is not None and not (self.pids and self.memory):
            family = [one for one, _ in process.descendants(pid)]
        if self._too_many(limits, family):
            return f"used more than {limits.processes} processes"
        if self._too_much(limits, family):
            return f"used more than {in_words(limits.memory)} of memory"
        return ""

    def _too_many(self, limits: Limits, family: list[int]) -> bool:
        if self.pids is not None:
            return _event(self.pids, "pids.events", "max") > 0
        return sum(map(_threads, family)) > limits.processes

    def _too_much(self, limits: Limits, family: list[int]) -> bool:
        if self.memory is not None:
            files = ("memory.events", "memory.oom_control")
            return any(_event(self.memory, name, "oom_kill") > 0 for name in files)
        return sum(map(_resident_bytes, family)) > limits.memory


def rlimits(limits: Limits, group: Group) -> dict[str, int]:
    """Tell the rlimits of each process, by name."""
    found = {
        "CORE": 0,
        "NOFILE": 65536,
        "FSIZE": limits.output,
        # Of one process with all its threads, so only a bound; the clock is what stops a build.
        "CPU": limits.time_s * (os.cpu_count() or 1) + 60,
        # Above the limit, so that whoever counts can see and say that it was passed: the group
        # at the next fork, we within a second, while a bomb's processes come and go.
        "NPROC": limits.processes * (1 if group.pids else 2) + 2 * SPARE_PROCESSES,
    }
    if group.memory is None:
        found["AS"] = limits.memory
    return found


@contextmanager
def control_group(limits: Limits, *, log: Log) -> Iterator[Group]:
    """Make control groups for the length of the ``with``; who is in them must be dead at its end.

    Whether and why there are none goes to the log.
    """
    parents = find_parents(
        Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    )
    made: list[Path] = []
    try:
        group = _make(parents, limits, made)
        for name, path in (("processes", group.pids), ("memory", group.memory)):
            if path is None:
                log.detail(f"no control group for {name} can be had here: only rlimits hold")
        yield group
    finally:
        for path in made:
            _remove(path)


def describe_limits(log: Log) -> tuple[str, bool]:
    """Say in words which limits hold for a sandbox as a whole here, and whether all do."""
    with control_group(Limits(), log=log) as group:
        missing = [
            name
            for name, path in (("processes", group.pids), ("memory", group.memory))
            if path is None
        ]
    if not missing:
        return "control groups hold a build as a whole", True
    words = f"no control group for {' and '.join(missing)}: looked at four times a second instead"
    return words, False


def _threads(pid: int) -> int:
    try:
        return sum(1 for _ in os.scandir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _resident_bytes(pid: int) -> int:
    try:
        words = Path(f"/proc/{pid}/statm").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    # Less what it shares with others, so that nothing is counted twice.
    return (int(words[1]) - int(words[2])) * os.sysconf("SC_PAGE_SIZE")


def find_parents(own: str, mounts: str) -> dict[str, tuple[Path, ...]]:
    """Tell where a group with a controller may be made, best first, from this process' own files.

    ``own`` is the text of /proc/self/cgroup, ``mounts`` of /proc/self/mountinfo.
    """
    places = {}
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        kind, _source, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            root, point = left.split(" ")[3:5]
            for name in ["cgroup2"] if kind == "cgroup2" else options.split(","):
                places[name] = (root, Path(point))
    found: dict[str, tuple[Path, ...]] = {}
    for line in own.splitlines():
        _, names, path = line.split(":", 2)
        for name in names.split(",") if names else ["cgroup2"]:
            if name in places:
                top, mounted = places[name]
                inside = path.removeprefix(top.rstrip("/"))
                here = mounted / inside.lstrip("/")
                found[name] = (here,) if here == mounted else (here, here.parent)
    return found


def _make(parents: Mapping[str, tuple[Path, ...]], limits: Limits, made: list[Path]) -> Group:
    name = f"ostci-{unique_name()}"
    pids = _make_one(parents.get("pids", ())[:1], name, "pids.max", made)
    memory = _make_one(parents.get("memory", ())[:1], name, "memory.limit_in_bytes", made)
    if pids is None and memory is None:
        # Version 2: one group for all; its files are there where the parent handed them down.
        pids = _make_one(parents.get("cgroup2", ()), name, "pids.max", made)
        memory = pids if pids and (pids / "memory.max").exists() else None
    if pids is not None:
        _set(pids / "pids.max", limits.processes + SPARE_PROCESSES)
    if memory is not None:
        for file in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max"):
            _set(memory / file, limits.memory)
        _set(memory / "memory.swap.max", 0)
    return Group(paths=tuple(made), pids=pids, memory=memory)


def _make_one(parents: Iterable[Path], name: str, file: str, made: list[Path]) -> Path | None:
    for parent in parents:
        path = parent / name
        try:
            path.mkdir()
        except OSError:
            continue
        if os.access(path / file, os.W_OK):
            made.append(path)
            return path
        path.rmdir()
    return None


def _set(path: Path, number: int) -> None:
    """Write a limit where the kernel has that file (swap, for one, may be off)."""
    if path.exists():
        path.write_text(str(number))


def _event(group: Path | None, file: str, name: str) -> int:
    if group is None or not (group / file).exists():
        return 0
    words = (group / file).read_text().split()
    return int(words[words.index(name) + 1]) if name in words else 0


def _remove(path: Path) -> None:
    """Remove a group; the kernel may need a moment after its last process ended."""
    until = time.monotonic() + 5.0
    while True:
        try:
            path.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError as error:
            if time.monotonic() > until:
                raise Trouble(f"control group {path} does not become empty: {error}") from error
            time.sleep(0.02)
