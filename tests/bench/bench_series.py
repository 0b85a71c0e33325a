# SPDX-License-Identifier: LGPL-2.1-or-later
"""The original's 379 components on generated repositories, under a real master: pushes in a burst.

Builds are trivial and nothing boots, so what is measured is everything round them. Each push must
have a run of its own and a commit of its own on ``compose``, in push order.
"""

import json
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.words.push import Push, PushState
from tests.bench.frame import Row
from tests.cheap import CheapByCommit
from tests.masters import Up

MANIFEST = Path(__file__).parents[1] / "data" / "gnome-continuous-manifest.json"
PUSHES = 50
SLOTS = 3
_FIRST_S = 3600.0
_ALL_S = 3600.0


class Series(CheapByCommit):
    """A component for each of the original's, under its name, in its order."""

    def _manifest(self, names: tuple[str, ...]) -> dict[str, Any]:
        made = super()._manifest(names)
        for component in made["components"]:
            del component["depends"]  # the original's rule: each may use all before it
        return made


def bench(scratch: Path) -> Iterator[Row]:
    """Measure how long a burst takes from the first git push to the last run's end."""
    names = _names()
    work = Series(scratch, **dict.fromkeys(names, 0.0))
    with Up(scratch, work=work, poll=2, reconcile=2, slots=SLOTS, runs=4) as up:
        heads = up.ledger.pushes.heads
        up.wait(lambda: len(heads()) >= len(names), "all are seen", within_s=_FIRST_S)
        began = time.monotonic()
        number = int(work.json("push", names[0])["id"])
        up.wait_ended(up.ledger.pushes.get(number), within_s=_FIRST_S)
        first_s = time.monotonic() - began
        chosen = random.Random(379).sample(names, PUSHES)
        began = time.monotonic()
        for name in chosen:
            work.change(name)
        up.wait(lambda: len(_pushes(up)) == PUSHES + 1, "all were seen", within_s=_ALL_S)
        up.wait_ended(*_pushes(up), within_s=_ALL_S)
        took_s = time.monotonic() - began
        _check(up, work, chosen)
    yield Row(
        name=f"{len(names)} components, {PUSHES} pushes in a burst",
        ours=took_s,
        reach="all in order, none lost; report runs an hour",
        reached=True,
        note=f"{PUSHES * 3600 / took_s:.0f} runs an hour; the first run, which builds all:"
        f" {first_s:.0f} s",
    )


def _names() -> list[str]:
    components = json.loads(MANIFEST.read_text())["components"]
    found = [one.get("name") or one["src"].rpartition("/")[2] for one in components]
    # Two have one name in two places; a component of ours has it once.
    return list(dict.fromkeys(name.rpartition(":")[2].removesuffix(".git") for name in found))


def _pushes(up: Up) -> list[Push]:
    return up.ledger.pushes.newest(10 * PUSHES)


def _check(up: Up, work: Series, chosen: list[str]) -> None:
    pushes = _pushes(up)
    assert {push.state for push in pushes} == {PushState.DONE}
    assert sorted(push.component for push in pushes[1:]) == sorted(chosen)
    work.check_line(pushes)
