# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine of a test: verbs that read as prose, each with a deadline, none waiting in vain.

Deadlines are given for a host with KVM and stretched by the speed of this one. Once the guest has
panicked, powered off or hung, every verb gives up at once with that as its cause.
"""

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.ports import image, migration
from pipeline.ports.accelerator import Accelerator, Kind
from pipeline.ports.boot_count import next_boot
from pipeline.ports.domain import Card, Console, Domain, Ended, Hypervisor, MachineSpec
from pipeline.ports.domain_xml import Ram
from pipeline.ports.log import Log
from pipeline.stages.disking.boot_files import first_boot
from pipeline.words.boot import BootWatch, Outcome, State, expected_of
from pipeline.words.errors import Failed, Trouble
from pipeline.words.suite import SuiteParameters
from pipeline.words.symptoms import Cause
from pipeline.words.waking import wake_program
from vmtests.commands import SHELL_S
from vmtests.copies import Copies
from vmtests.evidence import KERNEL_LOG, REGISTERS, Evidence
from vmtests.following import Following, GuestFailed
from vmtests.looks import Looks
from vmtests.network import Network
from vmtests.waits import Waits

if TYPE_CHECKING:
    from pipeline.ports.checkpoint import Checkpoint
    from vmtests.origin import Origin

_SYSTEMD_S = 90.0
"""What systemd waits for a unit or a device of its own accord."""
_QUIET_S = 1.0
"""How long a guest may take to have nothing to do."""
_UNHEARD = (Cause.HANG, Cause.DEADLINE)
_LAST_WORDS = 15


class Machine(Waits, Copies, Looks, Network):
    """A guest on its own layer of the disk under test."""

    def __init__(
        self,
        parameters: SuiteParameters,
        hypervisor: Hypervisor,
        evidence: Evidence,
        *,
        log: Log,
        name: str = "machine",
        cards: Sequence[Card] = (),
        origin: "Origin | None" = None,
        ram: Path | None = None,
        console: Console = Console.FILE,
    ) -> None:
        """``origin`` is the checkpoint that it begins from, ``ram`` a file for its memory."""
        self.parameters = parameters
        self.name = name
        self.speed = parameters.speed
        self.watch = BootWatch(expected_of(parameters.target, self.speed), time.monotonic())
        self._hypervisor = hypervisor
        self._cards = tuple(cards)
        self._origin = origin
        self._ram = ram
        self._console = console
        self._evidence = evidence
        self._log = log
        self._overlay = Path(parameters.scratch) / f"{name}.qcow2"
        self._stack = ExitStack()
        self._following: Following | None = None
        self._programs: dict[str, bool] = {}
        self._said = ""
        self.entry = ""
        """The name of the loader's entry that it was started with, without a counter."""
        self.is_spent = False
        """It became a checkpoint, or is of no use to another test."""
        self.has_failed = False
        """Its test has failed, so that somebody may want to look into it."""
        self.alias = ""
        """What a copy calls itself, so that another one knows it from itself."""
        self._is_plugged = False

    def start(self) -> None:
        """Boot from the disk's entry: a fresh layer the first time, what is on it after that.

        A machine with an origin goes on from there the first time.
        """
        with self._log.step("start the machine", about=self.name):
            scratch = Path(self.parameters.scratch) / f"{self.name}-boot"
            if self._overlay.exists():
                boot = next_boot(self._overlay, scratch, log=self._log)
                self.entry = boot.name
                self._begin(self._spec(boot), None)
                return
            disk = Path(self.parameters.disk.path)
            boot = first_boot(disk, into=scratch, log=self._log)
            self.entry = boot.name
            origin = self._origin
            image.overlay(origin.checkpoint.disk if origin else disk, self._overlay, log=self._log)
            spec = self._spec(boot)
            if origin is not None:
                ram = Ram(path=origin.checkpoint.ram) if origin.has_own_ram else None
                spec = replace(spec, cards=(), ram=ram, incoming=origin.checkpoint.state)
            elif self._ram is not None:
                spec = replace(spec, ram=Ram(path=self._ram, is_shared=True))
            self._begin(spec, origin)

    def _begin(self, spec: MachineSpec, origin: "Origin | None") -> None:
        domain = self._stack.enter_context(self._hypervisor.start(spec))
        if origin is None:
            self.watch = BootWatch(expected_of(self.parameters.target, self.speed), domain.started)
            self._following = Following(domain, self.watch, self._evidence)
        else:
            self.watch = origin.watch()
            seen = (origin.entries, origin.console)
            self._following = Following(domain, self.watch, self._evidence, *seen)
            # Whether it has said that it is there or not: it may have done so while it was kept,
            # when nobody listened.
            self._following.expect_shell(origin.root or "")
            domain.go_on()
            self._following.wake(name=self.alias)
        self._programs = {}
        self._is_plugged = bool(spec.cards)

    def _spec(self, boot: image.BootEntry) -> MachineSpec:
        target = self.parameters.target
        kind = Kind(self.parameters.accelerator)
        # On a busy host without KVM the kernel's test of its timers fails now and then.
        timers = " no_timer_check" if self.parameters.tree.arch == "x86_64" else ""
        return MachineSpec(
            name=self.name,
            boot=replace(boot, options=boot.options + timers + self._patience(boot.options)),
            into=Path(self.parameters.sockets) / self.name,
            accelerator=Accelerator(kind=kind, speed=self.speed, words=""),
            disk=self._overlay,
            memory=target.memory,
            processors=target.processors,
            arch=self.parameters.tree.arch,
            extra_options=("-seed", str(self.parameters.seed)),
            cards=self._cards,
            console=self._console,
        )

    def _patience(self, options: str) -> str:
        """Have systemd be as patient as we are: its minute and a half is for hosts with KVM.

        Half of our own patience, so that it tells what it waited for before we give up.
        """
        name = "systemd.default_timeout_start_sec="
        if self.speed <= 1.0 or name in options:
            return ""
        ours_s = self.parameters.target.smoke.deadline_s * self.speed
        return f" {name}{max(_SYSTEMD_S, ours_s / 2):.0f}"

    def wait_for_boot(self) -> Outcome:
        """Wait until it is decided whether the boot has passed; tells it either way."""
        with self._log.step("boot", about=self.name):
            following = self._running()
            while self.watch.outcome.state is State.PENDING:
                following.pump()
            outcome = self.watch.outcome
            if self.watch.starved_s >= 1:
                waited = f"{self.watch.starved_s:.1f} s"
                self._log.detail(f"this host kept it waiting for {waited} of that", about=self.name)
            for name, seconds in self.watch.marks.items():
                self._log.detail(f"{name} after {seconds:.2f} s", about=self.name)
            if outcome.state is State.FAILED:
                self._log.error(f"{outcome.cause}: {outcome.message}", about=self.name)
            if outcome.cause in _UNHEARD and "first_entry" not in self.watch.marks:
                self._note_unheard(following.domain)
        return outcome

    def _note_unheard(self, domain: Domain) -> None:
        """Keep what is known of a kernel that told nobody: most are told to be quiet."""
        try:
            before = domain.registers()
            lines = domain.kernel_log()
            after = domain.registers()
        except Trouble as error:
            self._log.warning(f"its memory and registers cannot be read: {error}", about=self.name)
            return
        self._evidence.text(REGISTERS, [before, "and some time later:", after])
        if not lines:
            self._log.detail("there is no kernel's log in its memory", about=self.name)
            return
        self._evidence.text(KERNEL_LOG, lines)
        told = f"what its kernel said last, read from its memory ({KERNEL_LOG}):"
        self._log.detail(told, about=self.name)
        for line in lines[-_LAST_WORDS:]:
            self._log.detail(f"  {line}", about=self.name)

    def boot(self) -> None:
        """Start and wait for the boot to pass; raises GuestFailed with its cause."""
        self.start()
        outcome = self.wait_for_boot()
        if outcome.cause is not None:
            raise GuestFailed(outcome.message, cause=outcome.cause)

    def reboot(self, *, timeout_s: float = 30.0) -> None:
        """Have the guest reboot: what the disk's entries say now is what comes up."""
        with self._log.step("reboot", about=self.name):
            self._leave("systemctl reboot || reboot -f || reboot", Ended.REBOOT, timeout_s)
            self.boot()

    def shutdown(self, *, timeout_s: float = 30.0) -> None:
        """Have the guest power itself off, in order."""
        with self._log.step("shut down", about=self.name):
            self._leave("systemctl poweroff || poweroff -f || poweroff", Ended.SHUTDOWN, timeout_s)

    def _leave(self, script: str, wanted: Ended, timeout_s: float) -> None:
        following = self._running()
        seconds = timeout_s * self.speed
        self.watch.is_leaving = True
        following.send(script, seconds=seconds, ready_s=SHELL_S * self.speed)
        ended = following.wait_for_end(seconds)
        if ended is not wanted:
            raise GuestFailed(f"the guest ended by {ended}, not {wanted}")
        self.close()

    def crash(self) -> None:
        """Pull the plug; what the guest had written to its disk stays."""
        self.watch.is_leaving = True
        if self._following is not None:
            self._following.domain.destroy()
        self.close()

    def save(self, state: Path) -> Path:
        """Write its state to a file and end it; tells the layer with its disk.

        It is a moment at which the guest has nothing to do, where one comes soon, and at which
        what runs a command has been read from the disk: all that go on from here are spared it.
        """
        with self._log.step("checkpoint", about=self.name):
            following = self._running()
            self._warm_up()
            following.wait_quiet(_QUIET_S * self.speed)
            # By now a login is on the screen, which at the end of the start-up often is not.
            self._evidence.final_screenshot(following.domain)
            self._end_in(state)
        return self._overlay

    def keep(self, parts: "Checkpoint") -> None:
        """Write all of it as it is now, memory and layers of its disk, and end it."""
        with self._log.step("keep the machine", about=self.name):
            if self._is_plugged or self._cards:
                raise Failed("a machine with a network card cannot be kept")
            self._end_in(parts.state, whole=True)
            shutil.move(self._overlay, parts.disk)
            if self._origin is not None:
                # The checkpoint may go before it does.
                below = parts.directory / "below.qcow2"
                os.link(self._origin.checkpoint.disk, below)
                image.put_on(parts.disk, below, log=self._log)

    def _end_in(self, state: Path, *, whole: bool = False) -> None:
        domain = self._running().domain
        self.watch.is_leaving = True
        migration.save(domain.monitor, state, whole=whole)
        self.close()
        self.is_spent = True

    def _warm_up(self) -> None:
        """Have what is used of every copy read from the disk, and the program that wakes it."""
        program = wake_program(self.parameters.tree.arch)
        # The kernel draws the boot's id when first asked for it: all copies are of one boot.
        self.shell("# warm up\nread -r _ </proc/sys/kernel/random/boot_id; date >/dev/null")
        if program is None:
            return
        text = "".join(f"\\0{byte:03o}" for byte in program)
        into = "${OSTCI_SHELL_DIR:-/run/ostci-shell}/wake"
        now = round(time.time())
        self.shell(
            "# leave the program that wakes copies\n"
            f'printf %b "{text}" >"{into}"; chmod 755 "{into}"; "{into}" {now}'
        )

    @property
    def can_be_saved(self) -> bool:
        """Tell whether its memory is where a checkpoint has it: not after a reboot."""
        return self.is_alive() and self._running().domain.spec.ram is not None

    def never_give_up(self) -> None:
        """Ask a guest until it has ended, whatever has become of its boot."""
        self._running().gives_up = False

    def forget(self) -> None:
        """Throw away the disk of a machine that has ended."""
        self._overlay.unlink(missing_ok=True)

    @property
    def has_shell(self) -> bool:
        """Tell whether its shell has been there, and is not lost."""
        return self._following is not None and self._following.root_seen() is not None

    def write_seen(self, path: Path, *, needs_shell: bool = True) -> None:
        """Write down what was seen of this boot, for those that go on from here.

        Raises GuestFailed where it ``needs_shell`` and has none.
        """
        from vmtests.origin import write_seen

        following = self._running()
        root = following.root(SHELL_S * self.speed) if needs_shell else following.root_seen()
        self._catch_up()
        write_seen(
            path,
            self.watch,
            following.entries,
            console=following.console_seen(),
            root=root,
            has_own_ram=following.domain.spec.ram is not None,
        )

    def close(self) -> None:
        """End the machine, whatever it is doing, keeping all that it has said."""
        self.watch.is_leaving = True
        if self._following is not None:
            self._said = self._following.last_words()
            self._following.close()
        self._following = None
        self._stack.close()
        self._stack = ExitStack()
