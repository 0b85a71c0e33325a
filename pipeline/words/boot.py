# SPDX-License-Identifier: LGPL-2.1-or-later
"""When a boot has passed, and when it can no longer pass.

``BootWatch`` is told what happens, with the time of a monotonic clock, and decides as early as
the evidence allows. It waits for nothing and asks nobody; after a pass it goes on collecting
what is wrong, for the tests that run on the machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words import journal
from pipeline.words.console_lines import ConsoleLines
from pipeline.words.fixture import FIXTURE_KNOWN
from pipeline.words.journal import Entry
from pipeline.words.manifest import KnownMessage, Target
from pipeline.words.symptoms import (
    BLEMISH,
    FINAL,
    HINT,
    Cause,
    Known,
    Symptom,
    console_text,
    of_console,
    of_entry,
    still_waiting,
)

_MOST_SYMPTOMS = 200
"""Of each weight: what is said a thousand times must not hide what ends the guest."""
_QUIET_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a clean boot shows, and how long it may take; seconds are those of this host.

    Nothing heard for ``quiet_s`` is a hang. A blemish ends the boot after ``blemish_s``, because
    what it led to mostly explains it; an error message never ends one, and fails it at its end.
    A boot that is done is watched for ``settle_s`` more before it has passed.
    More than ``console_bytes`` on the console is a flood, as are ``journal_bytes`` in the journal.
    None of these times counts while the host keeps the guest waiting (``BootWatch.starved``).
    """

    unit: str
    required: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, str] = field(default_factory=dict)
    required_units: tuple[str, ...] = ()
    forbidden_units: frozenset[str] = frozenset()
    required_console: Mapping[str, str] = field(default_factory=dict)
    forbidden_console: Mapping[str, str] = field(default_factory=dict)
    known: tuple[KnownMessage, ...] = ()
    deadline_s: float = 90.0
    quiet_s: float = 25.0
    blemish_s: float = 1.0
    settle_s: float = 0.0
    console_bytes: int = 2 * 1024**2
    journal_bytes: int = 64 * 1024**2


def expected_of(target: Target, speed: float) -> Expected:
    """Read what a target expects; ``speed`` is what this host stretches deadlines by."""
    smoke = target.smoke
    return Expected(
        unit=smoke.unit or target.default_unit,
        required=smoke.required or {journal.STARTUP_FINISHED: "start-up finished"},
        forbidden=smoke.forbidden,
        required_units=smoke.required_units,
        forbidden_units=frozenset(smoke.forbidden_units),
        required_console=smoke.required_console,
        forbidden_console=smoke.forbidden_console,
        known=(*smoke.known, *FIXTURE_KNOWN),
        deadline_s=smoke.deadline_s * speed,
        quiet_s=max(10.0, min(_QUIET_S, smoke.deadline_s / 4) * speed),
        blemish_s=speed,
        settle_s=smoke.settle_s * speed,
    )


class State(StrEnum):
    """What is known of a boot."""

    PENDING = "pending"
    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The decision; ``cause`` and ``message`` say why it failed."""

    state: State
    cause: Cause | None = None
    message: str = ""


_PENDING = Outcome(state=State.PENDING)


class BootWatch:
    """Follow one boot; tell it what happens, ask for ``outcome``."""

    starved_s: float = 0.0
    """Seconds for which the host has kept the guest waiting."""

    def __init__(self, expected: Expected, now: float) -> None:
        """Raises BadInput for a known message or a line of the console that is no pattern."""
        self.expected = expected
        self.outcome = _PENDING
        self.symptoms: list[Symptom] = []
        """All that a clean boot does not show, in the order in which it was seen."""
        self.seen: set[str] = set()
        """The message ids seen."""
        self.units: dict[str, str] = {}
        """Unit → ``started`` or ``failed``, as the first process last said."""
        self.excused: set[str] = set()
        """Units whose failure is among the known messages."""
        self.marks: dict[str, float] = {}
        """Milestone → seconds since the start, for the timings."""
        self.is_leaving = False
        """The test has asked the machine to end: its end is no failure."""
        self._known = Known(expected.known)
        self._lines = ConsoleLines(expected.required_console, expected.forbidden_console)
        self._began = self._heard = now
        self._reached: float | None = None
        self._held: tuple[float, Symptom] | None = None
        self._last = ""
        self._waits_for = ""
        self._console_bytes = 0

    @property
    def final(self) -> Symptom | None:
        """What ended the guest for good, if anything has."""
        return next((one for one in self.symptoms if one.weight == FINAL), None)

    @property
    def is_reached(self) -> bool:
        """Tell whether the wanted unit was reached."""
        return not self.expected.unit or self.units.get(self.expected.unit) == "started"

    @property
    def is_complete(self) -> bool:
        """Tell whether the boot came to its end, well or with blemishes."""
        return self.is_reached and not self.missing() and self.final is None

    def missing(self) -> dict[str, str]:
        """List what is required and was not seen, with what it stands for.

        Message ids, units that have not started, patterns of the console.
        """
        wanted = self.expected.required
        ids = {one: what for one, what in wanted.items() if one.lower() not in self.seen}
        units = [one for one in self.expected.required_units if self.units.get(one) != "started"]
        return {**ids, **dict.fromkeys(units, "a unit that has to start"), **self._lines.missing}

    def entry(self, entry: Entry, now: float) -> None:
        """Take a journal entry."""
        self._progress(now, entry.text)
        self._mark("first_entry", now)
        # Everybody may write any id; that the start-up has finished is the first process's to say.
        if entry.message_id != journal.STARTUP_FINISHED or entry.is_from_manager:
            self.seen.add(entry.message_id)
        self._note_unit(entry, now)
        found = of_entry(entry, forbidden=self.expected.forbidden, known=self._known)
        if found is not None:
            self._add(found, now)
        self._miss_target(entry, now)
        self.tick(now)

    def received(self, size: int, now: float) -> None:
        """Take how many bytes have come from the journal in all, entries or not."""
        if size > self.expected.journal_bytes:
            self._flood("journal", size, now)
            self.tick(now)

    def console(self, line: bytes, now: float) -> None:
        """Take a line of the console, as it came."""
        self._console_bytes += len(line) + 1
        text = console_text(line)
        waits_for = still_waiting(text)
        if waits_for is not None:
            self._waits_for = waits_for
        elif text:
            self._progress(now, text)
            self._mark("first_line", now)
            what = self._lines.take(text)
            if what is not None and not self._known.find(text):
                self._add(_forbidden(f"{what}: {text}"), now)
            found = of_console(text)
            if found is not None and (found.weight == FINAL or not self._known.find(text)):
                self._add(found, now)
        if self._console_bytes > self.expected.console_bytes:
            self._flood("console", self._console_bytes, now)
        self.tick(now)

    def starved(self, seconds: float) -> None:
        """Take for how long the guest wanted to run and could not: it is not late for that."""
        self.starved_s += seconds

    def ended(self, why: str, now: float) -> None:
        """Take that the guest has ended: ``powered-off``, ``reboot`` or ``panic``."""
        if self.is_leaving:
            return
        before = "before the boot was done" if self.outcome.state is State.PENDING else "in a test"
        last = f"; the last it said was: {self._last}" if self._last else ""
        cause, what = {
            "reboot": (Cause.REBOOT_LOOP, "the guest reset itself"),
            "panic": (Cause.PANIC, "the kernel panicked"),
        }.get(why, (Cause.POWERED_OFF, "the guest powered off"))
        self._add(_final(cause, f"{what} {before}{last}"), now)
        self.tick(now)

    def tick(self, now: float) -> None:
        """Decide; to be called from time to time also when nothing happens."""
        if self.outcome.state is not State.PENDING:
            return
        final = self.final
        if final is not None:
            self._fail(final, now)
        elif self.is_complete:
            self._mark("reached", now)
            if self._reached is None:
                self._reached = self._own(now)
            is_settled = self._own(now) - self._reached >= self.expected.settle_s
            may_be_explained = self._held is not None and self._held[1].by_signal
            if (is_settled and not may_be_explained) or self._is_ripe(now):
                self._pass_or_fail(now)
        elif self._is_ripe(now):
            self._pass_or_fail(now)
        elif self._own(now) - self._began >= self.expected.deadline_s:
            self._fail(self._held[1] if self._held else self._late(), now)
        elif self._own(now) - self._heard >= self.expected.quiet_s:
            self._fail(self._held[1] if self._held else self._silent(now), now)

    def _is_ripe(self, now: float) -> bool:
        """Tell whether what is held decides; hints never end a boot: all of them shall be seen."""
        if self._held is None or self._held[1].weight == HINT:
            return False
        return self._own(now) - self._held[0] >= self.expected.blemish_s

    def _own(self, now: float) -> float:
        """Tell the time on a clock that stands still while the host keeps the guest waiting."""
        return now - self.starved_s

    def _pass_or_fail(self, now: float) -> None:
        if self._held is not None:
            self._fail(self._held[1], now)
        else:
            self.outcome = Outcome(state=State.PASSED)

    def _fail(self, symptom: Symptom, now: float) -> None:
        self._mark("failed", now)
        if symptom not in self.symptoms:
            self.symptoms.append(symptom)
        self.outcome = Outcome(
            state=State.FAILED, cause=symptom.cause, message=self._explained(symptom)
        )

    def _explained(self, symptom: Symptom) -> str:
        """Add what came first to a target that was missed: that is what to look at."""
        if symptom.cause is not Cause.TARGET_MISSED:
            return symptom.message
        first = next((one for one in self.symptoms if one.weight == BLEMISH), None)
        return symptom.message + (f"; first: {first.message}" if first else "")

    def _progress(self, now: float, text: str) -> None:
        self._heard = self._own(now)
        self._last = text[:300]
        self._waits_for = ""

    def _mark(self, name: str, now: float) -> None:
        self.marks.setdefault(name, now - self._began)

    def _note_unit(self, entry: Entry, now: float) -> None:
        if not entry.is_from_manager or not entry.unit:
            return
        if entry.message_id == journal.UNIT_STARTED:
            self.units[entry.unit] = "started"
            if entry.unit == self.expected.unit:
                self._mark("target", now)
            if entry.unit in self.expected.forbidden_units and not self._known.find(entry.text):
                self._add(_forbidden(f"{entry.unit} was started", name=entry.unit), now)
        elif entry.message_id in {journal.UNIT_FAILED, journal.START_FAILED}:
            self.units[entry.unit] = "failed"
            if self._known.find(entry.text):
                self.excused.add(entry.unit)

    def _miss_target(self, entry: Entry, now: float) -> None:
        """See that the wanted unit cannot be reached any more."""
        unit = self.expected.unit
        if self.is_reached or not entry.is_from_manager:
            return
        if entry.message_id == journal.START_FAILED and entry.unit == unit:
            result = entry.get("JOB_RESULT") or "failed"
            self._add(_final(Cause.TARGET_MISSED, f"{unit} was not reached ({result})"), now)
        elif entry.message_id == journal.STARTUP_FINISHED:
            message = f"the start-up finished, but {unit} was not reached"
            self._add(_final(Cause.TARGET_MISSED, message), now)

    def _add(self, symptom: Symptom, now: float) -> None:
        of_weight = sum(1 for one in self.symptoms if one.weight == symptom.weight)
        if symptom in self.symptoms or of_weight >= _MOST_SYMPTOMS:
            return
        self.symptoms.append(symptom)
        if symptom.weight == FINAL:
            return
        if self._held is None or symptom.explains(self._held[1]):
            self._held = (self._own(now), symptom)

    def _flood(self, what: str, size: int, now: float) -> None:
        if self.final is None:
            self._add(_final(Cause.FLOOD, f"the guest wrote {size} bytes to its {what}"), now)

    def _late(self) -> Symptom:
        seconds = self.expected.deadline_s
        if self.is_reached:
            return self._lacks(f"within {seconds:.0f} s")
        message = f"{self.expected.unit} was not reached within {seconds:.0f} s"
        return _final(Cause.DEADLINE, f"{message}; the last the guest said was: {self._last}")

    def _silent(self, now: float) -> Symptom:
        seconds = self._own(now) - self._heard
        if self.is_reached:
            return self._lacks(f"and nothing was heard for {seconds:.0f} s")
        waits = f", while it waits for {self._waits_for}" if self._waits_for else ""
        last = f"; the last was: {self._last}" if self._last else "; it never said anything"
        if self._last and "first_entry" not in self.marks:
            waits += ", and its journal never came"
        return _final(Cause.HANG, f"nothing was heard for {seconds:.0f} s{waits}{last}")

    def _lacks(self, when: str) -> Symptom:
        names = ", ".join(f"{what or one} ({one})" for one, what in self.missing().items())
        return _final(Cause.MISSING, f"what is required was not seen {when}: {names}")


def _forbidden(message: str, *, name: str = "") -> Symptom:
    return Symptom(cause=Cause.FORBIDDEN, message=message[:500], weight=BLEMISH, name=name)


def _final(cause: Cause, message: str) -> Symptom:
    return Symptom(cause=cause, message=message, weight=FINAL)


__all__ = [
    "BLEMISH",
    "FINAL",
    "HINT",
    "BootWatch",
    "Cause",
    "Expected",
    "Outcome",
    "State",
    "Symptom",
    "expected_of",
]
