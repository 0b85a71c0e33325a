# SPDX-License-Identifier: LGPL-2.1-or-later
"""The original's 379 components on generated repositories, under a real master: pushes in a burst.

Builds are trivial and nothing boots, so what is measured is everything round them. Each push must
have a run of its own and a commit of its own on ``compose``, in push order. Three worker processes
build, one slot each: the master's own and two with homes of their own, as on other machines. It
takes long: how far it came is in ``build/series.txt``, a line a minute. A smaller one::

    python -m tests.bench.bench_series --components 20 --pushes 5 --processes 3
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from pipeline.words.push import Push, PushState
from tests.bench.frame import Row
from tests.cheap import CheapByCommit
from tests.masters import Up
from tests.remote import RemoteProcess, prepare_secrets, remote_settings

MANIFEST = Path(__file__).parents[1] / "data" / "gnome-continuous-manifest.json"
PUSHES = 50
PROCESSES = 3
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


def bench(
    scratch: Path, *, components: int = 1000, pushes: int = PUSHES, processes: int = PROCESSES
) -> Iterator[Row]:
    """Measure how long a burst takes from the first git push to the last run's end."""
    names = _names()[:components]
    work = Series(scratch, **dict.fromkeys(names, 0.0))
    others = [f"worker{number}" for number in range(2, processes + 1)]
    remote = remote_settings(**{name: {"pool": "push", "slots": 1} for name in others})
    # None of what they built is built again: that is measured elsewhere.
    settings: dict[str, Any] = {
        "poll": 20,
        "reconcile": 20,
        "slots": 1,
        "runs": 4,
        "worker-user": "none",
    }
    up = Up(scratch, work=work, **settings, remote={**remote, "sample": 0})
    prepare_secrets(up, *others, tls=False)
    with up, ExitStack() as stack:
        for name in others:
            stack.enter_context(RemoteProcess(up, name, remote)).wait_connected()
        heads = up.ledger.pushes.heads
        _wait(up, lambda: len(heads()) >= len(names), f"{len(names)} repositories were seen")
        began = time.monotonic()
        number = int(work.json("push", names[0])["id"])
        _wait(up, lambda: not up.ledger.pushes.get(number).is_open, "all is built")
        first_s = time.monotonic() - began
        chosen = random.Random(379).sample(names, pushes)
        began = time.monotonic()
        for name in chosen:
            work.change(name)
        _wait(up, lambda: len(_pushes(up)) > pushes, f"{pushes} pushes were seen")
        _wait(up, lambda: not up.ledger.pushes.open(), "all have their ending")
        took_s = time.monotonic() - began
        _check(up, work, chosen)
        shares = _shares(up)
        _note(up, f"{first_s:.0f} s for the first run, {took_s:.0f} s for {pushes} pushes")
    yield Row(
        name=f"{len(names)} components, {pushes} pushes in a burst, {processes} worker processes",
        ours=took_s,
        reach="all in order, none lost; report runs an hour",
        reached=True,
        note=f"{pushes * 3600 / took_s:.0f} runs an hour; the first run, which builds all:"
        f" {first_s:.0f} s; built by {shares}",
    )


def _shares(up: Up) -> str:
    """Tell how much each process built."""
    asked = "builds?property=workername&property=virtual_builder_name"
    told = [build["properties"] for build in up.get(asked)["builds"]]
    made = Counter(
        str(props["workername"][0])
        for props in told
        if str(props.get("virtual_builder_name", [""])[0]).startswith("component/")
    )
    return ", ".join(f"{name}: {count}" for name, count in sorted(made.items()))


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


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--components", type=int, default=1000)
    parser.add_argument("--pushes", type=int, default=PUSHES)
    parser.add_argument("--processes", type=int, default=PROCESSES)
    options = parser.parse_args()
    _NOTES.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="series-", dir=_NOTES.parent) as scratch:
        for row in bench(Path(scratch), **vars(options)):
            print(f"{row.name}: {row.ours:.1f} s; {row.note}")


if __name__ == "__main__":
    _main()
