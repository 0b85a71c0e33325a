# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines in a private network of their own, real ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.verdict import Verdict
from tests import machines

SUITES = Path(__file__).parent / "suites"


def request_of(suite: str, tmp: Path, log: Log) -> TestRequest:
    made = machines.tiny_disk(log)
    return TestRequest(
        run=machines.VERSION,
        tree=made.tree,
        # Two beside the one that every suite has.
        target=replace(made.target, memory=256 * 1024**2),
        disk=made.disk,
        suite=suite,
        into=tmp / "evidence",
        suites=SUITES,
    )


@pytest.mark.vm
@pytest.mark.slow
def test_machines_of_one_test_are_in_a_network_of_their_own(tmp_path: Path, log: Log) -> None:
    request = request_of("several", tmp_path, log)
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    bad = [one.log for one in result.tests if one.verdict is not Verdict.PASSED]
    assert (result.verdict, bad) == (Verdict.PASSED, [])
    assert not list((tmp_path / "tmp").glob("*/*"))
