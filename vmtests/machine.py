# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine of a test: verbs that read as prose, each with a deadline, none waiting in vain.

Deadlines are given for a host with KVM and stretched by the speed of this one. Once the guest has
panicked, powered off or hung, every verb gives up at once with that as its cause.
"""

import os
import re
import shlex
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.ports import image, migration
from pipeline.ports.accelerator import Accelerator, Kind
from pipeline.ports.domain import Card, Domain, Ended, Hypervisor, MachineSpec
from pipeline.ports.domain_xml import GUEST_ADDRESS, HOST_ADDRESS, Ram
from pipeline.ports.guest import GuestResult, script_of
from pipeline.ports.log import Log
from pipeline.stages.disking.boot_files import first_boot, silent_on
from pipeline.words.boot import BootWatch, Outcome, State, expected_of
from pipeline.words.errors import Failed
from pipeline.words.journal import Entry
from pipeline.words.suite import SuiteParameters
from pipeline.words.symptoms import Cause, Symptom
from pipeline.words.waking import wake_program
from vmtests.evidence import Evidence
from vmtests.following import Following, GuestFailed

if TYPE_CHECKING:
    from pipeline.ports.checkpoint import Checkpoint
    from vmtests.origin import Origin

_DEPLOYMENT = re.compile(r"/ostree/deploy/[^/]+/deploy/([0-9a-f]{64})\.\d+$")
_CARD = Card()
# By the address of the card, because systems name theirs as they like, and rename it once they
# see it. Its driver comes by udev where there is one.
_CONNECT = """
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
_DEADLINE_S = 10.0
_ANSWER_S = 5.0
"""How long the answer may take to come back once the guest must have killed the script."""
_QUIET_S = 1.0
"""How long a guest may take to have nothing to do."""
_SHELL_S = 3.0
"""How long the guest's shell may take to be there once a test wants it."""


class Machine:
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
    ) -> None:
        """``origin`` is the checkpoint that it begins from, ``ram`` a file for its memory."""
        self.parameters = parameters
        self.name = name
        self.speed = parameters.speed
        self.watch = BootWatch(expected_of(parameters.target, self.speed), time.monotonic())
        """What is known of the newest boot."""
        self._hypervisor = hypervisor
        self._cards = tuple(cards)
        self._origin = origin
        self._ram = ram
        self._evidence = evidence
        self._log = log
        self._overlay = Path(parameters.scratch) / f"{name}.qcow2"
        self._stack = ExitStack()
        self._following: Following | None = None
        self._programs: dict[str, bool] = {}
        self._said = ""
        self.is_spent = False
        """It became a checkpoint, or is of no use to another test."""
        self.has_failed = False
        """Its test has failed, so that somebody may want to look into it."""
        self.alias = ""
        """What a copy calls itself, so that another one knows it from itself."""
        self._is_plugged = False

    # Its life

    def start(self) -> None:
        """Boot from the disk's entry: a fresh layer the first time, what is on it after that.

        A machine with an origin goes on from there the first time.
        """
        with self._log.step("start the machine", about=self.name):
            scratch = Path(self.parameters.scratch) / f"{self.name}-boot"
            if self._overlay.exists():
                boot = image.boot_entry(self._overlay, scratch, log=self._log)
                self._begin(self._spec(boot), None)
                return
            disk = Path(self.parameters.disk.path)
            boot = first_boot(disk, into=scratch, log=self._log)
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
            self._following = Following(domain, self.watch, self._evidence, origin.entries)
            self._following.expect_shell(origin.root)
            domain.go_on()
            self._following.wake(name=self.alias)
        self._programs = {}
        self._is_plugged = False

    def _spec(self, boot: image.BootEntry) -> MachineSpec:
        target = self.parameters.target
        kind = Kind(self.parameters.accelerator)
        # On a busy host without KVM the kernel's test of its timers fails now and then.
        timers = " no_timer_check" if self.parameters.tree.arch == "x86_64" else ""
        return MachineSpec(
            name=self.name,
            boot=replace(boot, options=boot.options + timers),
            into=Path(self.parameters.sockets) / self.name,
            accelerator=Accelerator(kind=kind, speed=self.speed, words=""),
            disk=self._overlay,
            memory=target.memory,
            processors=target.processors,
            arch=self.parameters.tree.arch,
            cards=self._cards,
        )

    def wait_for_boot(self) -> Outcome:
        """Wait until it is decided whether the boot has passed; tells it either way."""
        with self._log.step("boot", about=self.name):
            following = self._running()
            while self.watch.outcome.state is State.PENDING:
                following.pump()
            outcome = self.watch.outcome
            for name, seconds in self.watch.marks.items():
                self._log.detail(f"{name} after {seconds:.2f} s", about=self.name)
            if outcome.state is State.FAILED:
                self._log.error(f"{outcome.cause}: {outcome.message}", about=self.name)
        return outcome

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
        following.send(script, seconds=seconds, ready_s=_SHELL_S * self.speed)
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
        self.shell("read -r _ </proc/sys/kernel/random/boot_id; date >/dev/null")
        if program is None:
            return
        text = "".join(f"\\0{byte:03o}" for byte in program)
        into = "${OSTCI_SHELL_DIR:-/run/ostci-shell}/wake"
        now = round(time.time())
        self.shell(f'printf %b "{text}" >"{into}"; chmod 755 "{into}"; "{into}" {now}')

    @property
    def can_be_saved(self) -> bool:
        """Tell whether its memory is where a checkpoint has it: not after a reboot."""
        return self.is_alive() and self._running().domain.spec.ram is not None

    def forget(self) -> None:
        """Throw away the disk of a machine that has ended."""
        self._overlay.unlink(missing_ok=True)

    def write_seen(self, path: Path) -> None:
        """Write down what was seen of this boot, for those that go on from here."""
        from vmtests.origin import write_seen

        following = self._running()
        root = following.root(_SHELL_S * self.speed)
        self._catch_up()
        own = following.domain.spec.ram is not None
        write_seen(path, self.watch, following.entries, root=root, has_own_ram=own)

    def close(self) -> None:
        """End the machine, whatever it is doing, keeping all that it has said."""
        self.watch.is_leaving = True
        if self._following is not None:
            self._said = self._following.last_words()
            self._following.close()
        self._following = None
        self._stack.close()
        self._stack = ExitStack()

    @property
    def domain(self) -> Domain | None:
        """libvirt's object, while there is one."""
        return self._following.domain if self._following is not None else None

    def is_alive(self) -> bool:
        """Tell whether a guest is there that could still answer."""
        self._catch_up()
        following = self._following
        return following is not None and following.ended is None and self.watch.final is None

    # What it does for a test

    def run(self, argv: Sequence[str], *, timeout_s: float = _DEADLINE_S) -> GuestResult:
        """Run a command as root; tells how it ended, well or not."""
        return self._run(shlex.join(argv), script_of(argv), timeout_s)

    def shell(self, script: str, *, timeout_s: float = _DEADLINE_S) -> GuestResult:
        """Run a script by the guest's sh, as root."""
        first = script.strip().splitlines()[0] if script.strip() else ""
        return self._run(first, script, timeout_s)

    def _run(self, title: str, script: str, timeout_s: float) -> GuestResult:
        title = title[:200]
        with self._log.step(f"$ {title}", about=self.name):
            following = self._running()
            seconds = timeout_s * self.speed
            following.send(script, seconds=seconds, ready_s=_SHELL_S * self.speed)
            done = following.answer(title, seconds + _ANSWER_S * self.speed)
            for line in done.error_text.splitlines()[-5:]:
                self._log.detail(line, about=self.name)
            return done

    def succeeds(self, argv: Sequence[str], *, timeout_s: float = _DEADLINE_S) -> str:
        """Run a command that must end well; tells what it printed."""
        done = self.run(argv, timeout_s=timeout_s)
        if done.code != 0:
            said = "; ".join(done.error_text.splitlines()[-3:])
            raise GuestFailed(f"{shlex.join(argv)} ended with exit code {done.code}: {said}")
        return done.text

    def fails(self, argv: Sequence[str], *, timeout_s: float = _DEADLINE_S) -> str:
        """Run a command that must not end well; tells its errors and what it printed."""
        done = self.run(argv, timeout_s=timeout_s)
        if done.code == 0:
            raise GuestFailed(f"{shlex.join(argv)} ended well, which it should not")
        return f"{done.error_text}\n{done.text}".strip()

    def has(self, program: str) -> bool:
        """Tell whether the guest has a program in its PATH."""
        if program not in self._programs:
            found = self.shell(f"command -v {shlex.quote(program)}")
            self._programs[program] = found.code == 0
        return self._programs[program]

    def wait_for_unit(self, unit: str, *, timeout_s: float = 30.0) -> None:
        """Wait until a unit is active; gives up at once when it has failed or nobody starts it."""
        with self._log.step(f"wait for {unit}", about=self.name):
            look = self._is_active if self.has("systemctl") else self._is_started
            self._running().wait(lambda: look(unit), f"{unit} to start", timeout_s * self.speed)

    def wait_for_journal(
        self,
        message: str = "",
        *,
        message_id: str = "",
        unit: str = "",
        timeout_s: float = 30.0,
    ) -> Entry:
        """Wait for an entry, also one that is there already.

        ``message`` is a regular expression that is searched; what is empty is not asked for.
        """
        following = self._running()

        def look() -> Entry | None:
            for entry in following.entries:
                if (
                    (not message_id or entry.message_id == message_id.lower())
                    and (not unit or entry.unit == unit)
                    and re.search(message, entry.message)
                ):
                    return entry
            return None

        what = " ".join(word for word in (message, message_id, unit) if word)
        return following.wait(look, f"a journal entry {what}", timeout_s * self.speed)

    def failed_units(self) -> tuple[str, ...]:
        """List the units that have failed and did not start again, as the journal tells.

        Left out are those whose failure is among the manifest's known messages.
        Nothing is started in the guest for it. A failure that somebody has reset counts still;
        ``systemctl_failed`` has systemd's own view.
        """
        self._catch_up()
        failed = {unit for unit, state in self.watch.units.items() if state == "failed"}
        return tuple(sorted(failed - self.watch.excused))

    def silent_units(self) -> tuple[str, ...]:
        """List the units whose failure the journal would not tell; no tree needs to have any."""
        return silent_on(Path(self.parameters.disk.path))

    def systemctl_failed(self) -> tuple[str, ...]:
        """List the units that systemd in the guest calls failed now; takes a program's start."""
        options = ["--failed", "--plain", "--no-legend", "--no-pager"]
        shown = self.succeeds(["systemctl", "list-units", *options])
        return tuple(sorted(line.split()[0] for line in shown.splitlines() if line.split()))

    def booted_commit(self) -> str:
        """Tell the commit of the deployment that is the guest's root; raises GuestFailed for none.

        The kernel tells it: a deployment is a directory that is mounted as the root.
        """
        root = self._running().root(_SHELL_S * self.speed)
        found = _DEPLOYMENT.search(root)
        if found is None:
            raise GuestFailed(
                f"the guest's root is no deployment: {root or 'nothing'} is mounted there",
                cause=Cause.WRONG_COMMIT,
            )
        return found[1]

    def ostree_status(self) -> tuple[str, ...]:
        """List the lines of ``ostree admin status``; the booted deployment's starts with ``*``."""
        return tuple(
            line.strip() for line in self.succeeds(["ostree", "admin", "status"]).splitlines()
        )

    def connect(self) -> str:
        """Give the guest a network in which there is this process's loopback and nothing else.

        Tells the host's address there; nothing of it outlives the boot. A machine that was
        started without a card gets one. Raises GuestFailed where the guest cannot use it.
        """
        with self._log.step("connect", about=self.name):
            card = self._cards[0] if self._cards else _CARD
            following = self._running()
            if not self._cards and not self._is_plugged:
                following.domain.plug(card)
                self._is_plugged = True
            done = self.shell(_CONNECT.format(mac=card.mac, address=GUEST_ADDRESS), timeout_s=20.0)
        if done.code != 0:
            raise GuestFailed(f"the guest's network did not come up: {done.error_text.strip()}")
        return HOST_ADDRESS

    def screenshot(self, name: str = "test") -> Path:
        """Write what the screen shows into the evidence; tells the file."""
        path = self._evidence.directory / f"screenshot-{name}.png"
        self._running().domain.screenshot(path)
        return path

    def note(self, text: str) -> None:
        """Tell a fact in the test's log."""
        self._log.fact(text, about=self.name)

    def symptoms(self, *causes: Cause) -> tuple[Symptom, ...]:
        """List what was seen that a clean boot does not show, of these causes."""
        self._catch_up()
        return tuple(one for one in self.watch.symptoms if one.cause in causes)

    def console(self) -> str:
        """Tell the last lines of the console."""
        return self._running().console()

    def last_words(self) -> str:
        """Tell the last lines of console and journal, as a failure shows them."""
        return self._following.last_words() if self._following is not None else self._said

    def _catch_up(self) -> None:
        """Take what has come since somebody last waited for something."""
        if self._following is not None:
            self._following.pump(wait_s=0.0)

    def _running(self) -> Following:
        if self._following is None:
            raise GuestFailed("the machine is not running", cause=Cause.POWERED_OFF)
        return self._following

    def _is_started(self, unit: str) -> bool:
        if self.watch.units.get(unit) == "failed":
            raise GuestFailed(f"{unit} has failed", cause=Cause.FAILED_UNIT)
        return self.watch.units.get(unit) == "started"

    def _is_active(self, unit: str) -> bool:
        properties = "--property=LoadState,ActiveState,Job"
        shown = self.succeeds(["systemctl", "show", properties, "--", unit])
        state = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
        if state.get("ActiveState") == "active":
            return True
        if state.get("ActiveState") == "failed":
            raise GuestFailed(f"{unit} has failed", cause=Cause.FAILED_UNIT)
        if state.get("LoadState") == "not-found":
            raise GuestFailed(f"there is no {unit}")
        if state.get("ActiveState") == "inactive" and state.get("Job", "0") in {"", "0"}:
            raise GuestFailed(f"{unit} is inactive and nobody starts it")
        return False
