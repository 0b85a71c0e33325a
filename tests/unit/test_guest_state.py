# SPDX-License-Identifier: LGPL-2.1-or-later
"""What programs in a guest print is read as values, and nonsense as nothing."""

import json

from hypothesis import given
from hypothesis import strategies as st

from pipeline.words.guest_state import (
    CoreDump,
    Deployment,
    core_dumps,
    parse_coredumpctl,
    parse_status,
)
from pipeline.words.journal import CORE_DUMP, parse_entry

NEW, OLD, OLDER = "a" * 64, "b" * 64, "c" * 64
STATUS = f"""\
  debian {NEW}.0 (pending)
    Version: 20261128.2
    origin refspec: ostci:debian/buildmaster/x86_64-runtime
* debian {OLD}.1
    Version: 20261128.1
    \x1b[31m\x1b[1mUnlocked: development\x1b[22m\x1b[0m
    Pinned: yes
    origin refspec: debian/compose/x86_64-runtime
    GPG: Signature made Sat 28 Nov 2026 using RSA key ID 0123456789ABCDEF
    GPG: Good signature from "somebody"
  debian {OLDER}.0 (rollback)
    origin: none
"""


def test_the_status_of_ostree_is_read() -> None:
    assert parse_status(STATUS) == (
        Deployment(
            stateroot="debian",
            commit=NEW,
            serial=0,
            version="20261128.2",
            origin="ostci:debian/buildmaster/x86_64-runtime",
            is_pending=True,
        ),
        Deployment(
            stateroot="debian",
            commit=OLD,
            serial=1,
            version="20261128.1",
            origin="debian/compose/x86_64-runtime",
            is_booted=True,
            is_pinned=True,
            unlocked="development",
        ),
        Deployment(stateroot="debian", commit=OLDER, serial=0, is_rollback=True),
    )
    assert parse_status(f"  debian {NEW}.0 (staged)\n")[0].is_pending
    assert parse_status("No deployments.\n") == ()


def entry(**fields: str) -> bytes:
    return json.dumps(fields).encode()


def dumps(*lines: bytes) -> tuple[CoreDump, ...]:
    return core_dumps(found for line in lines if (found := parse_entry(line)) is not None)


def test_a_core_dump_is_told_once_by_who_knows_most() -> None:
    kernel = entry(
        SYSLOG_IDENTIFIER="kernel",
        _TRANSPORT="kernel",
        MESSAGE="my prog[41]: segfault at 0 ip 0000 sp 0000 error 4 in my prog[400000+1000]",
    )
    systemd = entry(
        MESSAGE="Process 41 (my prog) of user 0 dumped core.",
        MESSAGE_ID=CORE_DUMP,
        COREDUMP_COMM="my prog",
        COREDUMP_PID="41",
        COREDUMP_SIGNAL="11",
        COREDUMP_UNIT="mine.service",
    )
    only = CoreDump(program="my prog", signal="SIGSEGV", pid=41)
    full = CoreDump(program="my prog", signal="SIGSEGV", pid=41, unit="mine.service")
    assert dumps(kernel) == (only,)
    assert dumps(kernel, systemd) == (full,)
    assert dumps(systemd, kernel) == (full,)


def test_a_trap_names_its_signal() -> None:
    text = "traps: bad[7] trap invalid opcode ip:401000 sp:7ffe error:0 in bad[401000+1000]"
    assert dumps(entry(SYSLOG_IDENTIFIER="kernel", MESSAGE=text)) == (
        CoreDump(program="bad", signal="SIGILL", pid=7),
    )
    assert dumps(entry(SYSLOG_IDENTIFIER="hello", MESSAGE=text)) == ()


def test_coredumpctl_is_read() -> None:
    rows = [{"time": 1, "pid": 9, "uid": 0, "sig": 6, "exe": "/usr/bin/crasher", "size": None}]
    assert parse_coredumpctl(json.dumps(rows)) == (
        CoreDump(program="crasher", signal="SIGABRT", pid=9),
    )
    assert parse_coredumpctl("No coredumps found.") == ()
    assert parse_coredumpctl('[{"exe": 3}, 4, {"exe": "/x", "pid": "--", "sig": 1e9}]') == (
        CoreDump(program="x", signal="unknown", pid=0),
    )


@given(st.text())
def test_no_text_makes_the_readers_raise(text: str) -> None:
    parse_status(text)
    parse_status(f"* debian {NEW}.0{text}\n    {text}")
    parse_coredumpctl(text)
    dumps(entry(SYSLOG_IDENTIFIER="kernel", MESSAGE=text))
    dumps(entry(MESSAGE_ID=CORE_DUMP, COREDUMP_PID=text, COREDUMP_SIGNAL=text))
