# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs the suites beside this file on real machines, each in a process of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.verdict import Verdict
from tests.guests import fault, guest_request

SUITES = Path(__file__).parent / "suites"


@pytest.mark.vm
@pytest.mark.slow
def test_the_verbs_of_a_machine_do_what_they_say(tmp_path: Path, log: Log) -> None:
    late = fault(
        "late() { started late.service; unit_failed sad.service exit-code; "
        "mkfifo /run/journal; (while :; do cat /run/journal >&4; done) & }"
    )
    request = replace(
        guest_request(late, tmp_path / "evidence", log=log), suite="verbs", suites=SUITES
    )
    result = run_suite(request, cache=tmp_path, tmp=tmp_path, log=log)
    bad = [(one.name, one.message) for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert len(result.tests) == 20
