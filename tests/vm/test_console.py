# SPDX-License-Identifier: LGPL-2.1-or-later
"""The console of ``ostci boot``: a person types on a terminal, a guest answers."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.cli.console import Session
from pipeline.ports.accelerator import Kind
from pipeline.ports.domain import confined
from pipeline.ports.log import Log
from pipeline.words.records import to_json
from tests import bare
from tests.person import Person
from tests.person import person as at_a_terminal

TOP = Path(__file__).resolve().parents[2]
SHELL = "setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'"

pytestmark = pytest.mark.vm


@contextmanager
def person(session: Session) -> Iterator[Person]:
    """Start the console as ``ostci boot`` does, on a terminal of its own."""
    file = Path(session.scratch) / "session.json"
    file.write_text(to_json(session))
    argv = confined([sys.executable, "-m", "pipeline.cli.console", file])
    with at_a_terminal(argv, cwd=TOP) as found:
        yield found


@pytest.fixture
def session(log: Log) -> Iterator[Session]:
    with bare.short_directory() as into:
        yield Session(
            name="x86_64-bare+shell",
            arch="x86_64",
            disk=str(bare.disk(into, SHELL, log=log)),
            memory=192 * 1024**2,
            processors=1,
            machines="qemu:///embed",
            accelerator=Kind.TCG,
            speed=10.0,
            sockets=str(into),
            scratch=str(into),
        )


def test_a_person_types_and_leaves_with_control_bracket(session: Session) -> None:
    with person(session) as somebody:
        somebody.wait_for("UP")
        somebody.type("echo $((6 * 7))th\n")
        somebody.wait_for("42th")
        somebody.type("\x03still here\n")
        somebody.wait_for("still: not found")
        assert bare.qemus(of=Path(session.scratch))
        somebody.type("\x1d")
        somebody.wait_for("[left]")
    assert somebody.child.returncode == 0
    assert not bare.qemus(of=Path(session.scratch))


def test_a_guest_that_powers_off_ends_it(session: Session) -> None:
    with person(session) as somebody:
        somebody.wait_for("UP")
        somebody.type("poweroff -f\n")
        somebody.wait_for("[the guest has powered off]")
    assert somebody.child.returncode == 0


def test_a_guest_that_reboots_comes_up_again(session: Session) -> None:
    with person(session) as somebody:
        somebody.wait_for("UP")
        somebody.type("reboot -f\n")
        somebody.wait_for("[the guest reboots: bare]")
        somebody.seen = ""
        somebody.wait_for("UP")
        somebody.type("\x1d")
    assert somebody.child.returncode == 0


def test_its_input_may_be_a_pipe(session: Session) -> None:
    file = Path(session.scratch) / "session.json"
    file.write_text(to_json(session))
    argv = confined([sys.executable, "-m", "pipeline.cli.console", file])
    with subprocess.Popen(argv, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None and child.stdout is not None
        for line in child.stdout:
            if b"UP" in line:
                child.stdin.write(b"echo piped; poweroff -f\n")
                child.stdin.close()
                break
        assert b"piped" in child.stdout.read()
        assert child.wait(60.0) == 0
