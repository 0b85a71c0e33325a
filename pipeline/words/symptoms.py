# SPDX-License-Identifier: LGPL-2.1-or-later
"""Symptoms: what one console line or journal entry says about a guest that is not well.

Each has a cause, which sorts failures, and a weight, which says what explains what: a panic
explains the silence after it, a failed unit the error messages it wrote.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from pipeline.words import journal
from pipeline.words.errors import BadInput
from pipeline.words.journal import Entry
from pipeline.words.manifest import KnownMessage


class Cause(StrEnum):
    """Why a boot, or a test on a booted machine, failed."""

    INITRAMFS = "initramfs"
    NO_INIT = "no-init"
    INIT_DIED = "init-died"
    PANIC = "panic"
    OOPS = "oops"
    POWERED_OFF = "powered-off"
    REBOOT_LOOP = "reboot-loop"
    EMERGENCY = "emergency"
    TARGET_MISSED = "target-missed"
    START_TIMEOUT = "start-timeout"
    FAILED_UNIT = "failed-unit"
    CORE_DUMP = "core-dump"
    OOM_KILL = "oom-kill"
    FORBIDDEN = "forbidden-message"
    ERROR_MESSAGE = "error-message"
    MISSING = "missing-message"
    HANG = "hang"
    DEADLINE = "deadline"
    FLOOD = "flood"
    WRONG_COMMIT = "wrong-commit"
    NO_SHELL = "no-shell"
    NO_SESSION = "no-session"
    SESSION_ENDED = "session-ended"
    TEST = "test"
    MALFORMED = "malformed"
    """What says how a test is run cannot be read: no guest was asked."""


FINAL = 0
"""Nothing good can come after this."""
BLEMISH = 1
"""Fails a clean boot, but what it led to may tell more."""
HINT = 2
"""An error message: somebody's word about something that mostly shows otherwise too."""


@dataclass(frozen=True, kw_only=True)
class Symptom:
    """Something that a clean boot does not show; ``name`` is the unit or program concerned."""

    cause: Cause
    message: str
    weight: int
    name: str = ""
    by_signal: bool = False
    """A signal killed the unit's program: the kernel mostly says why, and may be heard later."""

    def explains(self, other: "Symptom") -> bool:
        """Tell whether this is why the other came about."""
        if self.weight != other.weight:
            return self.weight < other.weight
        return other.by_signal and self.cause in (Cause.CORE_DUMP, Cause.OOM_KILL)


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_=>78])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_KERNEL_TIME = re.compile(r"^\s*\[\s*\d+\.\d+\](?:\[[^\]]*\])?\s*")
_WAITING = re.compile(r"\bA (?:start|stop) job is running for (.*?)(?: \(|$)")


def console_text(line: bytes) -> str:
    """Turn a console line into plain text: no colours, no control characters."""
    text = _ESCAPE.sub("", line.decode("utf-8", "backslashreplace"))
    return _CONTROL.sub("", text).rstrip()


def still_waiting(text: str) -> str | None:
    """Tell what systemd's console animation waits for; such a line is no progress."""
    found = _WAITING.search(text)
    return found[1].strip() if found else None


_PANIC = r"^Kernel panic - not syncing: "
_LINES: tuple[tuple[Cause, int, tuple[str, ...]], ...] = (
    (
        Cause.NO_INIT,
        FINAL,
        (
            r"^ostci-initramfs: .*\bno init\b",
            _PANIC + r"(?:No working init|No init) found",
            _PANIC + r"Requested init .* failed",
        ),
    ),
    (
        Cause.INITRAMFS,
        FINAL,
        (
            r"^ostci-initramfs: ",
            _PANIC + r"VFS: Unable to mount root",
            r"^dracut(?:-initqueue)?(?:\[\d+\])?: .*(?:could not boot|Refusing to continue)",
        ),
    ),
    (Cause.INIT_DIED, FINAL, (_PANIC + r"Attempted to kill init", r"^systemd\[1\]: Freezing exec")),
    (Cause.OOM_KILL, FINAL, (_PANIC + r".*(?:Out of memory|System is deadlocked on memory)",)),
    (Cause.PANIC, FINAL, (r"^Kernel panic - not syncing",)),
    (Cause.POWERED_OFF, FINAL, (r"^reboot: System halted$",)),
    (Cause.EMERGENCY, FINAL, (r"^You are in (?:emergency|rescue) mode",)),
    (
        Cause.OOPS,
        BLEMISH,
        (
            r"^(?:BUG: |kernel BUG at |Oops: |Internal error: Oops|Unable to handle kernel)",
            r"^general protection fault",
            r"^INFO: task .* blocked for more than|^watchdog: BUG: ",
            r"^EXT4-fs error \(device ",
        ),
    ),
    (Cause.OOM_KILL, BLEMISH, (r"^(?:Out of memory|Memory cgroup out of memory): Killed process",)),
    (Cause.CORE_DUMP, BLEMISH, (r"^\S+\[\d+\]: segfault at ", r"^traps: .* trap ")),
)
_CONSOLE = tuple(
    (re.compile("|".join(patterns)), cause, weight) for cause, weight, patterns in _LINES
)


def of_console(text: str) -> Symptom | None:
    """Judge a line that ``console_text`` made."""
    return _of_line(_KERNEL_TIME.sub("", text))


def _of_line(text: str) -> Symptom | None:
    for pattern, cause, weight in _CONSOLE:
        if pattern.search(text):
            return Symptom(cause=cause, message=text[:500], weight=weight)
    return None


class Known:
    """The base's known messages: errors that a clean boot shows, each with its reason."""

    def __init__(self, messages: Sequence[KnownMessage]) -> None:
        """Raises BadInput for a pattern that is none."""
        self._patterns = [(_compiled(one.pattern), one) for one in messages]

    def find(self, text: str) -> KnownMessage | None:
        """Find what explains a message."""
        for pattern, message in self._patterns:
            if pattern.search(text):
                return message
        return None


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        hint = "it is a regular expression of Python's re"
        raise BadInput(f"known message {pattern!r}: {error}", hint=hint) from error


_OF_THE_MACHINE = re.compile(
    r"^kernel: (?:atkbd serio\d+: Failed to \w+ keyboard on isa0060/"
    r"|i8042: (?:Can't read CTR|Unable to get stable CTR read))"
)
"""What the kernel says of a keyboard that answers late: QEMU's, on a host that kept it waiting."""


def of_entry(entry: Entry, *, forbidden: Mapping[str, str], known: Known) -> Symptom | None:
    """Judge a journal entry; None for one that is fine, or known."""
    if entry.priority > 3 and not entry.message_id and entry.speaker != "kernel":
        return None
    found = _of_message_id(entry, forbidden)
    if found is None and entry.speaker == "kernel":
        found = _of_line(entry.message)
    if found is None and entry.priority <= 3 and not _OF_THE_MACHINE.search(entry.text):
        found = Symptom(cause=Cause.ERROR_MESSAGE, message=entry.text, weight=HINT, name=entry.unit)
    if found is None or (found.weight != FINAL and known.find(entry.text) is not None):
        return None
    return found


def _of_message_id(entry: Entry, forbidden: Mapping[str, str]) -> Symptom | None:
    name = entry.unit
    by_id = entry.message_id
    if by_id in forbidden:
        message = f"{forbidden[by_id] or by_id}: {entry.text}"
        return Symptom(cause=Cause.FORBIDDEN, message=message, weight=BLEMISH, name=name)
    if by_id == journal.CORE_DUMP:
        program = entry.get("COREDUMP_COMM")
        first = next(iter(entry.message.splitlines()), "")
        message = f"{program or 'a program'} dumped core: {first}"
        return Symptom(cause=Cause.CORE_DUMP, message=message, weight=BLEMISH, name=program)
    if by_id == journal.JOURNAL_DROPPED:
        return Symptom(cause=Cause.FLOOD, message=entry.message, weight=BLEMISH, name=name)
    if by_id == journal.OOM_KILL:
        return Symptom(cause=Cause.OOM_KILL, message=entry.message, weight=BLEMISH, name=name)
    if not entry.is_from_manager:
        return None
    if by_id == journal.UNIT_FAILED:
        return _of_failed_unit(entry)
    if by_id == journal.START_FAILED:
        result = entry.get("JOB_RESULT")
        cause = Cause.START_TIMEOUT if result == "timeout" else Cause.FAILED_UNIT
        message = f"{name}: {entry.message}"
        return Symptom(cause=cause, message=message, weight=BLEMISH, name=name)
    if name in _EMERGENCIES and by_id == journal.UNIT_STARTED:
        return Symptom(cause=Cause.EMERGENCY, message=entry.message, weight=FINAL, name=name)
    return None


_EMERGENCIES = {"emergency.target", "emergency.service", "rescue.target"}
_RESULTS = {
    "core-dump": Cause.CORE_DUMP,
    "oom-kill": Cause.OOM_KILL,
    "timeout": Cause.START_TIMEOUT,
}


def _of_failed_unit(entry: Entry) -> Symptom:
    result = entry.get("UNIT_RESULT")
    cause = _RESULTS.get(result, Cause.FAILED_UNIT)
    message = entry.message or f"{entry.unit} failed ({result})"
    by_signal = result == "signal"
    return Symptom(
        cause=cause, message=message, weight=BLEMISH, name=entry.unit, by_signal=by_signal
    )
