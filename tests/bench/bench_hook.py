# SPDX-License-Identifier: LGPL-2.1-or-later
"""From a hook to the start of its run's build, and what Buildbot adds to a run that builds nothing.

A real master and worker; the commands that they start are pretended ones, which do nothing but
leave what a real one would. Their own time is taken from start to end, and is not Buildbot's.
"""

import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from pipeline.words.push import PushState
from tests.bench import hooked
from tests.bench.frame import Row, p95
from tests.masters import FakeUp
from tests.work import TOP

HOOKS = 100
RUNS = 10
START_S = 1.0
BEYOND_S = 3.0
_TIMED = """\
#!/bin/bash
began=$EPOCHREALTIME
PYTHONPATH={top} FAKE_OSTCI={fake} {python} {top}/tests/master/fake_ostci.py "$@"
code=$?
echo "$began $EPOCHREALTIME" >> {fake}/times
exit $code
"""


def bench(scratch: Path) -> Iterator[Row]:
    """Measure both."""
    up = FakeUp(scratch / "hooks", **hooked.SETTINGS)
    hooked.give_secret(up)
    # The run ends with its first command: what is measured is before that.
    up.tell("resolve", *[1] * HOOKS)
    with up:
        up.wait(lambda: len(up.ledger.pushes.heads()) == 4, "the first round is over")
        waits = [_until_begun(up, number) for number in range(HOOKS)]
    yield Row(
        name=f"hook → the run's build started, p95 of {HOOKS}",
        ours=p95(waits),
        reach=f"≤ {START_S:.0f} s",
        reached=p95(waits) <= START_S,
        note=f"median {statistics.median(waits):.3f} s, longest {max(waits):.3f} s",
        rounds=HOOKS,
    )
    yield _nothing_to_build(scratch / "nothing")


def _until_begun(up: FakeUp, number: int) -> float:
    after = _commit(up, number)
    at = hooked.send(up, up.work.sample.repository("greeting"))
    push = hooked.ended(up, after)
    assert push.attempted is not None
    return push.attempted - at


def _commit(up: FakeUp, number: int) -> str:
    (up.work.sample.repository("greeting") / "NEWS").write_text(str(number))
    return up.work.sample.push("greeting", str(number))


def _nothing_to_build(scratch: Path) -> Row:
    up = FakeUp(scratch, **hooked.SETTINGS)
    hooked.give_secret(up)
    for name in ("keep-all", "last-ends"):
        (up.fake / name).touch()
    script = _TIMED.format(top=TOP, fake=up.fake, python=sys.executable)
    (up.fake / "ostci").write_text(script)
    beyond, total = [], []
    with up:
        up.wait(lambda: len(up.ledger.pushes.heads()) == 4, "the first round is over")
        up.wait((up.fake / "times").is_file, "the first look is over")
        for number in range(RUNS):
            after = _commit(up, number)
            (up.fake / "times").unlink()
            at = hooked.send(up, up.work.sample.repository("greeting"))
            push = hooked.ended(up, after)
            assert push.state is PushState.DONE and push.ended is not None
            lines = (up.fake / "times").read_text().split("\n")[:-1]
            own = sum(float(end) - float(began) for began, end in map(str.split, lines))
            assert len(lines) == 7, up.calls()
            total.append(push.ended - at)
            beyond.append(push.ended - at - own)
    seconds = statistics.median(beyond)
    return Row(
        name="a run that builds nothing, hook → end, beyond its stages' own time",
        ours=seconds,
        reach=f"≤ {BEYOND_S:.0f} s",
        reached=seconds <= BEYOND_S,
        note=f"7 commands; longest {max(beyond):.3f} s; with them {statistics.median(total):.3f} s",
        rounds=RUNS,
    )
