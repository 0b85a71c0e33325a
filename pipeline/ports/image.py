# SPDX-License-Identifier: LGPL-2.1-or-later
"""Disk files: file systems made from a directory, qcow2, throw-away layers, and a look inside.

No loop device and no mount of a file system is needed, so that a container can do it. A look
inside goes through qemu-storage-daemon, which shows a qcow2 as a raw file, and debugfs.
"""

import functools
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process, userns
from pipeline.ports.files import full_disk, remove_tree, shared_place
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble

_ENTRIES = "/boot/loader/entries"
_PROBE_S = 20.0
FUSE = Path("/dev/fuse")
"""Debian lets everybody open it; a container may not have it."""
_QCOW2 = b"QFI\xfb"
_DEEPEST = 100
_EXPORT = "ostci-export-"


@dataclass(frozen=True, kw_only=True)
class BootEntry:
    """What a boot loader would start: ``kernel`` and ``initramfs`` are files of this machine."""

    title: str
    kernel: Path
    initramfs: Path | None
    options: str
    name: str = ""
    """The entry's file name, without the boot counter."""
    file: str = ""
    """Its file name on the disk; empty where it was not read from one."""


@dataclass(frozen=True, kw_only=True)
class EntryText:
    """One entry of the Boot Loader Specification as it is written on a disk."""

    name: str
    fields: dict[str, str]
    tries_left: int | None = None
    file: str = ""


def make_ext4(directory: Path, image: Path, *, size: int, label: str, uuid: str, log: Log) -> None:
    """Make a raw, sparse disk file of ``size`` bytes with an ext4 of a directory's files.

    Raises Failed where they do not fit on it.
    """
    image.unlink(missing_ok=True)
    with image.open("wb") as file:
        file.truncate(size)
    # Blocks as large ones have by themselves: else a small one takes no long symbolic link.
    extended = "lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0,nodiscard"
    argv: list[str | Path] = ["mke2fs", "-q", "-t", "ext4", "-L", label, "-U", uuid]
    argv += ["-b", "4096", "-E", extended]
    # A small journal: such file systems are made faster and replayed faster.
    journal = max(4, min(32, size // 1024**2 // 16))
    try:
        words = userns.as_root([*argv, "-J", f"size={journal}", "-d", directory, image])
        _run(words, image, log=log)
    except process.CommandError as error:
        said = error.finished.error_text
        if "Insufficient space to store extended attribute" in said:
            what = f"a file has more extended attributes than ext4 can keep: {said}"
            raise Failed(what, where=str(directory)) from error
        if not re.search("Could not allocate (block|inode)", said):
            raise
        raise Failed(
            f"the files do not fit on a disk of {size} bytes",
            where=str(directory),
            hint="raise the target's disk-size in the manifest",
        ) from error


def to_qcow2(raw: Path, image: Path, *, log: Log) -> None:
    """Write a raw disk file as qcow2; what is not used takes no room."""
    argv: list[str | Path] = [
        "qemu-img",
        "convert",
        "-f",
        "raw",
        "-O",
        "qcow2",
        "-W",
        "-m",
        "4",
        raw,
        image,
    ]
    _run(argv, image, log=log)


def overlay(base: Path, path: Path, *, log: Log) -> None:
    """Make a layer on a disk: what is written goes there, and the disk stays as it is."""
    base = base.resolve()
    if not base.is_file():
        raise Trouble(f"there is no disk {base}", hint="ostci disk makes it")
    argv: list[str | Path] = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "qcow2",
        "-b",
        base,
        path,
    ]
    _run(argv, path, log=log)


def overlay_beside(base: Path, path: Path, *, log: Log) -> None:
    """Make a layer in the directory of its disk, by whose name alone it knows it."""
    if base.parent != path.parent:
        raise ValueError(f"{path} is not beside {base}")
    argv: list[str | Path] = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2"]
    # A name with a colon in it would be read as a protocol.
    _run([*argv, "-b", f"./{base.name}", path], path, log=log)


def put_on(layer: Path, base: Path, *, log: Log) -> None:
    """Have a layer stand on another file with the same content, which is beside it."""
    argv: list[str | Path] = ["qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "qcow2"]
    _run([*argv, "-b", f"./{base.name}", layer], layer, log=log)


def below(path: Path) -> tuple[Path, ...]:
    """List the disks that a layer stands on, the nearest first; they need not be there.

    Read from the images' own headers. Format: QEMU's docs/interop/qcow2.txt.
    """
    found: list[Path] = []
    at = path
    while (name := _backing_name(at)) and len(found) < _DEEPEST:
        at = at.parent / name
        found.append(at)
    return tuple(found)


def _backing_name(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(20)
            if len(head) < 20 or head[:4] != _QCOW2:
                return ""
            offset, size = int.from_bytes(head[8:16], "big"), int.from_bytes(head[16:20], "big")
            file.seek(offset)
            return file.read(size).decode() if offset else ""
    except FileNotFoundError:
        return ""


def can_export() -> bool:
    """Tell whether this machine lets us show an image by FUSE."""
    return os.access(FUSE, os.R_OK | os.W_OK)


@contextmanager
def exported(image: Path, *, log: Log, writable: bool = False) -> Iterator[Path]:
    """Show a qcow2 as a raw file for the length of the ``with``; yields that file.

    Raises Trouble where FUSE is not to be had.
    """
    if not can_export():
        hint = f"sudo chmod 666 {FUSE}" if FUSE.exists() else "modprobe fuse"
        raise Trouble(
            f"{FUSE} cannot be opened, which reading a disk needs",
            hint=f"{hint}; in a container: start it with --device {FUSE}",
        )
    remove = functools.partial(_remove_export, log=log)
    with shared_place(Path(tempfile.gettempdir()), _EXPORT, remove=remove) as place:
        raw = place / "raw"
        raw.touch()
        ready = place / "pid"
        argv: list[str | Path] = [
            "qemu-storage-daemon",
            f"--blockdev=driver=file,node-name=file,filename={_escaped(image)}"
            + _only_read(not writable),
            "--blockdev=driver=qcow2,node-name=disk,file=file" + _only_read(not writable),
            f"--export=type=fuse,id=export,node-name=disk,mountpoint={_escaped(raw)}"
            f",writable={'on' if writable else 'off'}",
            f"--pidfile={ready}",
        ]
        with process.start(argv, log=log) as daemon:
            _wait_for(ready, daemon)
            try:
                yield raw
            finally:
                daemon.terminate()


def _remove_export(directory: Path, log: Log) -> None:
    """Take an export's directory away, with the mount that a killed process left there."""
    # The file itself is not asked: what it answers while its daemon dies is any of several errors.
    raw = directory.resolve() / "raw"
    if raw in _mount_points(Path("/proc/self/mountinfo").read_bytes()):
        # At once, though the daemon may not have let go of it yet.
        process.run(["fusermount3", "-u", "-z", "-q", raw], log=log, ok=())
    remove_tree(directory)


def _mount_points(mounts: bytes) -> set[Path]:
    """Read where something is mounted: the fifth field of a line (proc_pid_mountinfo(5))."""
    return {
        Path(os.fsdecode(re.sub(rb"\\([0-7]{3})", _octal, line.split(b" ")[4])))
        for line in mounts.splitlines()
    }


def _octal(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 8)])


def _only_read(on: bool) -> str:
    return ",read-only=on" if on else ""


def _escaped(path: Path) -> str:
    """Write a path where QEMU reads options: a comma is doubled."""
    return str(path.resolve()).replace(",", ",,")


def _wait_for(ready: Path, daemon: process.Child) -> None:
    """Wait until the daemon has written its pid: it does so when its exports are up."""
    for _ in range(int(_PROBE_S / 0.01)):
        if ready.exists() and ready.read_text().strip():
            return
        if daemon.wait(0.01) is not None:
            break
    said = daemon.stderr.read().decode(errors="replace").strip() if daemon.stderr else ""
    raise Trouble(f"qemu-storage-daemon did not show the disk: {said or 'it said nothing'}")


def boot_entry(image: Path, into: Path, *, log: Log) -> BootEntry:
    """Read what a boot loader would start from a disk or a layer that no machine is using.

    Kernel and initramfs are written to ``into``. What a machine had not yet written out of the
    file system's journal counts; the image itself is not changed. Raises Failed for a disk
    without anything to boot.
    """
    into.mkdir(parents=True, exist_ok=True)
    with _readable(image, into, log=log) as raw:
        entries = _read_entries(raw, log=log)
        chosen = choose_entry(entries)
        kernel = into / "vmlinuz"
        initramfs = into / "initramfs.img" if "initrd" in chosen.fields else None
        wanted = [(chosen.fields["linux"], kernel)]
        if initramfs is not None:
            wanted.append((chosen.fields["initrd"], initramfs))
        _dump([(f"/boot{_checked(inside)}", path) for inside, path in wanted], raw, log=log)
    return BootEntry(
        title=chosen.fields.get("title", ""),
        kernel=kernel,
        initramfs=initramfs,
        options=chosen.fields.get("options", ""),
        name=chosen.name,
        file=chosen.file,
    )


@contextmanager
def _readable(image: Path, room: Path, *, log: Log) -> Iterator[Path]:
    """Show the disk's file system as it will be after its journal is replayed.

    It is a throw-away layer through FUSE, or where that cannot be had a copy in ``room``.
    """
    with tempfile.TemporaryDirectory(prefix="look-", dir=room) as name, ExitStack() as stack:
        if has_fuse():
            layer = Path(name) / "layer.qcow2"
            overlay(image, layer, log=log)
            raw = stack.enter_context(exported(layer, log=log, writable=True))
        else:
            raw = Path(name) / "raw"
            _run(["qemu-img", "convert", "-O", "raw", image, raw], raw, log=log)
        state = debugfs(raw, ["show_super_stats -h"], log=log)
        if "needs_recovery" in state:
            debugfs(raw, ["journal_run"], log=log, writable=True)
        yield raw


def has_fuse() -> bool:
    """Tell whether a disk can be shown as a file.

    An ordinary user's FUSE is mounted by a setuid program. In a namespace without root that is
    nobody's: the one that a machine runs in has only the user.
    """
    if not os.access(FUSE, os.R_OK | os.W_OK):
        return False
    mapped = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    return any(int(inside) == 0 for inside, _, _ in mapped)


def debugfs(raw: Path, requests: Sequence[str], *, log: Log, writable: bool = False) -> str:
    """Give debugfs(8) requests about a raw file system; tell what it wrote.

    debugfs ends well whatever happens: callers look at what they asked for.
    """
    argv: list[str | Path] = ["debugfs", *(["-w"] if writable else []), "-f", "-", raw]
    text = "".join(f"{request}\n" for request in requests)
    done = process.run(argv, log=log, input=text.encode(), deadline_s=300.0)
    return done.stdout.decode("utf-8", "replace")


def _read_entries(raw: Path, *, log: Log) -> list[EntryText]:
    listing = debugfs(raw, [f"ls -p {_ENTRIES}"], log=log)
    names = [line.split("/")[5] for line in listing.splitlines() if line.count("/") >= 6]
    found = []
    with tempfile.TemporaryDirectory(prefix="ostci-entries-") as directory:
        wanted = [
            (f"{_ENTRIES}/{_checked(name)}", Path(directory) / str(number))
            for number, name in enumerate(names)
            if name.endswith(".conf")
        ]
        if wanted:
            _dump(wanted, raw, log=log)
        for inside, path in wanted:
            found.append(parse_entry(inside.rpartition("/")[2], path.read_text(errors="replace")))
    return found


def parse_entry(name: str, text: str) -> EntryText:
    """Read an entry; a name such as ``a+2-1.conf`` has two tries left and one done."""
    stem = name.removesuffix(".conf")
    counted = re.fullmatch(r"(.*)\+(\d+)(?:-\d+)?", stem)
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            fields[key] = (
                f"{fields[key]} {value.strip()}"
                if key == "options" and key in fields
                else value.strip()
            )
    return EntryText(
        name=counted[1] if counted else stem,
        fields=fields,
        tries_left=int(counted[2]) if counted else None,
        file=name,
    )


def choose_entry(entries: Sequence[EntryText]) -> EntryText:
    """Choose as a boot loader would: not one that has used up its tries, then the newest version.

    Raises Failed where there is none with a kernel.
    """
    bootable = [entry for entry in entries if entry.fields.get("linux")]
    if not bootable:
        raise Failed(f"the disk has no entry to boot in {_ENTRIES}")
    return max(
        bootable,
        key=lambda entry: (
            entry.tries_left != 0,
            _version_key(entry.fields.get("version", "")),
            entry.name,
        ),
    )


def _version_key(version: str) -> list[tuple[int, str]]:
    return [
        (int(word), "") if word.isdigit() else (-1, word)
        for word in re.findall(r"\d+|\D+", version)
    ]


def _checked(name: str) -> str:
    """Take a name that a guest wrote; raises Failed for one that debugfs could misunderstand."""
    if not re.fullmatch(r"[A-Za-z0-9._+@:/~-]+", name) or ".." in name.split("/"):
        raise Failed(f"the disk's boot entries name a strange file: {name!r}")
    return name


def _dump(wanted: Sequence[tuple[str, Path]], raw: Path, *, log: Log) -> None:
    said = debugfs(raw, [f'dump {inside} "{path}"' for inside, path in wanted], log=log)
    for inside, path in wanted:
        if not path.is_file():
            raise Failed(f"the disk's boot entry names {inside}, which is not there", hint=said)


def _run(argv: Sequence[str | Path], image: Path, *, log: Log) -> None:
    try:
        process.run(argv, log=log, deadline_s=1800.0)
    except process.CommandError as error:
        if "No space left" in error.finished.error_text:
            raise full_disk(image) from error
        raise
