# SPDX-License-Identifier: LGPL-2.1-or-later
"""Follow a running guest: its console, its journal, QEMU's events and its shell, all at once.

``pump`` alone reads them. Whoever waits for one of them has the others followed meanwhile, and is
told at once when the guest has panicked, powered off or hung.
"""

import secrets
import select
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from queue import Empty, SimpleQueue
from typing import Protocol, TypeVar

from pipeline.ports.domain import Domain, Ended, Event, EventKind
from pipeline.ports.guest import GuestResult, GuestShell, JournalReader
from pipeline.ports.migration import cpu_seconds
from pipeline.ports.starving import Starving
from pipeline.words.boot import BootWatch
from pipeline.words.errors import Failed, Trouble
from pipeline.words.journal import Entry, Lines, format_entry
from pipeline.words.symptoms import Cause, console_text
from vmtests.evidence import Evidence

T = TypeVar("T")
_LOOK_S = 0.05
_SCREEN_S = 5.0
_STARVING_S = 0.5
_IDLE_S = 0.3
_IDLE_SHARE = 0.15
"""Of one processor, which a guest without anything to do takes for its clock."""
_CONSOLE_CHUNK = 1024**2
_LONGEST_CONSOLE_LINE = 4096
_LONGEST_TOLD = 500
_MOST_ENTRIES = 20_000
_QUOTED = 15
_SCREENFUL = 40
_ENDS = {
    Ended.SHUTDOWN: "powered-off",
    Ended.REBOOT: "reboot",
    Ended.CRASHED: "panic",
}


class GuestFailed(Failed):
    """The guest did not do what a test asks of it; ``cause`` sorts such failures."""

    def __init__(self, what: str, *, cause: Cause = Cause.TEST, hint: str = "") -> None:
        super().__init__(what, hint=hint)
        self.cause = cause


class Beside(Protocol):
    """Other guests of the same test, which are followed whenever this one is."""

    def pump(self, by: "Following") -> None: ...

    def give_up_if_lost(self, by: "Following") -> None: ...


class Following:
    """One domain from its start to its end; the next boot gets a new one."""

    def __init__(
        self,
        domain: Domain,
        watch: BootWatch,
        evidence: Evidence,
        before: Iterable[Entry] = (),
        console_before: Iterable[bytes] = (),
    ) -> None:
        """``before`` is what the journal of a copy had before it went on as one.

        So are, of its console, the lines ``console_before``.
        """
        self.domain = domain
        self.watch = watch
        self.entries: deque[Entry] = deque(before, maxlen=_MOST_ENTRIES)
        self.ended: Ended | None = None
        self.beside: Beside | None = None
        self.gives_up = True
        """Nothing is asked of a guest that is beyond help: who looks into one asks all the same."""
        self._evidence = evidence
        self._events: SimpleQueue[Event] = domain.event_queue()
        self._shell_lost: GuestFailed | None = None
        self._console_at = 0
        self._console_lines = Lines(_LONGEST_CONSOLE_LINE)
        self._console_before = tuple(console_before)
        self._console_tail: deque[bytes] = deque(maxlen=_SCREENFUL)
        self._next_screen = time.monotonic() + 1.0
        pid = domain.pid
        self._starving = Starving(pid) if pid is not None else None
        self._starved_s = 0.0
        self._next_starving = time.monotonic()
        self._stack = ExitStack()
        self._journal = self._stack.enter_context(
            JournalReader(domain.journal_socket, raw=evidence.journal_raw)
        )
        self._shell = self._stack.enter_context(GuestShell(domain.shell_socket))

    def close(self) -> None:
        """Read what is there still, and stop listening."""
        self._read_console()
        self._read_journal()
        self._stack.close()

    def pump(self, *, wait_s: float = _LOOK_S) -> None:
        """Take all that has happened since the last time; waits a moment when nothing has."""
        wires = [wire for wire in (self._journal, self._shell) if wire.is_open]
        wants = [self._shell] if self._shell.wants_to_send else []
        select.select(wires, wants, [], wait_s)
        events = self._take_events()
        self._read_console()
        self._read_journal()
        self._poll_shell()
        for event in events:
            self._on_event(event)
        self._note_starving()
        now = time.monotonic()
        self.watch.tick(now)
        if now >= self._next_screen and self.domain.is_running():
            self._evidence.screenshot(self.domain)
            self._next_screen = now + _SCREEN_S
        if self.beside is not None:
            self.beside.pump(self)

    def wait(self, look: Callable[[], T | None], what: str, seconds: float) -> T:
        """Wait until ``look`` finds something true; no longer than that can still happen.

        Not counted is for how long the host keeps the guest waiting.
        """
        until = time.monotonic() + seconds - self._starved_s
        while True:
            found = look()
            if found:
                return found
            self.give_up_if_lost()
            if time.monotonic() - self._starved_s >= until:
                raise GuestFailed(f"waited {seconds:.0f} s in vain for {what}")
            self.pump()

    def give_up_if_lost(self) -> None:
        """Raise GuestFailed where the guest is beyond help, with the cause of that."""
        final = self.watch.final if self.gives_up else None
        name = f"{self.domain.name}: " if self.beside is not None else ""
        if final is not None:
            raise GuestFailed(name + final.message, cause=final.cause)
        if self.ended is not None:
            raise GuestFailed(f"{name}the machine is not running", cause=Cause.POWERED_OFF)
        if self.beside is not None:
            self.beside.give_up_if_lost(self)

    def wait_for_end(self, seconds: float) -> Ended:
        """Wait until the guest has ended, which somebody has asked it to."""
        until = time.monotonic() + seconds
        while self.ended is None:
            if time.monotonic() >= until:
                raise GuestFailed(f"the guest did not end within {seconds:.0f} s")
            self.pump()
        return self.ended

    def expect_shell(self, root: str) -> None:
        """Take up the shell of a guest that goes on from a checkpoint."""
        self._shell.expect(root)

    def wake(self, *, name: str = "") -> None:
        """Tell a guest that goes on from a checkpoint so, before all else that it is told."""
        self._shell.wake(name=name, machine_id=secrets.token_hex(16) if name else "")

    def wait_quiet(self, seconds: float) -> None:
        """Wait until the guest has nothing to do, by the processor time of QEMU; no longer."""
        pid, until = self.domain.pid, time.monotonic() + seconds
        while pid is not None and time.monotonic() < until:
            began, used = time.monotonic(), cpu_seconds(pid)
            while time.monotonic() - began < _IDLE_S:
                self.pump()
            self.give_up_if_lost()
            if cpu_seconds(pid) - used < _IDLE_SHARE * (time.monotonic() - began):
                return

    def root(self, ready_s: float) -> str:
        """Tell what the guest's shell found mounted as /; raises GuestFailed without a shell."""
        self._wait_for_shell(ready_s)
        return self._shell.root

    def root_seen(self) -> str | None:
        """Tell the same without waiting; None where there is no shell, or it is lost."""
        self._poll_shell()
        is_there = self._shell.is_ready and self._shell_lost is None
        return self._shell.root if is_there else None

    def send(self, script: str, *, seconds: float, ready_s: float, data: bytes = b"") -> None:
        """Hand a script to the guest's shell, and its input; raises GuestFailed without one."""
        self._wait_for_shell(ready_s)
        self._shell.send(script, seconds=seconds, data=data)

    def _wait_for_shell(self, ready_s: float) -> None:
        try:
            self.wait(lambda: self._shell_lost or self._shell.is_ready, "the shell", ready_s)
        except GuestFailed as error:
            if error.cause is not Cause.TEST:
                raise
            message = "the guest's shell does not answer"
            self._shell_lost = GuestFailed(f"{message}: {error.what}", cause=Cause.NO_SHELL)
        if self._shell_lost is not None:
            raise self._shell_lost

    def answer(self, what: str, seconds: float) -> GuestResult:
        """Wait for the answer to the script that was sent last."""

        def look() -> GuestResult | None:
            done = self._poll_shell()
            if done is None and self._shell_lost is not None:
                raise self._shell_lost
            return done

        return self.wait(look, f"an answer to {what}", seconds)

    def console(self) -> str:
        """Tell the last lines of the console."""
        return "\n".join(console_text(line) for line in [*self._console_tail][-_QUOTED:])

    def console_seen(self) -> tuple[bytes, ...]:
        """List the last lines of the console, also from before a copy went on as one.

        The last of them is what has no end yet, as a prompt has none.
        """
        rest = self._console_lines.rest()[:_LONGEST_TOLD]
        return (*self._console_before, *self._console_tail, rest)[-_SCREENFUL:]

    def last_words(self) -> str:
        """Tell the last lines of console and journal, as a failure shows them."""
        journal = [format_entry(entry) for entry in [*self.entries][-_QUOTED:]]
        return "\n".join(["console:", self.console(), "journal:", *journal])

    def _note_starving(self) -> None:
        """Have what a busy host takes from the guest not counted against it."""
        now = time.monotonic()
        if self._starving is None or now < self._next_starving:
            return
        self._next_starving = now + _STARVING_S
        seconds = self._starving.look()
        self._starved_s += seconds
        self.watch.starved(seconds)

    def _poll_shell(self) -> GuestResult | None:
        """Read the shell's wire; a shell that is lost stays so until the next boot."""
        if self._shell_lost is not None:
            return None
        try:
            return self._shell.poll()
        except Failed as error:
            self._shell_lost = GuestFailed(error.what, cause=Cause.NO_SHELL, hint=error.hint)
            self._shell.close()
            return None

    def _take_events(self) -> list[Event]:
        found = []
        while True:
            try:
                found.append(self._events.get_nowait())
            except Empty:
                return found

    def _on_event(self, event: Event) -> None:
        name = self.domain.name
        if event.kind is EventKind.IO_ERROR:
            raise Trouble(f"QEMU could not write the machine's disk ({event.detail})", where=name)
        if event.kind is not EventKind.ENDED:
            return
        self.ended = self.domain.ended()
        if self.ended in (Ended.KILLED, None) and not self.watch.is_leaving:
            raise Trouble("QEMU was killed, or died of its own", where=name)
        if self.ended in _ENDS:
            # All that it said before comes first: it explains the end.
            while self._read_console() + self._read_journal():
                continue
            self.watch.ended(_ENDS[self.ended], time.monotonic())

    def _read_console(self) -> int:
        if not self.domain.console.is_file():
            return 0
        with self.domain.console.open("rb") as file:
            file.seek(self._console_at)
            data = file.read(_CONSOLE_CHUNK)
        self._console_at += len(data)
        if data:
            self._evidence.console(data)
        now = time.monotonic()
        for line in self._console_lines.feed(data):
            self._console_tail.append(line[:_LONGEST_TOLD].rstrip(b"\r"))
            self.watch.console(line, now)
        return len(data)

    def _read_journal(self) -> int:
        before = self._journal.received
        now = time.monotonic()
        for entry in self._journal.read():
            self.entries.append(entry)
            self._evidence.entry(entry)
            self.watch.entry(entry, now)
        self.watch.received(self._journal.received, now)
        return self._journal.received - before
