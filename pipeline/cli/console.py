# SPDX-License-Identifier: LGPL-2.1-or-later
"""The process behind ``ostci boot``: one machine, and this terminal as its console.

A guest that reboots is started again from what its disk's boot entry says by then.
"""

import socket
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli.main import main
from pipeline.ports import image
from pipeline.ports.accelerator import Accelerator, Kind
from pipeline.ports.boot_count import next_boot
from pipeline.ports.domain import Console, Domain, Ended, MachineSpec, hypervisor
from pipeline.ports.log import Log
from pipeline.ports.terminal import converse
from pipeline.stages.disking.boot_files import first_boot
from pipeline.words.errors import EXIT_PASSED, Failed, Trouble
from pipeline.words.records import from_json

_END_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Session:
    """What to boot; ``sockets`` is a directory with a short path, ``scratch`` one with room."""

    name: str
    arch: str
    disk: str
    memory: int
    processors: int
    machines: str
    accelerator: Kind
    speed: float
    sockets: str
    scratch: str


def talk(session: Session) -> int:
    """Boot until the person leaves or the guest powers off; raises Failed where it crashed."""
    log = Log()
    scratch = Path(session.scratch)
    layer = scratch / "layer.qcow2"
    image.overlay(Path(session.disk), layer, log=log)
    boot = first_boot(Path(session.disk), into=scratch / "boot", log=log)
    with hypervisor(session.machines, Path(session.sockets) / "v", log=log) as driver:
        while True:
            with driver.start(_spec(session, layer, boot)) as machine:
                ended = be_console(machine)
            if ended is None or ended is Ended.SHUTDOWN:
                say("left" if ended is None else "the guest has powered off")
                return EXIT_PASSED
            if ended is Ended.CRASHED:
                raise Failed("the guest's kernel crashed", where=session.name)
            if ended is not Ended.REBOOT:
                raise Trouble("QEMU was killed", where=session.name)
            boot = next_boot(layer, scratch / "boot", log=log)
            say(f"the guest reboots: {boot.title}")


def _spec(session: Session, layer: Path, boot: image.BootEntry) -> MachineSpec:
    return MachineSpec(
        name=session.name[:40],
        boot=boot,
        into=Path(session.sockets),
        disk=layer,
        accelerator=Accelerator(kind=session.accelerator, speed=session.speed, words=""),
        memory=session.memory,
        processors=session.processors,
        arch=session.arch,
        console=Console.SOCKET,
    )


def be_console(machine: Domain, *, meanwhile: Callable[[], object] = lambda: None) -> Ended | None:
    """Be the console; tells how the machine ended, or None when the person left."""
    with closing(socket.socket(socket.AF_UNIX)) as wire:
        wire.connect(str(machine.console_socket))
        if converse(wire, is_over=lambda: not machine.is_running(), meanwhile=meanwhile):
            return None
    return machine.wait_ended(_END_S) or Ended.KILLED


def say(text: str) -> None:
    """Tell the person something in brackets, that the guest does not say."""
    sys.stderr.write(f"\r\n[{text}]\r\n")


def _work() -> int:
    path = Path(sys.argv[1])
    return talk(from_json(Session, path.read_bytes(), where=str(path)))


if __name__ == "__main__":
    main(handler=_work)
