# SPDX-License-Identifier: LGPL-2.1-or-later
"""A test that never returns, or forks without end, is stopped, and nothing of it is left."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.verdict import Verdict
from tests.guests import fault, guest_request

SUITES = Path(__file__).parent / "suites"
pytestmark = pytest.mark.vm


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("test_it_never_returns", "the suite did not end within 12 s, or was killed"),
        ("test_it_forks_without_end", "the suite had more than 400 processes and was stopped"),
    ],
)
def test_what_has_no_end_is_stopped(test: str, why: str, tmp_path: Path, log: Log) -> None:
    # The guest is of no interest: that it hangs takes nothing from what else runs here.
    request = replace(
        guest_request(fault("early() { sleep 10000; }"), tmp_path / "evidence", log=log),
        suite=f"endless/{test}",
        suites=SUITES,
        deadline_s=12.0 if "returns" in test else 120.0,
    )
    # What others keep for all tests of this process is theirs.
    before = {pid for pid, _ in process.descendants(os.getpid())}
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    assert (result.verdict, result.cause) == (Verdict.TROUBLE, "trouble")
    assert result.message.startswith(why)
    theirs = {one for pid in before for one, _ in process.descendants(pid)} | before
    left = [pid for pid, _ in process.descendants(os.getpid()) if pid not in theirs]
    assert left == []
