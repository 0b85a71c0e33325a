# SPDX-License-Identifier: LGPL-2.1-or-later
"""The shelf of checkpoints: memory, device state and disk of paused machines, to go on from.

A checkpoint is a directory ``KEY``: ``state`` (devices), ``disk.qcow2`` (a layer on the machine's
disk), ``seen`` (what its maker knows of the boot), ``record.json`` (sizes and checksums of these).
The memory is a file elsewhere, by preference in ``/dev/shm``, because QEMU opens it by its path and
its user comes into no work directory. Nobody can list where it lies; there it also has the name of
the checkpoint that it is of, so that memory whose checkpoint is gone is found and removed.

What is in these files comes of a guest: only their sizes and checksums are looked at here.
"""

import json
import os
import pwd
import shutil
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.ports.files import Held, flush, lock, own_place, remove_tree, unique_name, write_text
from pipeline.ports.log import Log
from pipeline.ports.migration import Damaged

CHECKPOINT_VERSION = 2
"""To be raised when what a checkpoint holds means something else than before."""
MOST = 6
"""Checkpoints of one shelf; the one that was used longest ago goes first."""
OLDEST_S = 24 * 3600.0
_HALF_MADE_S = 6 * 3600.0
"""After that long nobody can still be making it."""
_SHM = Path("/dev/shm")
_ELSEWHERE = Path("/var/tmp")
_PLACE = "ostci-ram-"
_OF = "of"
_MAKING = ".making-"
_BLOCK = 64 * 1024
_HEADROOM = 512 * 1024**2
"""Bytes of this machine's memory that a checkpoint must leave."""


@dataclass(frozen=True, kw_only=True)
class _Record:
    ram: str
    """Where the memory is; empty where it is in the state."""
    sizes: dict[str, int]
    sums: dict[str, int]
    version: int = CHECKPOINT_VERSION


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A checkpoint on the shelf; ``ram`` is None where the state has the memory, too."""

    directory: Path
    ram: Path | None

    @property
    def state(self) -> Path:
        return self.directory / "state"

    @property
    def disk(self) -> Path:
        return self.directory / "disk.qcow2"

    @property
    def seen(self) -> Path:
        return self.directory / "seen"

    def check_memory(self) -> None:
        """Read all of the memory and compare it; raises Damaged."""
        if self.ram is not None:
            record = _read(self.directory)
            if _sum(self.ram) != record.sums["ram"]:
                raise Damaged("its memory is not what was saved", where=str(self.directory))


class Shelf:
    """A directory of checkpoints that processes share."""

    def __init__(
        self, directory: Path, *, log: Log, most: int = MOST, oldest_s: float = OLDEST_S
    ) -> None:
        self.directory = directory
        self.most = most
        self.oldest_s = oldest_s
        self._log = log

    @contextmanager
    def use(self, key: str) -> Iterator[Checkpoint | None]:
        """Have a checkpoint for the length of the ``with``; None where there is none.

        One that is damaged is told, removed, and is none.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(lock(self._lock(key), what="a checkpoint", shared=True))
            except Held:
                yield None  # somebody makes room
                return
            path = self.directory / key
            found = None
            try:
                if path.is_dir():
                    found = _checked(path)
                    os.utime(path)
            except Damaged as error:
                self._log.warning(f"a checkpoint is damaged and is not used: {error}")
                stack.close()
                self.remove(key)
            yield found

    @contextmanager
    def making(self) -> Iterator["Making"]:
        """Make a checkpoint whose state has the memory; what is not kept by its end is removed."""
        directory = self.directory / f"{_MAKING}{unique_name()}"
        directory.mkdir(parents=True)
        try:
            yield Making(self, directory, None)
        finally:
            remove_tree(directory)

    @contextmanager
    def making_with(self, size: int, *, user: pwd.struct_passwd | None) -> Iterator["Making"]:
        """Make a checkpoint of a machine whose memory, of that size, is a file from its start.

        ``user`` is whom QEMU runs as where not as us. What is not kept by its end is removed.
        """
        reap()
        place = memory_place(size)
        made: list[Making] = []

        def leave(path: Path) -> None:
            if not any(one.is_kept for one in made):
                remove_tree(path)

        own = own_place(place, _PLACE, what="memory of a machine", mode=0o711, remove=leave)
        with own as ram_directory, self.making() as making:
            making.ram = ram_directory / "ram"
            making.ram.touch(mode=0o600)
            if user is not None:
                os.chown(making.ram, user.pw_uid, user.pw_gid)
            made.append(making)
            yield making

    def remove(self, key: str) -> bool:
        """Remove a checkpoint unless somebody uses it; tells whether it is gone."""
        path = self.directory / key
        try:
            with lock(self._lock(key), what="removing a checkpoint"):
                if path.is_dir():
                    with suppress(Damaged):
                        ram = _read(path).ram
                        if ram:
                            _remove_memory(Path(ram).parent)
                    remove_tree(path)
        except Held:
            return False
        return True

    def names(self) -> list[str]:
        """List the checkpoints, the one that was used last first."""
        found = [path for path in self.directory.glob("*") if (path / "record.json").is_file()]
        found = [path for path in found if not path.name.startswith(".")]
        return [path.name for path in sorted(found, key=_used, reverse=True)]

    def old(self) -> list[str]:
        """List what is too old, or more than there may be."""
        limit = time.time() - self.oldest_s
        return [
            key
            for number, key in enumerate(self.names())
            if number >= self.most or _used(self.directory / key) < limit
        ]

    def tidy(self) -> None:
        """Remove what is too old or too much, and what killed processes left half made."""
        for key in self.old():
            self.remove(key)
        for left in self.directory.glob(f"{_MAKING}*"):
            if time.time() - _used(left) > _HALF_MADE_S:
                remove_tree(left)
        reap()

    def _lock(self, key: str) -> Path:
        return self.directory / "locks" / f"{key}.lock"


class Making:
    """A checkpoint that is being made: where its parts go."""

    def __init__(self, shelf: Shelf, directory: Path, ram: Path | None) -> None:
        self.directory = directory
        self.ram = ram
        self.is_kept = False
        self._shelf = shelf

    @property
    def parts(self) -> Checkpoint:
        """Where state, disk and what was seen have to be by the end."""
        return Checkpoint(directory=self.directory, ram=self.ram)

    def keep(self, key: str, *, anew: bool = False) -> None:
        """Put it on the shelf, unless there is one of that key by now; ``anew``: in its place."""
        target = self._shelf.directory / key
        if anew and not self._shelf.remove(key):
            return
        with lock(self._shelf._lock(key), what="a new checkpoint", wait_s=10.0):
            if (target / "record.json").is_file():
                return
            remove_tree(target)
            if self.ram is not None:
                write_text(self.ram.with_name(_OF), str(target), flush=False)
            write_record(self.parts)
            self.directory.rename(target)
            self.is_kept = True
        self._shelf.tidy()


def write_record(parts: Checkpoint) -> None:
    """Write down what a checkpoint's files are."""
    files = {"state": parts.state, "disk": parts.disk, "seen": parts.seen}
    if parts.ram is not None:
        files["ram"] = parts.ram
    flush(parts.disk)
    record = _Record(
        ram=str(parts.ram or ""),
        sizes={name: path.stat().st_size for name, path in files.items()},
        # The disk is only sized: it may be large, and its file system has checks of its own.
        sums={name: _sum(path) for name, path in files.items() if name != "disk"},
    )
    write_text(parts.directory / "record.json", json.dumps(asdict(record)), flush=False)


def _checked(directory: Path) -> Checkpoint:
    """Look at what can be looked at quickly; raises Damaged."""
    record = _read(directory)
    found = Checkpoint(directory=directory, ram=Path(record.ram) if record.ram else None)
    files = {"state": found.state, "disk": found.disk, "seen": found.seen}
    if found.ram is not None:
        files["ram"] = found.ram
    for name, path in files.items():
        try:
            is_well = path.stat().st_size == record.sizes[name]
            if name in ("state", "seen"):
                is_well = is_well and _sum(path) == record.sums[name]
        except (OSError, KeyError) as error:
            raise Damaged(f"its {name} is gone: {error}", where=str(directory)) from error
        if not is_well:
            raise Damaged(f"its {name} is not what was saved", where=str(directory))
    return found


def _read(directory: Path) -> _Record:
    try:
        record = _Record(**json.loads((directory / "record.json").read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise Damaged(f"it has no record: {error}", where=str(directory)) from error
    if record.version != CHECKPOINT_VERSION:
        raise Damaged("it is of another version of ostci", where=str(directory))
    return record


def _sum(path: Path) -> int:
    """Sum up what a file has, block by block, but for those of zeros alone.

    Reading a hole of a file in memory fills it, so that holes tell nothing.
    """
    total = at = 0
    with path.open("rb", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        while at < end:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) // _BLOCK * _BLOCK
            except OSError:
                break  # nothing but a hole is left
            data = os.pread(file.fileno(), _BLOCK, at)
            if data.count(0) != len(data):
                total = zlib.crc32(data, zlib.crc32(at.to_bytes(8, "big"), total))
            at += _BLOCK
    return total


# The memory


def memory_place(size: int) -> Path:
    """Choose where a machine's memory of that size goes: into ours while there is room for it."""
    with suppress(OSError):
        free = shutil.disk_usage(_SHM).free
        if min(free, available_memory()) > size + _HEADROOM:
            return _SHM
    return _ELSEWHERE


def available_memory() -> int:
    """Tell how many bytes programs can still have here, without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def reap() -> None:
    """Remove our memory files that no checkpoint has, and that nobody is making one with."""
    for place in (_SHM, _ELSEWHERE):
        for path in place.glob(f"{_PLACE}*"):
            with suppress(OSError, Held):
                if path.lstat().st_uid == os.geteuid() and not _is_wanted(path):
                    with lock(path / "alive", what="cleaning up"):
                        if not _is_wanted(path):
                            remove_tree(path)


def _is_wanted(place: Path) -> bool:
    """Tell whether a checkpoint names it; its record may be of another version, beside this one."""
    with suppress(OSError):
        directory = Path((place / _OF).read_text())
        return f'"{place / "ram"}"' in (directory / "record.json").read_text()
    return False


def _remove_memory(place: Path) -> None:
    if place.name.startswith(_PLACE) and place.parent in (_SHM, _ELSEWHERE):
        remove_tree(place)


def _used(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0
