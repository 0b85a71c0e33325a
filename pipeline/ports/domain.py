# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start and end machines through libvirt, and tell what becomes of them.

``qemu:///embed`` needs no daemon: the driver lives in this process and its files in ``root``.
``qemu:///system`` and ``qemu:///session`` take the same XML. What a guest means by what it does
is not known here.
"""

import importlib
import os
import queue
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.ports import domain_root, image, migration
from pipeline.ports.domain_root import libvirt, reap
from pipeline.ports.domain_xml import Card, Console, Files, Layer, MachineSpec, card_xml, domain_xml
from pipeline.ports.files import write_bytes
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Trouble

if TYPE_CHECKING:
    from pipeline.ports import qmp
    from pipeline.words.png import Picture

__all__ = [
    "Card",
    "Console",
    "Domain",
    "Ended",
    "Event",
    "EventKind",
    "Hypervisor",
    "MachineSpec",
    "confined",
    "hypervisor",
    "reap",
]
LONGEST_SOCKET = 107
"""Bytes that the path of a unix socket may have."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]{0,39}")
_DRAIN_S = 5.0
_SEEN_S = 1.0
_QMP = "pipeline.ports.qmp"


class EventKind(StrEnum):
    """What happened to a machine; ``ENDED`` comes last, and always."""

    STARTED = "started"
    POWER_OFF = "power-off"
    REBOOT = "reboot"
    PANIC = "panic"
    IO_ERROR = "io-error"
    PAUSED = "paused"
    RESUMED = "resumed"
    WATCHDOG = "watchdog"
    ENDED = "ended"


class Ended(StrEnum):
    """Why a machine is no longer there."""

    SHUTDOWN = "shutdown"
    REBOOT = "reboot"
    CRASHED = "crashed"
    DESTROYED = "destroyed"
    KILLED = "killed"


@dataclass(frozen=True, kw_only=True)
class Event:
    """``time`` is this machine's monotonic clock, ``detail`` the word of QEMU or libvirt."""

    kind: EventKind
    time: float
    detail: str = ""


_BY_REASON = {
    "guest-shutdown": EventKind.POWER_OFF,
    "guest-reset": EventKind.REBOOT,
    "guest-panic": EventKind.PANIC,
}
_BY_NAME = {
    "GUEST_PANICKED": EventKind.PANIC,
    "BLOCK_IO_ERROR": EventKind.IO_ERROR,
    "WATCHDOG": EventKind.WATCHDOG,
    "STOP": EventKind.PAUSED,
    "RESUME": EventKind.RESUMED,
}
_WHY = {
    EventKind.POWER_OFF: Ended.SHUTDOWN,
    EventKind.REBOOT: Ended.REBOOT,
    EventKind.PANIC: Ended.CRASHED,
}


class Domain:
    """A machine that was started; made by ``Hypervisor.start``."""

    def __init__(self, spec: MachineSpec, virt: Any, staging: Path, log: Log) -> None:
        self.spec = spec
        self.name = spec.name
        self.console = spec.console_path
        self.console_socket = spec.console_socket
        self.journal_socket = spec.journal_socket
        self.shell_socket = spec.shell_socket
        self.qmp_socket = staging / f"{spec.name}.qmp"
        self.started = 0.0
        """Monotonic time of the guest's first instruction."""
        self._virt = virt
        self._staging = staging
        self._log = log
        self._lock = threading.RLock()
        self._events: list[Event] = []
        self._listeners: list[Callable[[Event], None]] = []
        self._over = threading.Event()
        self._monitor: qmp.Monitor | None = None
        self._is_ours = False
        self._was_created = False

    @property
    def monitor(self) -> "qmp.Monitor":
        """The connection to QEMU, for what has no verb here."""
        assert self._monitor is not None, "the machine was never started"
        return self._monitor

    def is_running(self) -> bool:
        """Tell whether QEMU is still there."""
        return not self._over.is_set()

    def ended(self) -> Ended | None:
        """Tell why the machine ended; None while it runs."""
        if not self._over.is_set():
            return None
        for event in self.events():
            if event.kind in _WHY:
                return _WHY[event.kind]
        return Ended.DESTROYED if self._is_ours else Ended.KILLED

    def wait_ended(self, timeout_s: float) -> Ended | None:
        """Wait for the end; None when it still runs after that time."""
        self._over.wait(timeout_s)
        return self.ended()

    def events(self) -> tuple[Event, ...]:
        """List what happened so far, oldest first."""
        with self._lock:
            return tuple(self._events)

    def subscribe(self, listener: Callable[[Event], None]) -> None:
        """Call a listener with every event, those that were first; it runs in other threads."""
        with self._lock:
            self._listeners.append(listener)
            for event in self._events:
                listener(event)

    def event_queue(self) -> "queue.SimpleQueue[Event]":
        """Make a queue that gets every event, from the first on."""
        made: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.subscribe(made.put)
        return made

    def picture(self) -> "Picture":
        """Tell what the screen shows.

        QEMU writes it as it is: the guest stands still while it packs a PNG, ten times as long.
        """
        from pipeline.ports import dumps  # while the guest boots, not before

        return dumps.picture(self.monitor, self._staging / f"{self.name}.ppm")

    def kernel_log(self) -> tuple[str, ...]:
        """List what the guest's kernel has logged, from its memory; the guest need not help.

        Only the first 3 GiB are looked at. Raises Trouble where QEMU cannot write them down.
        """
        from pipeline.ports import dumps

        aside = self._staging / f"{self.name}.memory"
        return dumps.kernel_log(self.monitor, aside, size=self.spec.memory)

    def registers(self) -> str:
        """Tell where its processors are: what hangs is there again when asked twice."""
        from pipeline.ports import dumps

        return dumps.registers(self.monitor)

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows as PNG."""
        from pipeline.words.png import write_png

        write_bytes(path, write_png(self.picture(), level=1), flush=False)

    def send_keys(self, keys: Sequence[str], *, hold_ms: int = 100) -> None:
        """Press keys one after the other, each a QEMU key name or a chord as ``ctrl-alt-f2``."""
        for chord in keys:
            codes = [{"type": "qcode", "data": code} for code in chord.split("-")]
            self.monitor.execute("send-key", keys=codes, hold_time=hold_ms)

    def go_on(self) -> None:
        """Let a machine run that has an ``incoming`` state: ``start`` leaves that to its caller.

        Who is connected to its sockets before is so, for the guest, ever since. Raises Damaged.
        """
        if self.spec.incoming is not None:
            whole = self.spec.ram is None or self.spec.ram.path is None
            migration.load(self.monitor, self.spec.incoming, whole=whole)
        self.started = time.monotonic()
        try:
            self._virt.resume()
        except libvirt.libvirtError as error:
            raise domain_root.trouble_of(error, self.name) from error

    @property
    def pid(self) -> int | None:
        """The process of QEMU, as libvirt wrote it down."""
        return domain_root.pid_of(self._staging.parent, self.name)

    def plug(self, card: Card) -> None:
        """Give the running machine a network card; raises Trouble where it has no free slot."""
        try:
            self._virt.attachDevice(card_xml(card))
        except libvirt.libvirtError as error:
            raise domain_root.trouble_of(error, self.name) from error

    def destroy(self) -> None:
        """End the machine now, as by pulling the plug; nothing happens when it has ended.

        What the guest has written is on its layer then.
        """
        self._end(flush=True)

    def _end(self, *, flush: bool) -> None:
        self._is_ours = True
        # libvirt would do the same and then look only every fifth of a second; so it would also
        # when it is asked before it has seen for itself that QEMU is gone.
        if domain_root.end_qemu(self._staging.parent, self.name, flush=flush):
            self._over.wait(_SEEN_S)
        try:
            self._virt.destroy()
        except libvirt.libvirtError as error:
            gone = (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN)
            if error.get_error_code() not in gone:
                raise domain_root.trouble_of(error, self.name) from error

    def _tell(self, kind: EventKind, detail: str, when: float) -> None:
        event = Event(kind=kind, time=when, detail=detail)
        with self._lock:
            self._events.append(event)
            if kind is EventKind.ENDED:
                # Before anybody hears of it, who then asks how it ended.
                self._over.set()
            for listener in self._listeners:
                listener(event)
        self._log.detail(f"{kind} {detail}".strip(), about=self.name)

    def _on_qmp(self, event: "qmp.QmpEvent") -> None:
        reason = str(event.data.get("reason", event.data.get("action", "")))
        kind = _BY_NAME.get(event.name)
        if event.name == "SHUTDOWN":
            kind = _BY_REASON.get(reason)
        if kind is EventKind.RESUMED and not self._events:
            kind = EventKind.STARTED
        is_over = any(one.kind in _WHY for one in self._events)
        # QEMU pauses a guest that ended until libvirt ends it too, and may tell a panic twice.
        if kind is not None and not (is_over and (kind is EventKind.PAUSED or kind in _WHY)):
            self._tell(kind, reason, event.time)

    def _on_stopped(self, detail: str) -> None:
        """Take libvirt's word that QEMU is dead, after what QEMU said last."""
        if self._over.is_set():
            return
        now = time.monotonic()
        if self._monitor is not None:
            self._monitor.wait_gone(_DRAIN_S)
        self._tell(EventKind.ENDED, Ended.DESTROYED if self._is_ours else detail, now)


class Hypervisor:
    """An open connection to libvirt; made by ``hypervisor``."""

    def __init__(self, connection: Any, root: Path, *, is_embedded: bool, log: Log) -> None:
        self.root = root
        self._connection = connection
        self._is_embedded = is_embedded
        self._log = log
        self._domains: dict[str, Domain] = {}
        self._handle = connection.domainEventRegisterAny(
            None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._on_lifecycle, None
        )

    @contextmanager
    def start(self, spec: MachineSpec) -> Iterator[Domain]:
        """Run a machine for the length of the ``with``; nothing of it is left after it.

        Raises Trouble where it cannot be started.
        """
        self._check(spec)
        spec.into.mkdir(parents=True, exist_ok=True)
        staging = self.root / "m"
        with ExitStack() as stack:
            layers, handles = self._open_disk(spec, stack)
            files = self._stage(spec, staging, layers, stack)
            text = domain_xml(spec, files, emulator=domain_root.emulator(spec.arch))
            virt = self._define(spec, text, stack)
            domain = Domain(spec, virt, staging, self._log)
            self._domains[spec.name] = domain
            stack.callback(self._domains.pop, spec.name)
            stack.callback(self._end, domain)
            for layer, handle in zip(layers, handles, strict=True):
                virt.FDAssociate(layer.group, [handle], 0)
            self._log.detail(f"starting a machine: {spec.boot.options}", about=spec.name)
            self._create(domain, stack)
            yield domain

    def _check(self, spec: MachineSpec) -> None:
        if spec.name in self._domains:
            raise BadInput(f"there is a machine {spec.name} already")
        if not _NAME.fullmatch(spec.name):
            what = (
                f"a machine's name is up to 40 letters, digits and any of ._+@-, not {spec.name!r}"
            )
            raise BadInput(what)
        sockets = (
            spec.journal_socket,
            spec.shell_socket,
            spec.console_socket,
            self.root / "m" / f"{spec.name}.qmp",
            # libvirt's own: a number and the first 20 bytes of the name
            self.root / f"lib/qemu/domain-12345-{spec.name[:20]}/monitor.sock",
        )
        for path in sockets:
            length = len(os.fsencode(path))
            if length > LONGEST_SOCKET:
                raise Trouble(
                    f"{path} has {length} bytes; a socket's path may have {LONGEST_SOCKET}",
                    where=spec.name,
                    hint="use a work directory with a shorter path",
                )

    def _open_disk(
        self, spec: MachineSpec, stack: ExitStack
    ) -> tuple[tuple[Layer, ...], tuple[int, ...]]:
        """Open the disk's files for QEMU, whose user need not be able to find them."""
        if spec.disk is None:
            return (), ()
        layers, handles = [], []
        for number, path in enumerate((spec.disk, *image.below(spec.disk))):
            try:
                handle = os.open(path, os.O_RDONLY if number else os.O_RDWR)
            except FileNotFoundError as error:
                raise Trouble(f"there is no disk {path}", where=spec.name) from error
            stack.callback(os.close, handle)
            handles.append(handle)
            layers.append(Layer(path=path, format="qcow2", group=f"{spec.name}-{number}"))
        return tuple(layers), tuple(handles)

    def _stage(
        self, spec: MachineSpec, staging: Path, layers: tuple[Layer, ...], stack: ExitStack
    ) -> Files:
        """Put kernel and initramfs where QEMU's user can read them."""

        def copy(source: Path, suffix: str) -> Path:
            target = staging / f"{spec.name}.{suffix}"
            stack.callback(target.unlink, missing_ok=True)
            shutil.copyfile(source, target)
            target.chmod(0o644)
            return target

        initramfs = spec.boot.initramfs
        socket = staging / f"{spec.name}.qmp"
        socket.unlink(missing_ok=True)
        stack.callback(socket.unlink, missing_ok=True)
        return Files(
            kernel=copy(spec.boot.kernel, "vmlinuz"),
            initramfs=copy(initramfs, "initramfs") if initramfs else None,
            qmp_socket=socket,
            layers=layers,
        )

    def _define(self, spec: MachineSpec, text: str, stack: ExitStack) -> Any:
        try:
            virt = self._connection.defineXML(text)
        except libvirt.libvirtError as error:
            raise domain_root.trouble_of(error, spec.name) from error
        stack.callback(_undefine, virt)
        return virt

    def _create(self, domain: Domain, stack: ExitStack) -> None:
        flags = 0 if self._is_embedded else libvirt.VIR_DOMAIN_START_AUTODESTROY
        # What talks to QEMU takes as long to load as a fifth of QEMU's own start: meanwhile, then.
        threading.Thread(target=importlib.import_module, args=[_QMP], daemon=True).start()
        try:
            with domain_root.adopted(self.root, domain.name):
                # Paused, so that no event is missed by who listens to QEMU itself.
                domain._virt.createWithFlags(flags | libvirt.VIR_DOMAIN_START_PAUSED)
            domain._was_created = True
            from pipeline.ports import qmp

            domain._monitor = stack.enter_context(
                qmp.connect(
                    domain.qmp_socket,
                    name=domain.name,
                    is_alive=domain.is_running,
                    on_event=domain._on_qmp,
                )
            )
            if domain.spec.incoming is None:
                domain.go_on()
        except libvirt.libvirtError as error:
            raise domain_root.trouble_of(error, domain.name) from error

    def _end(self, domain: Domain) -> None:
        """Leave nothing running; events that are still on their way are waited for.

        A QEMU that writes its disk out closes its sockets some time before it is gone, for which
        libvirt then waits a fifth of a second; and nobody wants this layer any more.
        """
        domain._end(flush=False)
        if domain._was_created:
            domain._over.wait(_DRAIN_S)

    def _on_lifecycle(self, _connection: Any, virt: Any, event: int, detail: int, _: Any) -> None:
        domain = self._domains.get(virt.name())
        if domain is not None and event == libvirt.VIR_DOMAIN_EVENT_STOPPED:
            domain._on_stopped(_STOPPED.get(detail, str(detail)))

    def _close(self) -> None:
        for domain in tuple(self._domains.values()):
            self._end(domain)
        self._connection.domainEventDeregisterAny(self._handle)
        self._connection.close()


_STOPPED = {
    libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED: "destroyed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED_FAILED: "failed",
}


def _undefine(virt: Any) -> None:
    try:
        virt.undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
            raise domain_root.trouble_of(error, "") from error


@contextmanager
def hypervisor(uri: str, root: Path, *, log: Log) -> Iterator[Hypervisor]:
    """Connect to libvirt for the length of the ``with``; every machine is dead after it.

    ``root`` holds the embedded driver's files and, for all drivers, what QEMU's user must read;
    its path must be short and every directory above it open to all. Raises Trouble.
    """
    domain_root.start_loop()
    root = root.resolve()
    is_embedded = uri.startswith("qemu:///embed")
    with domain_root.prepared(root, log=log):
        try:
            connection = libvirt.open(f"qemu:///embed?root={root}" if is_embedded else uri)
        except libvirt.libvirtError as error:
            raise domain_root.trouble_of(error, uri) from error
        opened = Hypervisor(connection, root, is_embedded=is_embedded, log=log)
        try:
            yield opened
        finally:
            opened._close()


def confined(argv: Sequence[str | Path], *, serves: bool = False) -> list[str | Path]:
    """Write the command that runs a program which opens an embedded driver, walled off.

    Its network is empty, so that QEMU's is: a guest could reach only what the program itself
    serves there. Its processes are a namespace: the kernel kills every QEMU with it. A program
    that ``serves`` begins with ``loopback.raise_loopback``, for which an ordinary user's keeps the
    rights that it has over its namespaces.
    """
    walls = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        walls[:0] = ["--user", "--map-current-user", *(["--keep-caps"] if serves else [])]
    return ["unshare", *walls, "--", *argv]
