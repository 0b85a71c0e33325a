# SPDX-License-Identifier: LGPL-2.1-or-later
"""The journal as a guest sends it: JSON, one entry a line, written by somebody we do not trust.

Format: https://systemd.io/JOURNAL_EXPORT_FORMATS/#journal-json-format. Values may be null (too
long), lists of bytes (binary) or lists of values (repeated fields); the last line may be cut
short. Nothing that a guest sends makes these functions raise.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

STARTUP_FINISHED = "b07a249cd024414a82dd00cd181378ff"
JOURNAL_STARTED = "f77379a8490b408bbe5f6940505a777b"
UNIT_STARTED = "39f53479d3a045ac8e11786248231fbf"
UNIT_FAILED = "d9b373ed55a64feb8242e02dbe79a49c"
START_FAILED = "be02cf6855d2428ba40df7e9d022f03d"
CORE_DUMP = "fc2e22bc6ee647b6b90729ab34a250b1"
JOURNAL_DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
OOM_KILL = "fe6faa94e7774663a0da52717891d8ef"
"""Message ids of systemd, see sd-messages.h."""

LONGEST_LINE = 4 * 1024**2
_LONGEST_FIELD = 64 * 1024
_LONGEST_MESSAGE = 2000
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FAILED = re.compile(r"(\S+): Failed with result '([a-z-]+)'\.")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry: every field has one or more values, all of them text."""

    fields: Mapping[str, tuple[str, ...]]

    def get(self, name: str) -> str:
        """Tell the first value of a field, or an empty text."""
        values = self.fields.get(name, ())
        return values[0] if values else ""

    @property
    def message(self) -> str:
        """The message, cut where it is too long for people."""
        return self.get("MESSAGE")[:_LONGEST_MESSAGE]

    @property
    def message_id(self) -> str:
        return self.get("MESSAGE_ID").lower()

    @property
    def priority(self) -> int:
        """The level of syslog(3), 0 to 7; 6 where the guest said none."""
        text = self.get("PRIORITY")
        return int(text) if text in {"0", "1", "2", "3", "4", "5", "6", "7"} else 6

    @property
    def unit(self) -> str:
        """The unit that the message is about, else the one that wrote it."""
        return self.get("UNIT") or self.get("_SYSTEMD_UNIT")

    @property
    def speaker(self) -> str:
        """Who wrote the message, as journalctl prints it."""
        name = self.get("SYSLOG_IDENTIFIER") or self.get("_COMM")
        if not name:
            name = "kernel" if self.get("_TRANSPORT") == "kernel" else "unknown"
        return name[:80]

    @property
    def is_from_manager(self) -> bool:
        """Tell whether the first process itself says so, which alone speaks for units.

        While there is no journal it writes to the kernel's log, which only root can do.
        """
        if self.get("_TRANSPORT") == "kernel":
            return self.get("SYSLOG_IDENTIFIER") == "systemd" and self.get("SYSLOG_PID") == "1"
        return self.get("_PID") == "1"

    @property
    def text(self) -> str:
        """What people search for and read: ``speaker: message``."""
        return f"{self.speaker}: {self.message}"

    @property
    def seconds(self) -> float | None:
        """Seconds since the guest's kernel started, where the entry says so."""
        text = self.get("__MONOTONIC_TIMESTAMP")
        return int(text) / 1e6 if text.isdecimal() and text.isascii() and len(text) < 16 else None


def parse_entry(line: bytes) -> Entry | None:
    """Read one line; None for what is no entry."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not value:
        return None
    return _completed(Entry(fields={_clean(name): _values(found) for name, found in value.items()}))


def _completed(entry: Entry) -> Entry:
    """Add to a failure that was told before there was a journal what the journal would have had.

    The kernel's log has the text alone, and every unit that becomes failed says this.
    """
    if entry.get("_TRANSPORT") != "kernel" or not entry.is_from_manager:
        return entry
    found = _FAILED.fullmatch(entry.message)
    if found is None:
        return entry
    told = {"MESSAGE_ID": (UNIT_FAILED,), "UNIT": (found[1],), "UNIT_RESULT": (found[2],)}
    return Entry(fields={**entry.fields, **told})


def _values(value: Any) -> tuple[str, ...]:
    if isinstance(value, list):
        if value and all(_is_byte(item) for item in value):
            return (_clean(bytes(value).decode("utf-8", "backslashreplace")),)
        return tuple(text for item in value for text in _values(item)[:1]) or ("",)
    if value is None:
        return ("",)
    if isinstance(value, str):
        return (_clean(value),)
    if isinstance(value, dict):
        return ("",)
    return (_clean(str(value)),)


def _is_byte(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 255


def _clean(text: str) -> str:
    """Make sure that the text can be written anywhere.

    JSON may hold halves of characters; and what is printed must not command a terminal.
    """
    text = text[:_LONGEST_FIELD].encode("utf-8", "backslashreplace").decode()
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


class Lines:
    """Put a stream together to lines; one that is too long is cut, the rest of it dropped."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._partial = bytearray()
        self._is_dropping = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the lines that ``data`` completes, without their line feed."""
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            line = bytes(self._partial)
            self._partial.clear()
            self._is_dropping = False
            yield line
        self._add(rest)

    def rest(self) -> bytes:
        """Tell what has come of a line that is not at its end yet."""
        return bytes(self._partial)

    def _add(self, piece: bytes) -> None:
        if self._is_dropping:
            return
        self._partial += piece
        if len(self._partial) > self._longest:
            del self._partial[self._longest :]
            self._is_dropping = True


def format_entry(entry: Entry) -> str:
    """Write an entry for people: guest's seconds, level where it matters, speaker, message."""
    seconds = entry.seconds
    when = "            " if seconds is None else f"{seconds:12.6f}"
    level = f" <{entry.priority}>" if entry.priority <= 4 else ""
    pid = entry.get("_PID")
    who = f"{entry.speaker}[{pid}]" if pid else entry.speaker
    return f"{when}{level} {who}: {entry.message}"
