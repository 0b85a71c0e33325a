# SPDX-License-Identifier: LGPL-2.1-or-later
"""A boot alone, its evidence kept as for every suite. Run by ``bench_smoke``.

What keeps it is timed, to the last picture of the end: ``spent.json`` has the seconds.
"""

import time
from collections.abc import Callable
from typing import Any

from vmtests.bench import bench
from vmtests.machine import Machine

_spent = 0.0


def _timed(work: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        global _spent
        began = time.perf_counter()
        try:
            return work(*given, **named)
        finally:
            _spent += time.perf_counter() - began

    return call


# Now, while the guest boots and its kernel has said nothing yet.
_bench = bench()
_evidence: Any = _bench.evidence
for _name in ("console", "entry", "screenshot", "final_screenshot"):
    setattr(_evidence, _name, _timed(getattr(_evidence, _name)))
_machine: Any = _bench.machine
_raw = _machine._following._journal._raw
for _name in ("write", "flush"):
    setattr(_raw, _name, _timed(getattr(_raw, _name)))
# The end of the suite takes a picture, and closes this after it.
_bench.stack.callback(lambda: _evidence.write("spent.json", _spent))


def test_it_boots(machine: Machine) -> None:
    assert machine.watch.outcome.cause is None
