# SPDX-License-Identifier: LGPL-2.1-or-later
"""Choose how machines are run: KVM where it really works, else TCG, and how slow that is.

A device that opens proves nothing: on some hosts /dev/kvm makes machines that never get anywhere.
So a machine is booted, as the user that QEMU runs as and under a deadline: first a boot sector of
our own, which tells the speed too, then, for KVM and where one is at hand, a stock kernel up to
the point where it misses its root. What was found is kept for this host for a day.
"""

import hashlib
import os
import platform
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path

from pipeline.ports import domain_root, process
from pipeline.ports.files import lock, write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.words.errors import Trouble
from pipeline.words.records import from_json, to_json


class Kind(StrEnum):
    """What executes a guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """``speed`` is what deadlines are multiplied by: 1.0 is a machine with KVM."""

    kind: Kind
    speed: float
    words: str
    """A sentence for people: what it is and why."""
    mend: str = ""
    """A command that would make it better, if there is one."""


@dataclass(frozen=True, kw_only=True)
class _Found:
    kind: Kind
    speed: float
    words: str
    mend: str
    facts: str
    time: float


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Whether a machine booted, in words if not, and the seconds that one round took in it."""

    error: str = ""
    round_s: float = 0.0


_VERSION = "1"
"""To be changed when a change here gives other answers."""
_DEADLINE_S = 10.0
_KERNEL_DEADLINE_S = 20.0
_TCG_DEADLINE_S = 120.0
_MAX_AGE_S = 24 * 3600.0
_DISK_SIZE = 1024**2
_ROUNDS = 5
_EXIT_CODE = 33
"""What isa-debug-exit makes of the 0x10 that the boot sector writes: 0x10 * 2 + 1."""
_TCG_FACTOR = 10.0
_TCG_ROUND_S = 0.23
"""Two figures of one machine under TCG: Debian takes ten times as long to boot as it is known to
take under KVM, and a round of the boot sector takes these seconds."""

# The boot sector, loaded at 0x7c00. Each line of the table is what stands behind it.
_CODE = bytes.fromhex(
    "fa fc 31c0 8ed8 8ec0 8ed0 bc007c"  # cli; cld; ds = es = ss = 0; sp = 0x7c00
    "b80041 bbaa55 b280 cd13"  # BIOS int 13h/41h, as Linux asks for "EDD" where some hosts hang
    "fa 0f0116187d"  # cli; lgdt [0x7d18]
    "0f20c0 0c01 0f22c0 ea2a7c0800"  # cr0.PE; far jump to 32 bits at 0x7c2a
    "66b81000 8ed8 8ec0 8ed0"  # ds = es = ss = flat data
    "bf00100000 0f22df 31c0 b9000c0000 f3ab"  # cr3 = 0x1000; three pages of zeros for tables
    "c7050010000003200000 c7050020000003300000"  # PML4[0] = 0x2003; PDPT[0] = 0x3003
    "bf00300000 b883000000 b900020000"  # edi = PD; eax = first 2 MiB page; 512 of them
    "8907 0500002000 83c708 e2f4"  # [edi] = eax; eax += 2 MiB; edi += 8; loop
    "0f20e0 0c20 0f22e0"  # cr4.PAE
    "b9800000c0 0f32 80cc01 0f30"  # MSR EFER.LME
    "0f20c0 0d00000080 0f22c0 ea9a7c00001800"  # cr0.PG; far jump to 64 bits at 0x7c9a
    "b810000000 8ed8 8ec0 8ed0 31c0 0fa2"  # ds = es = ss = data; cpuid
    "bd05000000"  # ebp = 5 rounds
    "b00a e6e9 b900001000 b878563412"  # round: out 0xe9, '\n'; ecx = 2**20; eax = a seed
    "69c00d661900 055ff36e3c"  # eax = eax * 1664525 + 1013904223
    "89c2 81e2fcff0300 318200001000"  # edx = eax & 0x3fffc; [0x100000 + edx] ^= eax
    "f6c440 7405 e813000000"  # one time in two: call the subroutine
    "ffc9 75d9 ffcd 75c7"  # ecx times; then the next round
    "b00a e6e9 b010 e6f4 f4 ebfd"  # out 0xe9, '\n'; out 0xf4, 0x10: QEMU ends; else hlt for ever
    "c1c005 c3 6690"  # subroutine: rol eax, 5; ret; padding
    "0000000000000000 ffff0000009acf00"  # GDT at 0x7cf8: null; 32-bit code
    "ffff00000092cf00 ffff0000009aaf00"  # data; 64-bit code
    "1f00 f87c0000"  # at 0x7d18: its size and place
)


def choose(*, log: Log) -> Accelerator:
    """Tell what to run machines with, from the cache or by booting; raises Trouble for neither."""
    path = domain_root.shared_cache() / "accelerator.json"
    facts = _host_facts()
    with lock(path.with_suffix(".lock"), what="speed of machines", wait_s=300.0):
        known = _read(path)
        age_s = time.time() - known.time if known else 0.0
        if known is None or known.facts != facts or not 0 <= age_s < _MAX_AGE_S:
            with log.step("booting a probe machine"):
                found = measure(log=log)
            known = _Found(**vars(found), facts=facts, time=time.time())
            write_text(path, to_json(known))
    log.detail(known.words)
    return Accelerator(kind=known.kind, speed=known.speed, words=known.words, mend=known.mend)


def describe_driver(log: Log) -> str:
    """Open libvirt's embedded driver in a root of its own and say what it is."""
    versions = domain_root.look(log=log)
    user = domain_root.qemu_user()
    whom = f"as {user.pw_name}, " if user else ""
    return f"the embedded driver answers ({versions}); QEMU runs {whom}with seccomp"


def measure(*, log: Log) -> Accelerator:
    """Boot probe machines, whatever is in the cache; takes seconds."""
    kvm, mend = _look_at_kvm(log)
    if not kvm.error:
        return Accelerator(kind=Kind.KVM, speed=1.0, words="machines run with KVM: a probe booted")
    tcg = probe(Kind.TCG, deadline_s=_TCG_DEADLINE_S, log=log)
    if tcg.error:
        raise Trouble(f"no machine boots here: {tcg.error}", hint="apt-get install qemu-system-x86")
    speed = round(max(1.0, _TCG_FACTOR * tcg.round_s / _TCG_ROUND_S), 1)
    words = f"machines run with TCG, deadlines are {speed:g} times as long: {kvm.error}"
    return Accelerator(kind=Kind.TCG, speed=speed, words=words, mend=mend)


def _look_at_kvm(log: Log) -> tuple[Probe, str]:
    """Probe KVM; tells also what would mend it."""
    if not domain_root.KVM.exists():
        return Probe(error="there is no /dev/kvm"), ""
    is_open = domain_root.user_has_kvm()
    if not is_open and os.geteuid() != 0:
        mend = "sudo usermod --append --groups kvm $USER; then log in anew"
        return Probe(error="you cannot open /dev/kvm"), mend
    found = probe(Kind.KVM, deadline_s=_DEADLINE_S, log=log, as_user=is_open)
    if not found.error and (kernel := _stock_kernel()) is not None:
        found = probe_kernel(Kind.KVM, kernel, _KERNEL_DEADLINE_S, log=log, as_user=is_open)
    if found.error:
        return Probe(error=f"/dev/kvm is there, but {found.error}"), ""
    if not is_open:
        user = domain_root.QEMU_USER
        mend = f"usermod --append --groups kvm {user}; chgrp kvm /dev/kvm; chmod 660 /dev/kvm"
        return Probe(error=f"KVM works, but {user} cannot open /dev/kvm"), mend
    return found, ""


def probe(kind: Kind, *, deadline_s: float, log: Log, as_user: bool = True) -> Probe:
    """Boot the boot sector to its end; the shortest of its rounds tells the speed."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as name:
        disk = Path(name) / "probe"
        disk.write_bytes(_CODE.ljust(510, b"\0") + b"\x55\xaa" + bytes(_DISK_SIZE - 512))
        Path(name).chmod(0o755)
        options = [
            *("-drive", f"file={disk},format=raw,if=virtio,readonly=on"),
            *("-chardev", "stdio,id=marks", "-device", "isa-debugcon,chardev=marks,iobase=0xe9"),
            *("-device", "isa-debug-exit,iobase=0xf4,iosize=4"),
        ]
        argv = [*_qemu(kind, as_user=as_user), *options]
        error = _run(argv, deadline_s, log, lambda _line: marks.append(time.monotonic()))
    rounds = [after - before for before, after in pairwise(marks)]
    if not error and len(rounds) < _ROUNDS:
        error = "the machine ended early"
    return Probe(error=error, round_s=min(rounds, default=0.0))


def probe_kernel(
    kind: Kind, kernel: bytes, deadline_s: float, *, log: Log, as_user: bool = True
) -> Probe:
    """Boot a kernel without a root file system: its panic about that shows that all came up."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as name:
        path = Path(name) / "vmlinuz"
        path.write_bytes(kernel)
        Path(name).chmod(0o755)
        options = ["-kernel", str(path), "-append", "console=ttyS0 panic=-1", "-serial", "stdio"]
        argv = [*_qemu(kind, as_user=as_user), *options]
        error = _run(argv, deadline_s, log, lines.append, code=0)
    if not error and not any("Unable to mount root fs" in line for line in lines):
        error = "a stock kernel does not boot"
    return Probe(error=error)


def _qemu(kind: Kind, *, as_user: bool) -> list[str]:
    cpu = "host" if kind is Kind.KVM else "max"
    user = domain_root.qemu_user() if as_user else None
    walls = []
    if user is not None:
        who = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--init-groups"]
        walls = ["setpriv", *who, "--no-new-privs"]
    return [
        *walls,
        str(domain_root.emulator(platform.machine())),
        *("-machine", "q35", "-accel", kind, "-cpu", cpu, "-m", "256"),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
    ]


def _run(
    argv: Sequence[str],
    deadline_s: float,
    log: Log,
    on_line: Callable[[str], None],
    *,
    code: int = _EXIT_CODE,
) -> str:
    """Run QEMU to its end; tells what was wrong, or nothing."""
    try:
        process.run(argv, log=log, deadline_s=deadline_s, ok=(code,), on_line=on_line)
    except process.CommandError as error:
        if error.finished.code == -signal.SIGKILL:
            return f"a machine did not boot within {deadline_s:g} s"
        said = error.finished.error_text.splitlines()
        return f"a machine does not boot ({said[0] if said else error.what})"
    return ""


def _stock_kernel() -> bytes | None:
    """Find a kernel of some distribution: in a base that was imported, else this host's own."""
    bases = domain_root.shared_cache() / "bases"
    if (bases / "config").is_file():
        repo = Repo(bases, log=Log())
        for commit in repo.refs().values():
            for path, _ in repo.walk(commit):
                if path.startswith("/usr/lib/modules/") and path.endswith("/vmlinuz"):
                    return repo.read(commit, path)
    for found in Path("/boot").glob("vmlinuz-*"):
        if os.access(found, os.R_OK):
            return found.read_bytes()
    return None


def _read(path: Path) -> _Found | None:
    try:
        return from_json(_Found, path.read_bytes(), where=str(path))
    except (FileNotFoundError, Trouble):
        return None  # it is a cache: what another version wrote is measured anew


def _host_facts() -> str:
    """Hash what the answer depends on; a host may come back from a pause as another machine."""
    try:
        device = domain_root.KVM.stat()
        kvm = f"{device.st_mode:o} {device.st_uid} {device.st_gid} {device.st_rdev}"
    except FileNotFoundError:
        kvm = "none"
    program = domain_root.emulator(platform.machine())
    facts = [
        _VERSION,
        domain_root.cpu_facts(),
        platform.release(),
        str(program.stat().st_mtime_ns),
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        str(os.geteuid()),
        kvm,
        str(domain_root.user_has_kvm()),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
