# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a disk to the verdict of its smoke suite.

The disk is that of a Debian base that was imported before; without one it is the small guest of
our tests. Each boot is of a fresh layer. The baseline is a bare QEMU with the same hardware, no
libvirt, no walls and nobody who looks at more than the journal.
"""

import json
import socket
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.ports import accelerator, domain_root, image, process
from pipeline.ports.accelerator import Accelerator
from pipeline.ports.log import Line, Log, plain_text
from pipeline.ports.ostree import Repo
from pipeline.stages.base import resolve_base
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.disking.boot_files import first_boot
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words import journal
from pipeline.words.errors import Trouble
from pipeline.words.fixture import JOURNAL_PORT, SHELL_PORT
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
from pipeline.words.tree import Disk, Tree
from tests import bare, guests, machines
from tests.bench.frame import Row, interleaved

ROUNDS = 3
MORE_S = 1.5
MORE = 0.05
DEADLINE_S = 600.0
_REF = RefName("bench/compose/x86_64-bench")


def bench(scratch: Path) -> Iterator[Row]:
    """Measure boots of the largest system that is at hand."""
    log = Log()
    found = find_system()
    chosen = accelerator.choose(log=log)
    yield from _verdict(scratch, *found, chosen, log)


def find_system() -> tuple[str, Path, Commit, Target]:
    """Find a base that boots: name, repository, commit and target.

    It is the base of the Debian sample as this code makes it of the newest lists that are here,
    or else the newest that is whole: an older layout or initramfs may not boot any more.
    """
    bases = domain_root.shared_cache() / "bases"
    repo = Repo(bases, log=Log())
    refs = repo.refs() if (bases / "config").is_file() else {}
    ours = _sample_key()

    def rank(ref: RefName) -> tuple[bool, bool, int]:
        _, key, variant = ref.split("/")
        when = (bases / "refs/heads" / ref).stat().st_mtime_ns
        return key == ours, variant == "runtime", when

    for ref in sorted(refs, key=rank, reverse=True):
        wanted = {"/usr/lib/systemd/systemd", "/usr/lib/ostree/ostree-prepare-root"}
        paths = {path for path, _ in repo.walk(refs[ref])}
        if wanted <= paths and any(path.endswith("/initramfs.img") for path in paths):
            _, key, variant = ref.split("/")
            name = f"Debian (base {key[:12]}, {variant})"
            return name, bases, refs[ref], Target(name="bench", disk_size=2 * 1024**3)
    log = Log()
    return "a small guest", guests.guest_repo(log), guests.commit_guest({}, log=log), guests.TARGET


def _sample_key() -> str:
    """Tell the key that the base of the Debian sample has now; empty where that takes a network."""
    request = replace(machines.sample_request(machines.sample("debian")), offline=True)
    try:
        return resolve_base(request, cache=machines.cache_of_tests(), log=Log()).key
    except Trouble:
        return ""


def system_request(
    scratch: Path, repo: Path, commit: Commit, target: Target, *, log: Log
) -> TestRequest:
    """Make a system's disk, and ask for its smoke suite."""
    tree = Tree(
        name="x86_64-bench",
        arch="x86_64",
        target=target.name,
        commit=commit,
        content="",
        version="20260101.0",
        snapshot="",
    )
    return TestRequest(
        run=tree.version,
        tree=tree,
        target=target,
        disk=_disk(repo, commit, target, scratch / "disks", log),
        suite="smoke",
        into=scratch / "evidence",
    )


def _verdict(
    scratch: Path, name: str, repo: Path, commit: Commit, target: Target, by: Accelerator, log: Log
) -> Iterator[Row]:
    request = system_request(scratch, repo, commit, target, log=log)
    disk = request.disk
    decided: list[float] = []

    def whole() -> float:
        clock = _Decision()
        with log.also(clock):
            result = run_suite(request, cache=scratch / "cache", tmp=scratch / "tmp", log=log)
        assert clock.seconds, result.message
        decided.append(clock.seconds)
        return result.seconds

    def baseline() -> float:
        return _raw_boot(Path(disk.path), target, by, log)

    suite, raw = interleaved(whole, baseline, rounds=ROUNDS, warm=1)
    boot = statistics.median(decided[1:])
    yield _row(f"boot test of {name} until the boot is decided", boot, raw, by)
    yield _row(f"boot test of {name} to the whole suite's verdict", suite, raw, by)


def _row(name: str, ours: float, raw: float, by: Accelerator) -> Row:
    return Row(
        name=name,
        ours=ours,
        baseline=raw,
        against="qemu -kernel of the same disk to its journal's start-up finished",
        reach=f"≤ +{MORE:.0%} and ≤ +{MORE_S} s",
        reached=ours <= min(raw * (1 + MORE), raw + MORE_S),
        note=f"{ours - raw:+.2f} s, {ours / raw - 1:+.1%}, under {by.kind.upper()}",
        rounds=ROUNDS,
    )


class _Decision:
    """Hear in the log when the boot was decided, in seconds from the start of the suite."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._began = time.monotonic()

    def write(self, line: Line) -> None:
        if "machine: boot done in" in plain_text(line):
            self.seconds = time.monotonic() - self._began


def _disk(repo: Path, commit: Commit, target: Target, disks: Path, log: Log) -> Disk:
    request = DiskRequest(osname="bench", ref=_REF, commit=commit, target=target)
    return make_disk(request, repo=repo, disks=disks, log=log)


def _raw_boot(disk: Path, target: Target, by: Accelerator, log: Log) -> float:
    with bare.short_directory() as room:
        started = time.perf_counter()
        image.overlay(disk, room / "layer", log=log)
        boot = first_boot(disk, into=room, log=log)
        cpu = "host" if by.kind is accelerator.Kind.KVM else "max"
        argv = ["qemu-system-x86_64", "-machine", "q35", "-accel", by.kind, "-cpu", cpu]
        argv += ["-smp", str(target.processors), "-m", str(target.memory // 1024**2)]
        argv += ["-kernel", str(boot.kernel), "-append", boot.options, "-nodefaults"]
        argv += ["-initrd", str(boot.initramfs)] if boot.initramfs else []
        argv += ["-drive", f"file={room / 'layer'},if=virtio,cache=unsafe", "-display", "none"]
        argv += ["-vga", "std", "-serial", f"file:{room / 'console'}"]
        argv += ["-device", "virtio-serial", "-device", "virtio-rng-pci"]
        for number, port in enumerate((JOURNAL_PORT, SHELL_PORT)):
            argv += [
                "-chardev",
                f"socket,id=c{number},path={room / str(number)},server=on,wait=off",
            ]
            argv += ["-device", f"virtserialport,chardev=c{number},name={port}"]
        with process.start(argv, log=log, grace_s=0.0) as child:
            _wait_for_journal(room / "0", child)
        return time.perf_counter() - started


def _wait_for_journal(path: Path, child: process.Child) -> None:
    until = time.monotonic() + DEADLINE_S
    bare.wait_for(path.exists, deadline_s=20.0)
    with socket.socket(socket.AF_UNIX) as wire:
        wire.settimeout(DEADLINE_S)
        wire.connect(str(path))
        with wire.makefile("rb") as lines:
            for line in lines:
                assert time.monotonic() < until and child.poll() is None, "it does not come up"
                if journal.STARTUP_FINISHED.encode() not in line:
                    continue
                if json.loads(line).get("MESSAGE_ID") == journal.STARTUP_FINISHED:
                    return
    raise AssertionError("the journal ended")
