# SPDX-License-Identifier: LGPL-2.1-or-later
"""The hub of a private network: what comes in on a wire goes out on all others."""

import socket
from contextlib import ExitStack, closing

import pytest

from pipeline.ports.wire import Hub, Wire


def card(wire: Wire, stack: ExitStack) -> socket.socket:
    """Be QEMU at the end of a wire."""
    made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    made.bind(("127.0.0.1", wire.card_port))
    made.connect(("127.0.0.1", wire.hub_port))
    made.settimeout(10)
    return made


def test_a_frame_goes_to_all_others_and_not_back() -> None:
    with ExitStack() as stack, closing(Hub(3)) as hub:
        one, two, three = (card(wire, stack) for wire in hub.wires)
        one.send(b"to all")
        assert (two.recv(100), three.recv(100)) == (b"to all", b"to all")
        two.send(b"back")
        assert one.recv(100) == b"back", "nor its own before it"
        assert len({wire.mac for wire in hub.wires}) == 3


def test_a_wire_without_a_card_loses_what_is_sent_and_nothing_else() -> None:
    with ExitStack() as stack, closing(Hub(3)) as hub:
        one, three = card(hub.wires[0], stack), card(hub.wires[2], stack)
        for number in range(20):
            one.send(b"%d" % number)
            assert three.recv(100) == b"%d" % number


def test_who_is_not_at_the_end_of_a_wire_is_not_heard() -> None:
    with ExitStack() as stack, closing(Hub(2)) as hub:
        one, two = (card(wire, stack) for wire in hub.wires)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(b"let me in", ("127.0.0.1", hub.wires[0].hub_port))
        one.send(b"mine")
        assert two.recv(100) == b"mine"


def test_a_hub_has_wires() -> None:
    with pytest.raises(ValueError, match="a hub has 1 to 249 wires, not 0"):
        Hub(0)
