# SPDX-License-Identifier: LGPL-2.1-or-later
"""The directory of libvirt's embedded driver: settings, its cache, its lock, what it left running.

One process has one root and one root one process. The driver has no autodestroy and QEMU outlives
it, so that whoever opens a root first ends what is left of it. Run as a program, this fills the
cache of capabilities of the root that it is given.
"""

import ctypes
import hashlib
import os
import platform
import pwd
import select
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import lock, write_text
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble

# The driver writes into our terminal what it also raises; it reads this when it is imported.
os.environ.setdefault("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null")
import libvirt as libvirt

QEMU_USER = "libvirt-qemu"
"""Whom the driver runs QEMU as when we are root; Debian's libvirt insists on this account."""
_EMULATOR = "qemu-system-{arch}"
KVM = Path("/dev/kvm")
_MODULE = "pipeline.ports.domain_root"
_CAPABILITIES = Path("cache/qemu/capabilities")
_SEED_S = 180.0
_KILL_S = 10.0
_TERM_S = 2.0
_LOOK_S = 0.01
_PR_SET_CHILD_SUBREAPER = 36
# An ordinary user's driver would give its directories away to whom these name, and may not.
_OF_ROOT = f"""\
user = "{QEMU_USER}"
group = "{QEMU_USER}"
dynamic_ownership = 1
"""
_SETTINGS = """\
remember_owner = 0
security_driver = "none"
seccomp_sandbox = 1
stdio_handler = "file"
max_core = 0
# A container has neither device nodes to make nor cgroups to give away.
namespaces = []
cgroup_controllers = []
"""


def shared_cache() -> Path:
    """Name the cache that all work directories of a user share.

    What is kept here is of the host, so that it is kept also where nothing else is to be shared.
    """
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("OSTCI_CACHE") or f"{home}/ostci").resolve()


def emulator(arch: str) -> Path:
    """Find QEMU; raises Trouble where it is not installed."""
    name = _EMULATOR.format(arch=arch)
    found = shutil.which(name)
    if found is None:
        raise Trouble(f"{name} is not installed", hint="apt-get install qemu-system-x86")
    return Path(found)


def qemu_user() -> pwd.struct_passwd | None:
    """Tell whom QEMU runs as: None means as ourselves. Raises Trouble without the account."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(QEMU_USER)
    except KeyError:
        raise Trouble(
            f"there is no user {QEMU_USER}, whom QEMU is to run as",
            hint="useradd --system --user-group --home-dir /nonexistent --no-create-home "
            f"--shell /usr/sbin/nologin {QEMU_USER}",
        ) from None


@contextmanager
def prepared(root: Path, *, arch: str = "x86_64", log: Log) -> Iterator[None]:
    """Hold a root for the length of the ``with``: locked, reaped, configured, its cache filled.

    Raises Trouble where another process has it.
    """
    root.mkdir(parents=True, exist_ok=True)
    user = qemu_user()
    if user is not None:
        _check_way(root, user)
    with lock(root / "lock", what="machines"):
        reap(root, log=log)
        write_text(root / "etc/qemu.conf", _settings())
        # QEMU's user has to come as far as its own directory, and sees nothing on the way.
        root.chmod(0o711)
        staging = root / "m"
        staging.mkdir(exist_ok=True)
        staging.chmod(0o700)
        if user is not None:
            os.chown(staging, user.pw_uid, user.pw_gid)
        _fill(root, arch, log=log)
        try:
            yield
        finally:
            reap(root, log=log)


def _settings() -> str:
    return _OF_ROOT + _SETTINGS if os.geteuid() == 0 else _SETTINGS


def _check_way(root: Path, user: pwd.struct_passwd) -> None:
    for parent in root.parents:
        if not _may(user, parent, 0o1):
            raise Trouble(
                f"QEMU runs as {user.pw_name}, who cannot come through {parent}",
                where=str(root),
                hint=f"chmod o+x {parent}",
            )


def _may(user: pwd.struct_passwd, path: Path, wanted: int) -> bool:
    """Tell whether a user's permission bits allow what is wanted, as in 0o6 to read and write."""
    found = path.stat()
    if found.st_uid == user.pw_uid:
        wanted <<= 6
    elif found.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        wanted <<= 3
    return found.st_mode & wanted == wanted


def reap(root: Path, *, log: Log) -> tuple[int, ...]:
    """Kill every QEMU that this root's driver started and that still runs; tells their pids.

    Goes by libvirt's pid files. A number that meanwhile stands for another process is not
    touched: QEMU's command line names the root.
    """
    killed = []
    for path in sorted((root / "run/qemu").glob("*.pid")):
        pid = _read_pid(path)
        if pid is not None and _kill_qemu(pid, root):
            log.detail(f"killed QEMU {pid} ({path.stem}), which was left in {root}")
            killed.append(pid)
        for left in (path, path.with_suffix(".xml"), root / "etc/qemu" / f"{path.stem}.xml"):
            left.unlink(missing_ok=True)
    return tuple(killed)


def _read_pid(path: Path) -> int | None:
    try:
        return int(path.read_text().strip() or 0) or None
    except (FileNotFoundError, ValueError):
        return None


def pid_of(root: Path, name: str) -> int | None:
    """Tell the process of a machine as libvirt wrote it down."""
    return _read_pid(root / "run/qemu" / f"{name}.pid")


@contextmanager
def adopted(root: Path, name: str) -> Iterator[None]:
    """Be the parent of the QEMU that is started in the ``with``, and wait for its end.

    libvirt leaves it to whoever adopts orphans, and takes it for alive until that one has waited
    for it: in a process namespace nobody would. As our child it also dies with our tree.
    """
    given_up = threading.Event()
    with _adoption:
        _set_subreaper(True)
        threading.Thread(target=_bury, args=(root, name, given_up), daemon=True).start()
        try:
            yield
        finally:
            _set_subreaper(False)
            if pid_of(root, name) is None:
                given_up.set()


_adoption = threading.Lock()


def _set_subreaper(on: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(on), 0, 0, 0)


def _bury(root: Path, name: str, given_up: threading.Event) -> None:
    while not given_up.wait(_LOOK_S):
        pid = pid_of(root, name)
        if pid is None:
            continue
        try:
            os.waitpid(pid, 0)
            return
        except ChildProcessError:
            if not Path(f"/proc/{pid}").exists():
                return  # it ended in between; else it is not ours yet, its parent still lives


def _bury_probes(root: Path) -> None:
    """Wait for the end of each QEMU that the driver only looks at.

    Where the first process of a namespace waits for no orphans, it would take each for alive for
    40 s after its end.
    """
    while True:
        for path in (root / "lib/qemu").glob("qmp-*/qmp.pid"):
            pid = _read_pid(path)
            if pid is not None:
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        time.sleep(_LOOK_S)


def end_qemu(root: Path, name: str, *, flush: bool) -> bool:
    """End a machine's QEMU and wait for it a moment; tells whether there was one.

    With ``flush`` it writes its disk out first; else it is killed.
    """
    pid = pid_of(root, name)
    number = signal.SIGTERM if flush else signal.SIGKILL
    return pid is not None and _kill_qemu(pid, root, number, _TERM_S)


def _kill_qemu(
    pid: int, root: Path, number: signal.Signals = signal.SIGKILL, wait_s: float = _KILL_S
) -> bool:
    try:
        handle = os.pidfd_open(pid)  # before looking, so that what is looked at is what is killed
    except ProcessLookupError:
        return False
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if os.fsencode(root / "lib/qemu/domain-") not in command:
            return False
        signal.pidfd_send_signal(handle, number)
        select.select([handle], [], [], wait_s)
        return True
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(handle)


def _fill(root: Path, arch: str, *, log: Log) -> None:
    """Copy the driver's cache into the root, made once for this QEMU, libvirt, kernel and CPU."""
    target = root / _CAPABILITIES
    if any(target.glob("*.xml")):
        return
    program = emulator(arch)
    shelf = shared_cache() / "libvirt" / _host_key(program)
    with lock(shelf.with_suffix(".lock"), what="capabilities of QEMU", wait_s=_SEED_S):
        if not shelf.is_dir():
            _make_seed(shelf, arch, log=log)
    shutil.copytree(shelf, target, dirs_exist_ok=True)


def _host_key(program: Path) -> str:
    """Hash what libvirt compares before it believes its cache."""
    driver = Path(libvirt.__file__).stat()
    qemu = program.stat()
    facts = [
        str(libvirt.getVersion()),
        str(driver.st_mtime_ns),
        str(qemu.st_mtime_ns),
        platform.release(),
        platform.version(),
        str(os.geteuid()),
        str(user_has_kvm()),
        cpu_facts(),
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def cpu_facts() -> str:
    """Tell what the first processor is."""
    lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.startswith(("model name", "microcode")))


def user_has_kvm() -> bool:
    """Tell whether the user that QEMU runs as can open /dev/kvm."""
    user = qemu_user()
    if user is None:
        return os.access(KVM, os.R_OK | os.W_OK)
    return KVM.exists() and _may(user, KVM, 0o6)


def _make_seed(shelf: Path, arch: str, *, log: Log) -> None:
    with (
        log.step("looking at QEMU's capabilities"),
        tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as name,
    ):
        _look_from(Path(name), arch, log=log)
        made = sorted((Path(name) / _CAPABILITIES).glob("*.xml"))
        if not made:
            raise Trouble("libvirt wrote no capabilities of QEMU", hint="ostci doctor")
        aside = shelf.with_suffix(f".{os.getpid()}")
        aside.mkdir(parents=True)
        for path in made:
            shutil.copy2(path, aside / path.name)
        aside.rename(shelf)


def look(*, arch: str = "x86_64", log: Log) -> str:
    """Let the driver look at QEMU, in a root of its own; tells both versions."""
    with tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as name:
        return _look_from(Path(name), arch, log=log)


def _look_from(root: Path, arch: str, *, log: Log) -> str:
    """Start this file as a program, for a process has one root.

    The driver looks with root's rights. Where root may open /dev/kvm and QEMU's user may not,
    libvirt never believes what it saw and looks again at every call: most of a minute to start
    a machine. So there it is shown no /dev/kvm.
    """
    root.chmod(0o711)
    write_text(root / "etc/qemu.conf", _settings())
    qemu_user()
    argv: list[str | Path] = [sys.executable, "-m", _MODULE, root, arch]
    if os.geteuid() == 0 and KVM.exists() and not user_has_kvm():
        nothing = root / "no-kvm"
        nothing.touch(mode=0o600)
        argv = ["unshare", "--mount", *argv, nothing]
    return process.run(argv, log=log, deadline_s=_SEED_S).text


_loop_lock = threading.Lock()
_loop: list[threading.Thread] = []


def trouble_of(error: libvirt.libvirtError, where: str) -> Trouble:
    """Make what libvirt says into trouble of this host, with what to do about it."""
    told, hint = f"libvirt: {error.get_error_message()}", "ostci doctor"
    if "Cannot allocate memory" in told:
        told = "this host has not the memory that its target says it has"
        hint = "less memory for the target in the manifest, or fewer machines at once"
    return Trouble(told, where=where, hint=hint)


def start_loop() -> None:
    """Run libvirt's events in a thread; has to be there before the first connection."""
    with _loop_lock:
        if _loop:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run_loop, name="libvirt", daemon=True)
        _loop.append(thread)
        thread.start()


def _run_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


def _look(arguments: Sequence[str]) -> None:
    root, arch, *nothing = arguments
    if nothing:
        process.run(["mount", "--bind", nothing[0], KVM], log=Log(), deadline_s=10.0)
    start_loop()
    _set_subreaper(True)
    threading.Thread(target=_bury_probes, args=(Path(root),), daemon=True).start()
    connection = libvirt.open(f"qemu:///embed?root={root}")
    connection.getDomainCapabilities(str(emulator(arch)), arch, "q35", "qemu", 0)
    versions = (connection.getLibVersion(), connection.getVersion())
    texts = [f"{v // 1000000}.{v // 1000 % 1000}.{v % 1000}" for v in versions]
    sys.stdout.write("libvirt {}, QEMU {}\n".format(*texts))
    connection.close()


if __name__ == "__main__":
    _look(sys.argv[1:])
