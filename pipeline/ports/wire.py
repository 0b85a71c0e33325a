# SPDX-License-Identifier: LGPL-2.1-or-later
"""A private network of machines: a hub in this process, and a wire from it to each of them.

QEMU sends each frame of a card as a UDP packet over the loopback, which the hub hands to all
other cards. Nothing else is in that network: not this machine, nor what it can reach. Wires are
plugged in through QEMU itself, for libvirt 9.0 plugs no such card into a running machine:
https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html (netdev_add, device_add).
"""

import select
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.words.errors import Trouble

if TYPE_CHECKING:
    from pipeline.ports.qmp import Monitor

_HOST = "127.0.0.1"
_LARGEST = 65535
_A_TURN = 64


@dataclass(frozen=True, kw_only=True)
class Wire:
    """A card's end: the ports on the loopback of the hub and of QEMU, and the card's address."""

    number: int
    hub_port: int
    card_port: int

    @property
    def mac(self) -> str:
        """The card's address, another one on each wire of a hub."""
        return f"52:54:00:6f:74:{self.number:02x}"


class Hub:
    """Hands every frame from one wire to all the others, until it is closed."""

    def __init__(self, wires: int) -> None:
        """Raises Trouble where the loopback cannot be used."""
        if not 0 < wires < 250:
            raise ValueError(f"a hub has 1 to 249 wires, not {wires}")
        self._stack = ExitStack()
        self._sockets: dict[socket.socket, tuple[str, int]] = {}
        found = []
        try:
            # Both ends are bound for a moment, so that no port is given twice.
            ends = [self._bound() for _ in range(wires)]
            for number, end in enumerate(ends, 1):
                ours = self._stack.enter_context(self._bound())
                ours.setblocking(False)
                at = end.getsockname()
                self._sockets[ours] = at
                wire = Wire(number=number, hub_port=ours.getsockname()[1], card_port=at[1])
                found.append(wire)
            for end in ends:
                end.close()
            self._wake, self._woken = socket.socketpair()
        except OSError as error:
            self._stack.close()
            raise Trouble(f"no private network: {error}") from error
        self.wires = tuple(found)
        self._thread = threading.Thread(target=self._carry, name="hub", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the network."""
        self._wake.close()
        self._thread.join()
        self._woken.close()
        self._stack.close()

    def _bound(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.bind((_HOST, 0))
        except OSError:
            made.close()
            raise
        return made

    def _carry(self) -> None:
        wires = [*self._sockets, self._woken]
        while True:
            ready, _, _ = select.select(wires, [], [])
            if self._woken in ready:
                return
            for one in ready:
                self._hand_on(one)

    def _hand_on(self, source: socket.socket) -> None:
        # No longer than a turn: a guest that floods its wire shall not silence the others.
        for _ in range(_A_TURN):
            try:
                frame, sender = source.recvfrom(_LARGEST)
            except OSError:  # none is left, or QEMU at the other end is not there at present
                return
            if sender != self._sockets[source]:
                continue
            for other, at in self._sockets.items():
                if other is not source:
                    try:
                        other.sendto(frame, at)
                    except OSError:
                        continue  # as on any network, what cannot be delivered is lost


def plug_wire(monitor: "Monitor", wire: Wire) -> None:
    """Give a running machine a card at the end of a wire; raises Trouble without a free slot."""
    name = f"wire{wire.number}"
    monitor.execute(
        "netdev_add",
        type="socket",
        id=name,
        udp=f"{_HOST}:{wire.hub_port}",
        localaddr=f"{_HOST}:{wire.card_port}",
    )
    monitor.execute(
        "device_add",
        id=f"{name}-card",
        driver="virtio-net-pci",
        netdev=name,
        mac=wire.mac,
        bus=_free_slot(monitor),
        romfile="",
    )


def _free_slot(monitor: "Monitor") -> str:
    """Find a port of libvirt's that nothing is plugged into."""
    buses: list[dict[str, Any]] = monitor.execute("query-pci")
    for device in (device for bus in buses for device in bus["devices"]):
        bridge = device.get("pci_bridge")
        if bridge is not None and not bridge.get("devices") and device.get("qdev_id"):
            return str(device["qdev_id"])
    raise Trouble("the machine has no free slot for a card", where=monitor.name)
