# SPDX-License-Identifier: LGPL-2.1-or-later
"""One push to the small sample, booted and promoted: through Buildbot, and by ``ostci run``."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.ports.master_settings import read_master_settings
from pipeline.words.push import PushState
from tests.bench import hooked
from tests.bench.frame import Row, interleaved, timed
from tests.master.test_real import small_tiny
from tests.masters import Up
from tests.work import Work

ROUNDS = 5
SHARE, MORE_S = 0.05, 3.0
_LONG_S = 600.0
_numbers = itertools.count()


def bench(scratch: Path) -> Iterator[Row]:
    """Measure both in turn, from the push to the end of its run.

    Once with a user of its own for what is built and booted, where root has that account.
    """
    scratch.chmod(0o755)  # so that another user can work there
    alone = small_tiny(scratch / "alone")
    alone.ostci("run")
    for name, given in (("by default", {}), ("worker-user none", {"worker-user": "none"})):
        yield _measure(scratch / name.replace(" ", "-"), alone, name, given)


def _measure(place: Path, alone: Work, name: str, given: dict[str, Any]) -> Row:
    told = small_tiny(place)
    up = Up(place, work=told, runs=1, **hooked.SETTINGS, **given)
    hooked.give_secret(up)
    with up:
        up.wait(lambda: len(up.ledger.pushes.heads()) >= 4, "the first round is over")
        first = int(told.json("push", "manifest")["id"])
        up.wait_ended(up.ledger.pushes.get(first), within_s=_LONG_S)
        user = read_master_settings(up.home / "master").worker_user or "the master's user"

        def ours() -> float:
            after = _commit(told, next(_numbers))
            began = time.monotonic()
            hooked.send(up, told.sample.repository("greeting"))
            push = hooked.ended(up, after)
            seconds = time.monotonic() - began
            assert push.state is PushState.DONE and not push.message, push
            return seconds

        def by_hand() -> float:
            _commit(alone, next(_numbers))
            return timed(lambda: alone.ostci("run"))

        seconds, base = interleaved(ours, by_hand, rounds=ROUNDS)
    most = base * (1 + SHARE) + MORE_S
    return Row(
        name=f"a push through Buildbot, hook → end, {name}",
        ours=seconds,
        baseline=base,
        against="ostci run of the same push: one component, one tree, one boot",
        reach=f"≤ {most:.1f} s: 5 % + 3 s",
        reached=seconds <= most,
        note=f"{seconds - base:.2f} s more; built and booted by {user}",
        rounds=ROUNDS,
    )


def _commit(work: Work, number: int) -> str:
    path = work.sample.repository("greeting") / "greeting.c"
    lines = [line for line in path.read_text().splitlines() if not line.startswith("// number")]
    path.write_text("\n".join([*lines, f"// number {number}", ""]))
    return work.sample.push("greeting", str(number))
