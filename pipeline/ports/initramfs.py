# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small initramfs for virtual machines: busybox, a few modules, ostree-prepare-root.

All that is in it comes from the tree that it will start, so that equal trees give equal bytes.
How it goes about its work is in ``initramfs-init.sh``.
"""

import hashlib
import lzma
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words import cpio, elf
from pipeline.words.errors import Failed

MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_scsi",
    "sd_mod",
    "virtio_console",
    # What ext4 sums up its metadata with; modules.dep does not say so.
    "crc32c_generic",
    "ext4",
)
"""Modules to find a root with, and the console's; what a kernel has built in is not asked for."""

_PROGRAM = "usr/bin/busybox"
_PREPARE_ROOT = "usr/lib/ostree/ostree-prepare-root"
_INIT = Path(__file__).with_name("initramfs-init.sh")
_LIBRARIES = ("usr/lib/*-linux-gnu*", "usr/lib64", "usr/lib", "lib/*-linux-gnu*", "lib64", "lib")
_DIRECTORIES = ("bin", "dev", "proc", "run", "sys", "sysroot")


def initramfs_digest() -> str:
    """Hash what makes an initramfs, for the keys of trees that hold one."""
    sources = [Path(name) for name in (__file__, cpio.__file__, elf.__file__)]
    return hashlib.sha256(b"".join(path.read_bytes() for path in (*sources, _INIT))).hexdigest()


def make_initramfs(root: Path, kernel_version: str, log: Log) -> bytes:
    """Make the initramfs of one kernel from a checked-out tree.

    The bytes depend on the files of the tree alone. Raises Failed where the tree lacks what it
    is made of.
    """
    log.detail(f"initramfs: kernel {kernel_version}, from {root}")
    directory = root / "usr/lib/modules" / kernel_version
    modules = [_module(path, log=log) for path in needed_modules(directory)]
    members = [
        *(cpio.directory(name) for name in _DIRECTORIES),
        cpio.character_device("dev/console", 5, 1),
        cpio.regular("init", _INIT.read_bytes(), 0o755),
        cpio.regular("bin/busybox", _need(root, _PROGRAM).read_bytes(), 0o755),
        *(cpio.regular(f"lib-modules/{name}", data) for name, data in modules),
        cpio.regular("modules", "".join(f"/lib-modules/{name}\n" for name, _ in modules).encode()),
        *_programs(root, (_PROGRAM, _PREPARE_ROOT)),
    ]
    return cpio.write(_with_parents(members))


def needed_modules(directory: Path) -> list[Path]:
    """List the files of ``MODULES`` and of what they need, each after what it needs.

    ``directory`` is ``/usr/lib/modules/VERSION`` of a tree. A module that the kernel does not
    have at all is left out; virtio's block device must be there in one way or the other.
    """
    if not directory.is_dir():
        raise Failed(f"the tree has no modules of kernel {directory.name}", where=str(directory))
    needs = _parse_dependencies(_read(directory / "modules.dep"))
    by_name = {_name(path): path for path in needs}
    built_in = {_name(line) for line in _read(directory / "modules.builtin").splitlines()}
    if "virtio_blk" not in by_name.keys() | built_in:
        raise Failed(
            f"kernel {directory.name} has no virtio_blk, by which it could find its disk",
            where=str(directory),
            hint="choose a kernel package with virtio, or initramfs: dracut in the base",
        )
    order: dict[str, None] = {}

    def add(path: str) -> None:
        # depmod lists what a module needs nearest first.
        for other in [*reversed(needs[path]), path]:
            order.setdefault(other)

    for name in MODULES:
        if name in by_name:
            add(by_name[name])
    return [directory / path for path in order]


def _parse_dependencies(text: str) -> dict[str, list[str]]:
    """Read modules.dep(5): module → what it needs, as paths from the directory."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {path: rest.split() for path, _, rest in pairs}


def _name(path: str) -> str:
    return re.sub(r"\.ko(\.\w+)?$", "", PurePosixPath(path).name).replace("-", "_")


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        raise Failed(
            f"the tree has no {path.name}; depmod makes it", where=str(path.parent)
        ) from error


def _module(path: Path, *, log: Log) -> tuple[str, bytes]:
    """Read a module, unpacked, for not every busybox can unpack one."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        return path.stem, lzma.decompress(data)
    if path.suffix == ".zst":
        argv = ["zstd", "--decompress", "--stdout", "--quiet"]
        return path.stem, process.run(argv, log=log, input=data, deadline_s=60).stdout
    return path.name, data


def _need(root: Path, name: str) -> Path:
    """Find a file in a tree, following its links inside the tree; raises Failed for none."""
    found = _inside(root, name)
    if found is None:
        package = "busybox-static" if "busybox" in name else "ostree-boot"
        raise Failed(
            f"the tree has no /{name}, which its initramfs needs",
            where=str(root),
            hint=f"add {package} to the base's packages",
        )
    return found


def _inside(root: Path, name: str) -> Path | None:
    """Follow the links of a path as if ``root`` were ``/``; None for what is not there."""
    todo = [part for part in PurePosixPath(name).parts if part != "/"]
    at: list[str] = []
    for _ in range(200):
        if not todo:
            path = root.joinpath(*at)
            return path if path.is_file() else None
        part = todo.pop(0)
        if part == "..":
            at = at[:-1]
            continue
        path = root.joinpath(*at, part)
        if not path.is_symlink():
            at.append(part)
            continue
        to = PurePosixPath(path.readlink())
        at = [] if to.is_absolute() else at
        todo = [one for one in to.parts if one != "/"] + todo
    return None


def _programs(root: Path, names: Iterable[str]) -> Iterator[cpio.Member]:
    """Yield the programs but the first, with all libraries that any of them needs."""
    todo, done = list(names), set[str]()
    while todo:
        name = todo.pop()
        if name in done:
            continue
        done.add(name)
        path = _need(root, name)
        data = path.read_bytes()
        if name != _PROGRAM:
            yield cpio.regular(name.lstrip("/"), data, stat.S_IMODE(path.stat().st_mode) | 0o500)
        links = elf.read_links(data) if elf.is_elf(data) else None
        if links is None:
            continue
        todo += [links.interpreter] if links.interpreter else []
        todo += [_library(root, needed, wanted_by=name) for needed in links.needed]


def _library(root: Path, needed: str, *, wanted_by: str) -> str:
    for pattern in _LIBRARIES:
        for directory in sorted(root.glob(pattern)):
            name = str(directory.relative_to(root) / needed)
            if "/" not in needed and _inside(root, name) is not None:
                return name
    raise Failed(f"the tree has no library {needed}, which /{wanted_by} needs", where=str(root))


def _with_parents(members: Iterable[cpio.Member]) -> Iterator[cpio.Member]:
    known = {member.path: member for member in members}
    for path in list(known):
        for parent in PurePosixPath(path).parents:
            if str(parent) != ".":
                known.setdefault(str(parent), cpio.directory(str(parent)))
    yield from known.values()
