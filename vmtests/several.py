# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several machines in one test, in a private network of their own.

Each goes on from the checkpoint of the commit under test, or boots where there is none, on a layer
of its own, and has a directory of its own in the evidence. Whatever a test asks of one of them, the
others are followed meanwhile; one that dies unasked ends what the test waits for, and is named.
"""

import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from pipeline.ports.domain import Hypervisor
from pipeline.ports.log import Log
from pipeline.ports.migration import Damaged
from pipeline.ports.wire import Hub, Wire
from pipeline.words.suite import SuiteParameters
from vmtests.evidence import Evidence
from vmtests.following import Following, GuestFailed
from vmtests.machine import Machine
from vmtests.origin import Origin

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}")
_TAKEN = re.compile(r"(machine|fork)\d*|v")
_NETWORK = "10.111.0"


class Member(Machine):
    """One machine of several: each boot of it is followed with theirs, and in their network."""

    def __init__(
        self,
        parameters: SuiteParameters,
        hypervisor: Hypervisor,
        evidence: Evidence,
        *,
        log: Log,
        name: str,
        wire: Wire,
        addresses: Mapping[str, str],
        others: "Several",
        origin: Origin | None,
    ) -> None:
        super().__init__(parameters, hypervisor, evidence, log=log, name=name, origin=origin)
        self.evidence = evidence
        self.alias = name
        self._wire, self._addresses, self._others = wire, addresses, others

    def start(self) -> None:
        """Have it up, out of the network still."""
        try:
            super().start()
        except Damaged as error:
            # As for one machine alone: that takes longer and proves the same.
            self._log.warning(f"the checkpoint is not used: {error}", about=self.name)
            self._origin = None
            self.close()
            self.forget()
            super().start()
        self._running().beside = self._others

    def boot(self) -> None:
        """Start, wait for the boot to pass, and join the others; raises GuestFailed."""
        super().boot()
        self.rejoin()

    def rejoin(self) -> None:
        """Give a machine that has booted its place in the network."""
        self.join(self._wire, self._addresses[self.name], self._addresses)

    @property
    def following(self) -> Following | None:
        """What follows its newest boot, while it runs."""
        return self._following


class Several:
    """The machines of one test; call it with their names to have them booted."""

    def __init__(
        self,
        parameters: SuiteParameters,
        hypervisor: Hypervisor,
        into: Path,
        *,
        origin: Origin | None,
        log: Log,
    ) -> None:
        self.machines: tuple[Member, ...] = ()
        self._parameters = parameters
        self._hypervisor = hypervisor
        self._log = log
        self._into, self._origin = into, origin
        self._stack = ExitStack()
        self._is_pumping = False
        self._told: set[float] = set()

    def __call__(self, *names: str) -> tuple[Machine, ...]:
        """Boot machines of these names, by which they know each other; once a test.

        Raises GuestFailed for the first that does not boot as it should.
        """
        if self.machines or not names or len(set(names)) < len(names):
            raise ValueError("machines are asked for once a test, with names that differ")
        for name in names:
            if not _NAME.fullmatch(name) or _TAKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no name for one: up to 16 of a-z and 0-9")
        hub = Hub(len(names))
        self._stack.callback(hub.close)
        addresses = {name: f"{_NETWORK}.{number}" for number, name in enumerate(names, 1)}
        self.machines = tuple(
            self._member(name, wire, addresses) for name, wire in zip(names, hub.wires, strict=True)
        )
        # All at once: each of them waits for its own disk and console most of the time.
        for machine in self.machines:
            self._stack.callback(machine.close)
            machine.start()
        for machine in self.machines:
            outcome = machine.wait_for_boot()
            if outcome.cause is not None:
                raise GuestFailed(f"{machine.name}: {outcome.message}", cause=outcome.cause)
        for machine in self.machines:
            machine.rejoin()
        return self.machines

    def close(self) -> None:
        """End all of them, keeping what they have said."""
        for machine in self.machines:
            machine.evidence.final_screenshot(machine.domain)
        self._stack.close()

    def last_words(self) -> str:
        """Tell what each of them said last."""
        return "\n".join(f"{one.name}:\n{one.last_words()}" for one in self.machines)

    def pump(self, by: Following) -> None:
        """Take what has happened to the others since the last time, without waiting."""
        if self._is_pumping:
            return
        self._is_pumping = True
        try:
            for following in self._others(by).values():
                following.pump(wait_s=0.0)
        finally:
            self._is_pumping = False

    def give_up_if_lost(self, by: Following) -> None:
        """Raise GuestFailed for one of the others that died unasked; once for each boot of it."""
        for name, following in self._others(by).items():
            final = following.watch.final
            if final is not None and following.domain.started not in self._told:
                self._told.add(following.domain.started)
                raise GuestFailed(f"{name}: {final.message}", cause=final.cause)

    def _others(self, by: Following) -> dict[str, Following]:
        return {
            one.name: following
            for one in self.machines
            if (following := one.following) is not None and following is not by
        }

    def _member(self, name: str, wire: Wire, addresses: Mapping[str, str]) -> Member:
        evidence = Evidence(self._into / name, log=self._log)
        self._stack.callback(evidence.close)
        made = Member(
            self._parameters,
            self._hypervisor,
            evidence,
            log=self._log,
            name=name,
            wire=wire,
            addresses=addresses,
            others=self,
            origin=self._origin,
        )
        self._stack.callback(made.forget)
        return made
