# SPDX-License-Identifier: LGPL-2.1-or-later
"""A boot alone, of which nothing is kept: what costs time is taken out. Run by ``bench_smoke``."""

from typing import Any

from vmtests.bench import bench
from vmtests.machine import Machine


def _nothing(*_: Any) -> None:
    pass


# Now, while the guest boots and its kernel has said nothing yet.
_evidence: Any = bench().evidence
for _name in ("console", "entry", "screenshot", "final_screenshot"):
    setattr(_evidence, _name, _nothing)
_machine: Any = bench().machine
_machine._following._journal._raw = None


def test_it_boots(machine: Machine) -> None:
    assert machine.watch.outcome.cause is None
