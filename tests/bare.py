# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest that is up in three seconds: the kernel of an imported base, busybox, and one script.

For tests of what a machine does, whatever runs in it. The script follows the word ``UP`` on the
console; after it the guest stays up.
"""

import functools
import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import image
from pipeline.ports.accelerator import Accelerator, Kind
from pipeline.ports.domain import Domain, MachineSpec
from pipeline.ports.image import BootEntry
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.words import cpio
from pipeline.words.errors import Trouble
from tests.machines import tiny_base

BUSYBOX = Path("/bin/busybox")
DEADLINE_S = 240.0
_MODULES = {"pvpanic": ("pvpanic", "pvpanic-mmio")}
_INIT = """#!/bin/busybox sh
/bin/busybox --install -s /bin
mkdir -p /proc /sys /dev
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
for module in /modules/*; do [ -e $module ] && insmod $module; done
exec > /dev/console 2>&1
echo UP
{script}
while :; do sleep 1000; done
"""


@functools.cache
def _base() -> tuple[Repo, str, str]:
    """Find a kernel: repository, commit, and its directory."""
    if not BUSYBOX.exists():
        pytest.skip(f"there is no {BUSYBOX}")
    try:
        repo, commit = tiny_base(Log())
    except Trouble as trouble:
        pytest.skip(f"no base can be had, so there is no kernel to boot: {trouble}")
    kernels = (path for path, _ in repo.walk(commit) if path.endswith("/vmlinuz"))
    return repo, commit, next(kernels).removesuffix("/vmlinuz")


@functools.cache
def _module(name: str) -> bytes:
    repo, commit, directory = _base()
    for path, _ in repo.walk(commit):
        if path.startswith(directory) and path.endswith(f"/{name}.ko"):
            return repo.read(commit, path)
    raise AssertionError(f"the base's kernel has no module {name}")


@functools.cache
def kernel() -> bytes:
    """Read the base's kernel."""
    repo, commit, directory = _base()
    return repo.read(commit, f"{directory}/vmlinuz")


def guest(into: Path, script: str = "", *, modules: Sequence[str] = ()) -> BootEntry:
    """Write kernel and initramfs of a guest that runs a shell script."""
    names = [name for given in modules for name in _MODULES.get(given, (given,))]
    members = [
        *map(cpio.directory, ("bin", "dev", "modules")),
        cpio.character_device("dev/console", 5, 1),
        cpio.regular("bin/busybox", BUSYBOX.read_bytes(), 0o755),
        cpio.regular("init", _INIT.format(script=script).encode(), 0o755),
        *(cpio.regular(f"modules/{n}-{name}.ko", _module(name)) for n, name in enumerate(names)),
    ]
    into.mkdir(parents=True, exist_ok=True)
    (into / "vmlinuz").write_bytes(kernel())
    (into / "initramfs").write_bytes(cpio.write(members))
    return BootEntry(
        title="bare",
        kernel=into / "vmlinuz",
        initramfs=into / "initramfs",
        options="console=ttyS0 panic=-1 quiet",
    )


def disk(into: Path, script: str = "", *, log: Log) -> Path:
    """Make a disk with one boot entry, which boots such a guest."""
    made = guest(into / "root" / "boot", script)
    assert made.initramfs is not None
    (into / "root/boot/loader/entries").mkdir(parents=True)
    (into / "root/boot/loader/entries/bare.conf").write_text(
        f"title bare\nversion 1\noptions {made.options}\n"
        f"linux /{made.kernel.name}\ninitrd /{made.initramfs.name}\n"
    )
    identity = str(uuid.uuid4())
    image.make_ext4(
        into / "root", into / "raw", size=256 * 1024**2, label="bare", uuid=identity, log=log
    )
    image.to_qcow2(into / "raw", into / "disk.qcow2", log=log)
    return into / "disk.qcow2"


@contextmanager
def short_directory() -> Iterator[Path]:
    """Make a directory whose path leaves room for sockets."""
    with tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as name:
        Path(name).chmod(0o711)
        yield Path(name)


def spec(into: Path, name: str = "bare", script: str = "", **given: object) -> MachineSpec:
    """Describe a small machine; ``given`` are fields of a MachineSpec, and ``modules``."""
    modules = given.pop("modules", ())
    assert isinstance(modules, tuple)
    made = MachineSpec(
        name=name,
        boot=guest(into / "boot", script, modules=modules),
        into=into / "sockets",
        accelerator=Accelerator(kind=Kind.TCG, speed=10.0, words="as in every test"),
        memory=192 * 1024**2,
        processors=1,
    )
    return replace(made, **given)  # type: ignore[arg-type]


def wait_for(what: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a call tells something true."""
    until = time.monotonic() + deadline_s
    while not what():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def wait_for_line(machine: Domain, text: str) -> None:
    """Wait for a text on the console; fails at once when the machine ended without."""
    while text not in machine.console.read_text(errors="replace"):
        over = machine.wait_ended(0.02)
        told = machine.console.read_text(errors="replace")
        assert over is None or text in told, f"{over}, and only this was on the console: {told}"


def qemus(of: Path) -> set[int]:
    """List the QEMUs that name a path: other tests have theirs at the same time."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if b"qemu-system" in command.split(b"\0")[0] and os.fsencode(of) in command:
            found.add(int(path.name))
    return found
