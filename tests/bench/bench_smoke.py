# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the smoke suite saves, and what its evidence costs.

Its ten checks in one boot against a boot for each of them; a boot with everything that is kept of
it (console, journal, a picture every few seconds, reports) against one of which nothing is kept.
The guest is ``manifests/tiny.yaml``'s, the fastest to boot: a slower one saves more, and its
evidence costs less of its time.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.verdict import Verdict
from tests import spoilt
from tests.bench.frame import Row, interleaved, timed

ROUNDS = 45
"""Many: what is aimed at is less than by how much boots differ; of 15, medians were -1 to +3 %."""
TENS = 3
"""Of ten boots each."""
MORE = 0.03
_SUITES = Path(__file__).with_name("suites")


def bench(scratch: Path) -> Iterator[Row]:
    """Measure boots of tiny."""
    request = spoilt.tiny_request({}, scratch / "evidence", log=Log())
    yield _ten_boots(request, scratch)
    yield from _evidence(request, scratch)


def _run(request: TestRequest, scratch: Path) -> None:
    result = run_suite(request, cache=scratch / "cache", tmp=scratch / "tmp", log=Log())
    assert result.verdict is Verdict.PASSED, result.message


def _ten_boots(request: TestRequest, scratch: Path) -> Row:
    names: list[str] = []

    def one_boot() -> float:
        result = run_suite(request, cache=scratch / "cache", tmp=scratch / "tmp", log=Log())
        names[:] = [one.name for one in result.tests]
        return result.seconds

    # The first round of all, which does not count, fills names before this asks for them.
    def a_boot_each() -> float:
        return sum(
            timed(lambda name=name: _run(replace(request, suite=f"smoke/{name}"), scratch))  # type: ignore[misc]
            for name in names
        )

    ours, baseline = interleaved(one_boot, a_boot_each, rounds=TENS)
    return Row(
        name=f"the smoke suite's {len(names)} checks",
        ours=ours,
        baseline=baseline,
        against="the same checks with a boot for each",
        reach="one boot for all",
        reached=baseline > ours * (len(names) - 3),
        rounds=TENS,
    )


def _evidence(request: TestRequest, scratch: Path) -> Iterator[Row]:
    plain = replace(request, suite="plain", suites=_SUITES, forks=False)
    bare = replace(request, suite="bare", suites=_SUITES, forks=False)
    spent: list[float] = []

    def kept() -> float:
        seconds = timed(lambda: _run(plain, scratch))
        spent.append(json.loads((request.into / "spent.json").read_text()))
        return seconds

    ours, baseline = interleaved(kept, lambda: timed(lambda: _run(bare, scratch)), rounds=ROUNDS)
    yield Row(
        name="a boot whose evidence is kept",
        ours=ours,
        baseline=baseline,
        against="the same boot of which nothing is kept",
        reach=f"≤ +{MORE:.0%}",
        reached=ours <= baseline * (1 + MORE),
        note=f"{ours - baseline:+.2f} s, {ours / baseline - 1:+.1%}",
        rounds=ROUNDS,
    )
    keeping = statistics.median(spent[-ROUNDS:])
    yield Row(
        name="what keeps the evidence of a boot",
        ours=keeping,
        baseline=ours,
        against="the boot, which stands still for it at most so long",
        reach=f"≤ {MORE:.0%} of it",
        reached=keeping <= ours * MORE,
        note=f"{keeping / ours:.1%}: timed itself, for boots differ by more than that",
        rounds=ROUNDS,
    )
