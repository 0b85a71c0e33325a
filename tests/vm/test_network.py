# SPDX-License-Identifier: LGPL-2.1-or-later
"""The network of a machine: what a test serves on its loopback, which is down at first."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.verdict import Verdict
from tests import machines
from tests.ordinary import ordinary_user

SUITES = Path(__file__).parent / "suites"
_ENTER = """
import os, sys
from pipeline.ports.domain import confined
argv = confined([sys.executable, "-c", sys.argv[1]], serves=True)
os.execvp(argv[0], argv)
"""
_TALK = """
import socket, subprocess
from pipeline.ports.loopback import raise_loopback
with socket.socket() as before:
    assert before.connect_ex(("127.0.0.1", 9)) == 101, "it was up already"
raise_loopback()
raise_loopback()
with socket.create_server(("127.0.0.1", 0)) as server:
    with socket.create_connection(server.getsockname(), timeout=5):
        print("talked")
status = subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True).stdout
print(*(line for line in status.splitlines() if line.startswith(("CapEff", "CapAmb"))))
"""


@pytest.mark.vm
@pytest.mark.slow
def test_a_guest_reaches_the_test_by_a_card_that_is_plugged_in(tmp_path: Path, log: Log) -> None:
    made = machines.tiny_disk(log)
    request = TestRequest(
        run=machines.VERSION,
        tree=made.tree,
        target=made.target,
        disk=made.disk,
        suite="network",
        into=tmp_path / "evidence",
        suites=SUITES,
    )
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    bad = [one.log for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])


def test_the_loopback_of_a_suite_goes_up() -> None:
    argv = [sys.executable, "-c", _ENTER, _TALK]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.startswith("talked\n"), done.stderr


def test_the_loopback_of_an_ordinary_users_suite_goes_up_and_its_children_have_no_rights() -> None:
    with ordinary_user() as user:
        done = user.run([sys.executable, "-c", _ENTER, _TALK])
    none = "0" * 16
    assert done.stdout == f"talked\nCapEff:\t{none} CapAmb:\t{none}\n", done.stderr
