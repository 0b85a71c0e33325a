# SPDX-License-Identifier: LGPL-2.1-or-later
"""One round of a master over 400 repositories in which nothing moved, and what it does between.

A round is from the first ``git`` that the master starts to the end of the last one.
"""

import itertools
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.process import descendants
from tests.bench.frame import Row
from tests.cheap import Cheap
from tests.masters import FakeUp

COUNT = 400
ROUNDS = 5
ROUND_S = 4.0
BETWEEN = 0.01
_POLL_S = 20
_LOOK_S = 0.02
_QUIET_S = 1.5
_LONG_S = 600.0
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Round:
    """When it began and ended, and the processor's seconds until it began and ended."""

    began: float
    ended: float
    cpu_began: float
    cpu_ended: float


def bench(scratch: Path) -> Iterator[Row]:
    """Measure rounds, and the time between them."""
    (scratch / "many").mkdir()
    work = Cheap(scratch / "many", **{f"component-{n}": 0.0 for n in range(COUNT)})
    up = FakeUp(scratch / "many", work=work, poll=_POLL_S, reconcile=60)
    with up:
        heads = up.ledger.pushes.heads
        up.wait(lambda: len(heads()) == COUNT, "the first round is over", within_s=_LONG_S)
        master = up.pid_of("master")
        rounds = [_round(master) for _ in range(ROUNDS + 1)][1:]  # the first may be half over
    walls = [one.ended - one.began for one in rounds]
    cpus = [one.cpu_ended - one.cpu_began for one in rounds]
    quiet = list(itertools.pairwise(rounds))
    idle_s = sum(after.began - before.ended for before, after in quiet)
    between = sum(after.cpu_began - before.cpu_ended for before, after in quiet) / idle_s
    seconds = statistics.median(walls)
    yield Row(
        name=f"a round over {COUNT} local repositories",
        ours=seconds,
        reach=f"≤ {ROUND_S:.0f} s",
        reached=seconds <= ROUND_S,
        note=f"{statistics.median(cpus):.2f} s of a core, git included; longest {max(walls):.2f} s",
        rounds=ROUNDS,
    )
    yield Row(
        name="… and between two rounds, seconds of a core in 100 s",
        ours=between * 100,
        reach=f"≤ {BETWEEN * 100:.0f}",
        reached=between <= BETWEEN,
        note=f"of the master alone, over {idle_s:.0f} s",
        rounds=ROUNDS - 1,
    )


def _round(master: int) -> Round:
    began = ended = 0.0
    cpu_began = cpu_ended = _cpu_s(master)
    while not began or time.monotonic() - ended < _QUIET_S:
        time.sleep(_LOOK_S)
        now, cpu = time.monotonic(), _cpu_s(master)
        if descendants(master):
            if not began:
                began, cpu_began = now, cpu
            ended = now
        elif not began:
            cpu_began = cpu
        if now - ended <= 2 * _LOOK_S:
            cpu_ended = cpu
    return Round(began=began, ended=ended, cpu_began=cpu_began, cpu_ended=cpu_ended)


def _cpu_s(pid: int) -> float:
    """Tell what a process and those that it has waited for have taken of a core."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) * _TICK_S
