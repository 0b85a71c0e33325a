# SPDX-License-Identifier: LGPL-2.1-or-later
"""The original's 379 components on generated repositories, under a real master: pushes in a burst.

Builds are trivial and nothing boots, so what is measured is everything round them. Each push must
have a run of its own and a commit of its own on ``compose``, in push order. It takes long: how far
it came is in ``build/series.txt``, a line a minute.
"""

import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pipeline.words.push import Push, PushState
from tests.bench.frame import Row
from tests.cheap import CheapByCommit
from tests.masters import Up

MANIFEST = Path(__file__).parents[1] / "data" / "gnome-continuous-manifest.json"
PUSHES = 50
SLOTS = 3
_LONG_S = 3 * 3600.0
_EVERY_S = 60.0
_NOTES = Path(__file__).parents[2] / "build" / "series.txt"


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
    with Up(scratch, work=work, poll=20, reconcile=20, slots=SLOTS, runs=4) as up:
        heads = up.ledger.pushes.heads
        _wait(up, lambda: len(heads()) >= len(names), f"{len(names)} repositories were seen")
        began = time.monotonic()
        number = int(work.json("push", names[0])["id"])
        _wait(up, lambda: not up.ledger.pushes.get(number).is_open, "all is built")
        first_s = time.monotonic() - began
        chosen = random.Random(379).sample(names, PUSHES)
        began = time.monotonic()
        for name in chosen:
            work.change(name)
        _wait(up, lambda: len(_pushes(up)) > PUSHES, f"{PUSHES} pushes were seen")
        _wait(up, lambda: not up.ledger.pushes.open(), "all have their ending")
        took_s = time.monotonic() - began
        _check(up, work, chosen)
        _note(up, f"{first_s:.0f} s for the first run, {took_s:.0f} s for {PUSHES} pushes")
    yield Row(
        name=f"{len(names)} components, {PUSHES} pushes in a burst",
        ours=took_s,
        reach="all in order, none lost; report runs an hour",
        reached=True,
        note=f"{PUSHES * 3600 / took_s:.0f} runs an hour; the first run, which builds all:"
        f" {first_s:.0f} s",
    )


def _wait(up: Up, fact: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + _LONG_S
    while not fact():
        assert time.monotonic() < until, what
        soon = time.monotonic() + _EVERY_S
        while not fact() and time.monotonic() < soon:
            time.sleep(0.2)
        _note(up, f"until {what}")
    _note(up, what)


def _note(up: Up, what: str) -> None:
    built = len(list(up.work.house().workdir.runs.glob("*/*/*/*/built/*.json")))
    states = Counter(str(push.state) for push in _pushes(up))
    told = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    when = f"{time.strftime('%H:%M:%S')} load {os.getloadavg()[0]:.1f}"
    _NOTES.parent.mkdir(exist_ok=True)
    with _NOTES.open("a") as file:
        file.write(f"{when}: {built} built; {told}; {what}\n")


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
