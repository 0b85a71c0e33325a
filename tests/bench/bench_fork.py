# SPDX-License-Identifier: LGPL-2.1-or-later
"""A test in a fork against the same test after a boot, and forks side by side.

The machine is the one of ``bench_boot``. A test is one command; its time has all that it costs,
from making the layer of the disk to the end of QEMU. Boots and forks take turns in one process.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.ports.checkpoint import Shelf
from pipeline.ports.log import Log
from pipeline.stages.test import checkpoints, run_suite
from pipeline.words.verdict import Verdict
from tests.bench.bench_boot import find_system, system_request
from tests.bench.frame import Row

REACH = 15.0
SUITES = Path(__file__).with_name("suites")


def bench(scratch: Path) -> Iterator[Row]:
    """Measure forks of the largest system that is at hand."""
    log = Log()
    name, repo, commit, target = find_system()
    request = system_request(scratch, repo, commit, target, log=log)
    request = replace(request, suite="forking", suites=SUITES)
    result = run_suite(request, cache=scratch / "cache", tmp=scratch / "tmp", log=log)
    assert result.verdict is Verdict.PASSED, result.message
    found = json.loads((request.into / "bench.json").read_text())
    fork, boot = statistics.median(found["forks"]), statistics.median(found["boots"])
    yield Row(
        name=f"a test in a fork of {name}",
        ours=fork,
        baseline=boot,
        against="the same test after a boot of its own",
        reach=f"≥ {REACH:.0f} x",
        reached=boot / fork >= REACH,
        rounds=len(found["forks"]),
    )
    yield Row(
        name=f"8 such tests side by side, {name}",
        ours=found["parallel"],
        baseline=found["serial"],
        against="one after the other",
        reach="a report",
    )
    shelf = Shelf(checkpoints(scratch / "cache"), log=log)
    for key in shelf.names():
        shelf.remove(key)
