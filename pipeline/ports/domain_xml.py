# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a machine is made of, and libvirt's XML of it: values in, text out.

The hardware is fixed: q35, virtio, two serial ports for the fixture, a screen with a
keyboard, and no network card unless one is asked for. A guest's reset ends the machine, for what
boots next is read from the disk by whoever started it. Format: https://libvirt.org/formatdomain.html
"""

import uuid
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pipeline.ports.accelerator import Accelerator, Kind
from pipeline.ports.image import BootEntry
from pipeline.words.fixture import JOURNAL_PORT, SHELL_PORT

# Their boards bring one; a second would only cost every boot the loading of its module.
_WITH_KEYBOARD = frozenset({"x86_64"})
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_MACHINES = {"x86_64": "q35"}
DISK_SERIAL = "ostci"
_RAM = "ostci-ram"
_LEFT_ALONE = ("cpu-unavailable-features",)
"""What of QEMU libvirt is not to use: https://libvirt.org/drvqemu.html#control-of-qemu-capabilities

Here it would ask for each property of a processor by a command of its own: 360 of them, which QEMU
reads byte by byte, take longer than all else of a start. Without it two commands tell the same.
"""
_WITH_GENERATION = frozenset({"x86_64"})
HOST_ADDRESS = "10.0.2.2"
GUEST_ADDRESS = "10.0.2.15/24"
"""What QEMU's user network takes them for: https://www.qemu.org/docs/master/system/devices/net.html"""


class Console(StrEnum):
    """Where the serial console goes besides ``console.txt``: nowhere, or to a socket."""

    FILE = "file"
    SOCKET = "socket"


@dataclass(frozen=True, kw_only=True)
class Card:
    """A network card (virtio) behind which QEMU itself is the network.

    A guest with ``GUEST_ADDRESS`` reaches at ``HOST_ADDRESS`` what listens on the loopback of the
    network namespace that QEMU is in, and nothing else. Each has a network of its own.
    """

    mac: str = "52:54:00:6f:73:01"


@dataclass(frozen=True, kw_only=True)
class Ram:
    """Memory of which a checkpoint can be taken, or which came of one.

    Shared, what the guest writes goes into the file at ``path``; else into pages of its own, over
    the file that stays as it is. Without a file it is like the memory of any machine.
    """

    path: Path | None = None
    is_shared: bool = False


@dataclass(frozen=True, kw_only=True)
class MachineSpec:
    """A machine to start.

    ``disk`` is a writable layer (qcow2) that nobody else uses; ``into`` a directory for sockets and
    ``console.txt``, with a short path. ``memory`` is in bytes. ``extra_options`` go to QEMU as
    they are. A machine with ``incoming`` begins in the state that this file has, not with its
    firmware: it needs the same hardware as the one of which that was saved. A card costs a boot the
    loading of its module, so that there is none by default;
    libvirt leaves one slot free, into which one can be plugged while it runs.
    """

    name: str
    boot: BootEntry
    into: Path
    accelerator: Accelerator
    disk: Path | None = None
    memory: int = 1024**3
    processors: int = 2
    arch: str = "x86_64"
    console: Console = Console.FILE
    cards: tuple[Card, ...] = ()
    ram: Ram | None = None
    incoming: Path | None = None
    extra_options: tuple[str, ...] = ()

    @property
    def console_path(self) -> Path:
        return self.into / "console.txt"

    @property
    def console_socket(self) -> Path:
        return self.into / "console.sock"

    @property
    def journal_socket(self) -> Path:
        return self.into / "journal.sock"

    @property
    def shell_socket(self) -> Path:
        return self.into / "shell.sock"


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One file of a disk's chain, top first; ``group`` names the open file that QEMU is given."""

    path: Path
    format: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Files:
    """What QEMU opens: the boot files where its user can read them, its socket, the disk."""

    kernel: Path
    initramfs: Path | None
    qmp_socket: Path
    layers: tuple[Layer, ...] = ()


def domain_xml(spec: MachineSpec, files: Files, *, emulator: Path) -> str:
    """Write the XML that defines the machine."""
    ET.register_namespace("qemu", _QEMU)
    kvm = spec.accelerator.kind is Kind.KVM
    root = ET.Element("domain", type="kvm" if kvm else "qemu")
    _text(root, "name", spec.name)
    _text(root, "uuid", str(uuid.uuid4()))
    _text(root, "memory", str(spec.memory), unit="b")
    _text(root, "vcpu", str(spec.processors))
    _boot(root, spec, files)
    features = ET.SubElement(root, "features")
    ET.SubElement(features, "acpi")
    ET.SubElement(root, "cpu", mode="host-passthrough" if kvm else "maximum")
    for name in ("on_poweroff", "on_reboot", "on_crash"):
        _text(root, name, "destroy")
    _devices(ET.SubElement(root, "devices"), spec, files, emulator)
    _options(root, spec, files)
    return ET.tostring(root, encoding="unicode")


def card_xml(card: Card) -> str:
    """Write the XML of a network card alone, as a running machine is given one."""
    return ET.tostring(_card(card), encoding="unicode")


def _card(card: Card) -> ET.Element:
    found = ET.Element("interface", type="user")
    ET.SubElement(found, "mac", address=card.mac)
    ET.SubElement(found, "model", type="virtio")
    # Without it QEMU would look for a file of its own for booting over the network.
    ET.SubElement(found, "rom", enabled="no")
    return found


def _text(parent: ET.Element, name: str, text: str, **attributes: str) -> None:
    ET.SubElement(parent, name, attributes).text = text


def _boot(root: ET.Element, spec: MachineSpec, files: Files) -> None:
    system = ET.SubElement(root, "os")
    _text(system, "type", "hvm", arch=spec.arch, machine=_MACHINES[spec.arch])
    _text(system, "kernel", str(files.kernel))
    if files.initramfs is not None:
        _text(system, "initrd", str(files.initramfs))
    _text(system, "cmdline", spec.boot.options)


def _devices(devices: ET.Element, spec: MachineSpec, files: Files, emulator: Path) -> None:
    _text(devices, "emulator", str(emulator))
    if files.layers:
        _disk(devices, files.layers)
    devices.extend(_card(card) for card in spec.cards)
    _console(devices, spec)
    ET.SubElement(devices, "controller", type="virtio-serial")
    _port(devices, spec.journal_socket, JOURNAL_PORT)
    _port(devices, spec.shell_socket, SHELL_PORT)
    ET.SubElement(devices, "controller", type="usb", model="none")
    ET.SubElement(devices, "memballoon", model="none")
    video = ET.SubElement(devices, "video")
    ET.SubElement(video, "model", type="vga", vram="16384")
    if spec.arch not in _WITH_KEYBOARD:
        ET.SubElement(devices, "input", type="keyboard", bus="virtio")
    _text(ET.SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    ET.SubElement(devices, "panic", model="isa")


def _disk(devices: ET.Element, layers: Sequence[Layer]) -> None:
    disk = ET.SubElement(devices, "disk", type="file", device="disk")
    # The layer is thrown away: what a crash of this machine would lose is of no use to anybody.
    # A full disk here stops the machine, and is told, instead of being the guest's error.
    ET.SubElement(
        disk,
        "driver",
        name="qemu",
        type=layers[0].format,
        cache="unsafe",
        discard="unmap",
        error_policy="enospace",
    )
    _source(disk, layers[0])
    below = disk
    for layer in layers[1:]:
        below = ET.SubElement(below, "backingStore", type="file")
        ET.SubElement(below, "format", type=layer.format)
        _source(below, layer)
    ET.SubElement(below, "backingStore")
    ET.SubElement(disk, "target", dev="vda", bus="virtio")
    _text(disk, "serial", DISK_SERIAL)


def _source(parent: ET.Element, layer: Layer) -> None:
    ET.SubElement(parent, "source", file=str(layer.path), fdgroup=layer.group)


def _console(devices: ET.Element, spec: MachineSpec) -> None:
    if spec.console is Console.FILE:
        serial = ET.SubElement(devices, "serial", type="file")
        ET.SubElement(serial, "source", path=str(spec.console_path), append="off")
        return
    serial = ET.SubElement(devices, "serial", type="unix")
    ET.SubElement(serial, "source", mode="bind", path=str(spec.console_socket))
    ET.SubElement(serial, "log", file=str(spec.console_path), append="off")


def _port(devices: ET.Element, socket: Path, name: str) -> None:
    channel = ET.SubElement(devices, "channel", type="unix")
    ET.SubElement(channel, "source", mode="bind", path=str(socket))
    ET.SubElement(channel, "target", type="virtio", name=name)


def _options(root: ET.Element, spec: MachineSpec, files: Files) -> None:
    """Add what libvirt has no words for."""
    line = ET.SubElement(root, f"{{{_QEMU}}}commandline")
    qmp = f"unix:{str(files.qmp_socket).replace(',', ',,')},server=on,wait=off"
    # With -no-reboot a reset is told as the end it is, before a firmware runs once more.
    for word in ("-qmp", qmp, "-no-reboot", *_checkpointed(spec), *spec.extra_options):
        ET.SubElement(line, f"{{{_QEMU}}}arg", value=word)
    capabilities = ET.SubElement(root, f"{{{_QEMU}}}capabilities")
    for name in _LEFT_ALONE:
        ET.SubElement(capabilities, f"{{{_QEMU}}}del", capability=name)


def _checkpointed(spec: MachineSpec) -> list[str]:
    """Write what a checkpoint needs: memory that is a file, and a word to the kernel of a copy.

    By the device vmgenid a kernel learns that it goes on as a copy, and makes its random numbers
    anew: https://www.qemu.org/docs/master/specs/vmgenid.html
    """
    incoming = ["-incoming", "defer"] if spec.incoming is not None else []
    if spec.ram is None:
        return incoming
    backend = f"memory-backend-ram,id={_RAM},size={spec.memory}"
    if spec.ram.path is not None:
        shared = "on" if spec.ram.is_shared else "off"
        path = str(spec.ram.path).replace(",", ",,")
        backend = f"memory-backend-file,id={_RAM},mem-path={path},share={shared},size={spec.memory}"
    # Of two machine options of a name the last one counts; libvirt's own memory is never touched.
    words = ["-object", backend, "-machine", f"memory-backend={_RAM}"]
    if spec.arch in _WITH_GENERATION:
        words += ["-device", "vmgenid,guid=auto"]
    return [*words, *incoming]
