# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest's network: none, until a test asks for the one of this process, or for a private one."""

from collections.abc import Mapping

from pipeline.ports.domain import Card
from pipeline.ports.domain_xml import GUEST_ADDRESS, HOST_ADDRESS
from pipeline.ports.wire import Wire, plug_wire
from vmtests.commands import Commands
from vmtests.following import GuestFailed

_CARD = Card()
# By the address of the card, because systems name theirs as they like, and rename it once they
# see it. Its driver comes by udev where there is one.
_CONNECT = """
# bring its network card up
modprobe -q virtio_net
tries=0
while :; do
    command -v udevadm >/dev/null && udevadm settle --timeout=5
    for card in /sys/class/net/*; do
        name=${{card##*/}}
        [ "$(cat "$card/address" 2>/dev/null)" = {mac} ] && ip link set "$name" up && break 2
    done
    tries=$((tries + 1))
    [ $tries -lt 100 ] || {{ echo "it has no card {mac}" >&2; exit 1; }}
    sleep 0.1
done
ip addr show dev "$name" | grep -qF {address} || ip addr add {address} dev "$name"
"""
# The lines of an earlier boot go first. The names are of letters and digits, the rest is ours.
_NAMES = """
# tell it the names of all
ip link set lo up
echo {name} >/proc/sys/kernel/hostname
grep -v '# of the test$' /etc/hosts >/run/ostci-hosts 2>/dev/null
cat >>/run/ostci-hosts <<END
{lines}
END
cat /run/ostci-hosts >/etc/hosts && rm /run/ostci-hosts
"""


class Network(Commands):
    """The verbs that give a guest a network."""

    address = ""
    """The guest's address in the private network of the test's machines, where it is in one."""
    _cards: tuple[Card, ...]
    _is_plugged: bool

    def connect(self) -> str:
        """Give the guest a network in which there is this process's loopback and nothing else.

        Tells the host's address there; nothing of it outlives the boot. A machine that was
        started without a card gets one. Raises GuestFailed where the guest cannot use it.
        """
        with self._log.step("connect", about=self.name):
            card = self._cards[0] if self._cards else _CARD
            following = self._running()
            if not self._is_plugged:
                following.domain.plug(card)
                self._is_plugged = True
            self._bring_up(card.mac, GUEST_ADDRESS)
        return HOST_ADDRESS

    def join(self, wire: Wire, address: str, names: Mapping[str, str]) -> None:
        """Put the guest at the end of a wire: ``names`` are all machines there, with addresses.

        Nothing of it outlives the boot but lines in ``/etc/hosts``, of which the next one is rid.
        """
        with self._log.step("join the private network", about=self.name):
            plug_wire(self._running().domain.monitor, wire)
            self._bring_up(wire.mac, f"{address}/24")
            lines = "\n".join(f"{at} {name} # of the test" for name, at in names.items())
            done = self.shell(_NAMES.format(name=self.name, lines=lines))
        if done.code != 0:
            raise GuestFailed(f"the guest did not take its names: {done.error_text.strip()}")
        self.address = address

    def _bring_up(self, mac: str, address: str) -> None:
        done = self.shell(_CONNECT.format(mac=mac, address=address), timeout_s=20.0)
        if done.code != 0:
            raise GuestFailed(f"the guest's network did not come up: {done.error_text.strip()}")
