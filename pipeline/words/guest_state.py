# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs in a guest say of it, as values: its deployments, and what dumped core.

Texts of a guest are not trusted: what is not of the format is left out, and nothing raises.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from signal import Signals

from pipeline.words.journal import CORE_DUMP, Entry

_MOST = 1000
_HEAD = re.compile(r"([* ]) (\S+) ([0-9a-f]{64})\.(\d{1,9})((?: \([a-z -]+\))*)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_WORD = re.compile(r"\(([a-z -]+)\)")
_SEGFAULT = re.compile(r"^(.{1,15}?)\[(\d{1,9})\]: segfault at ")
_TRAP = re.compile(r"^traps: (.{1,15}?)\[(\d{1,9})\] trap ([a-z ]+)")
_TRAPS = {"invalid opcode": "SIGILL", "divide error": "SIGFPE", "int3": "SIGTRAP"}


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One deployment, as ``ostree admin status`` lists it.

    ``origin`` is the refspec that it is upgraded from. ``is_pending`` is one that the next boot
    takes, also where it is only staged; ``is_rollback`` the one before the booted one.
    """

    stateroot: str
    commit: str
    serial: int
    version: str = ""
    origin: str = ""
    is_booted: bool = False
    is_pending: bool = False
    is_rollback: bool = False
    is_pinned: bool = False
    unlocked: str = ""


def parse_status(text: str) -> tuple[Deployment, ...]:
    """Read what ``ostree admin status`` prints, in the order in which a loader offers them."""
    found: list[Deployment] = []
    for line in _COLOUR.sub("", text).splitlines():
        head = _HEAD.fullmatch(line.rstrip())
        if head is not None and len(found) < _MOST:
            words = set(_WORD.findall(head[5]))
            deployment = Deployment(
                stateroot=head[2],
                commit=head[3],
                serial=int(head[4]),
                is_booted=head[1] == "*",
                is_pending=bool(words & {"pending", "staged"}),
                is_rollback="rollback" in words,
            )
            found.append(deployment)
        elif found and line.startswith("    "):
            found[-1] = _with(found[-1], *line.strip().partition(": ")[::2])
    return tuple(found)


def _with(deployment: Deployment, name: str, value: str) -> Deployment:
    if name == "Version":
        return replace(deployment, version=value)
    if name == "origin refspec":
        return replace(deployment, origin=value)
    if name == "Pinned":
        return replace(deployment, is_pinned=value == "yes")
    if name == "Unlocked":
        return replace(deployment, unlocked=value)
    return deployment


@dataclass(frozen=True, kw_only=True)
class CoreDump:
    """A program that died of a signal, such as ``SIGSEGV``; ``unit`` where that is known."""

    program: str
    signal: str
    pid: int
    unit: str = ""


def core_dumps(entries: Iterable[Entry]) -> tuple[CoreDump, ...]:
    """Find what dumped core in a journal: told by systemd-coredump, else by the kernel."""
    found: dict[int, CoreDump] = {}
    for entry in entries:
        dump = _of_entry(entry)
        if dump is None:
            continue
        # The kernel speaks first, and knows less.
        if dump.pid not in found or entry.message_id == CORE_DUMP:
            found[dump.pid] = dump
    return tuple(found.values())


def _of_entry(entry: Entry) -> CoreDump | None:
    if entry.message_id == CORE_DUMP:
        return CoreDump(
            program=entry.get("COREDUMP_COMM") or "unknown",
            signal=entry.get("COREDUMP_SIGNAL_NAME") or _signal(entry.get("COREDUMP_SIGNAL")),
            pid=_number(entry.get("COREDUMP_PID")),
            unit=entry.get("COREDUMP_UNIT") or entry.unit,
        )
    if entry.speaker != "kernel":
        return None
    fault = _SEGFAULT.search(entry.message)
    if fault is not None:
        return CoreDump(program=fault[1], signal="SIGSEGV", pid=int(fault[2]))
    trap = _TRAP.search(entry.message)
    if trap is None:
        return None
    name = next((name for text, name in _TRAPS.items() if trap[3].startswith(text)), "SIGSEGV")
    return CoreDump(program=trap[1], signal=name, pid=int(trap[2]))


def parse_coredumpctl(text: str) -> tuple[CoreDump, ...]:
    """Read what ``coredumpctl list --json=short`` prints; it knows of earlier boots, too."""
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError):
        return ()
    found = []
    for row in rows[:_MOST] if isinstance(rows, list) else ():
        if isinstance(row, dict) and isinstance(row.get("exe"), str):
            program = row["exe"].rpartition("/")[2]
            pid, signal = _number(str(row.get("pid"))), _signal(str(row.get("sig")))
            found.append(CoreDump(program=program, signal=signal, pid=pid))
    return tuple(found)


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _signal(text: str) -> str:
    try:
        return Signals(_number(text)).name
    except ValueError:
        return "unknown"
