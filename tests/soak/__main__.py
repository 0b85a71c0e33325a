# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m tests.soak``: long campaigns. Ctrl-C stops; the same command goes on from there.

What was done is in ``build/soak.json``, one entry an instant or boot; ``--anew`` forgets it.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.ports.files import remove_tree, write_text
from pipeline.ports.log import Log
from pipeline.words.errors import Interrupted
from tests.killing import Killing
from tests.killing_master import VICTIMS, MasterKilling
from tests.soak.pairs import PAIRS, forget, pairs_from

TOP = Path(__file__).resolve().parents[2]
KILLS = 100
MASTER_KILLS = 150
"""Fifty each of master, worker and supervisor."""
_STOPPED = "stopped; the same command goes on from here"


class State:
    """What was done so far, written after each step."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.done: dict[str, list[Any]] = json.loads(path.read_text()) if path.is_file() else {}

    def add(self, campaign: str, entry: Any) -> None:
        """Note one step."""
        self.done.setdefault(campaign, []).append(entry)
        write_text(self._path, json.dumps(self.done, indent=2) + "\n")

    def count(self, campaign: str) -> int:
        """Tell how many steps of a campaign are done."""
        return len(self.done.get(campaign, []))


def kill(state: State, count: int) -> Generator[str, None, None]:
    """Kill the whole chain at random instants; every tenth time a run goes the whole way."""
    if state.count("kill") >= count:
        return
    root = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    try:
        killing = Killing(root)
        killing.push()
        while (number := state.count("kill")) < count:
            chance = random.Random(number)
            hit = killing.kill_once(chance.random() * killing.whole_s)
            state.add("kill", asdict(hit))
            where = hit.stage or "the start"
            yield f"kill {number + 1} of {count}: after {hit.after_s:.1f} s, behind {where}"
            if number % 10 == 9:
                killing.finish()
                yield "a run went the whole way"
    finally:
        remove_tree(root)


def kill_master(state: State, count: int) -> Generator[str, None, None]:
    """Kill master, worker and supervisor in turn while pushes are on their way."""
    if state.count("kill-master") >= count:
        return
    root = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    try:
        with MasterKilling(root) as killing:
            while (number := state.count("kill-master")) < count:
                victim = VICTIMS[number % len(VICTIMS)]
                hit = killing.kill_once(victim, random.Random(number))
                state.add("kill-master", asdict(hit))
                told = f"{victim} after {hit.after_s:.1f} s, up again in {hit.up_s:.1f} s"
                yield f"kill {number + 1} of {count}: {told}"
        killing.work.check_whole()
    finally:
        remove_tree(root)


def pair(state: State, count: int) -> Generator[str, None, None]:
    """Run tests in forks and after boots; each has to come to the same."""
    if state.count("pairs") >= count:
        return
    root = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    try:
        while (number := state.count("pairs")) < count:
            found = pairs_from(number, root, log=Log())
            for one in found:
                assert one.fork == one.cold, one
                state.add("pairs", asdict(one))
            yield f"pair {number + len(found)} of {count}: the same in forks and after boots"
    finally:
        forget(root)
        remove_tree(root)


def main() -> int:
    """Go on with every campaign until its end or the given time."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description=__doc__, epilog="example: make soak"
    )
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--master-kills", type=int, default=MASTER_KILLS)
    parser.add_argument("--pairs", type=int, default=PAIRS, choices=range(PAIRS + 1), metavar="N")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long (no limit)")
    parser.add_argument("--anew", action="store_true", help="forget what was done")
    options = parser.parse_args()
    path = TOP / "build" / "soak.json"
    if options.anew:
        path.unlink(missing_ok=True)
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    state = State(path)
    try:
        for campaign in (
            kill(state, options.kills),
            kill_master(state, options.master_kills),
            pair(state, options.pairs),
        ):
            with closing(campaign) as lines:
                for line in lines:
                    sys.stdout.write(f"{line}\n")
                    sys.stdout.flush()
                    if time.monotonic() >= until:
                        sys.stdout.write(f"{_STOPPED}\n")
                        return 0
    except KeyboardInterrupt:
        sys.stdout.write(f"{_STOPPED}\n")
        return Interrupted.exit_code
    kills = f"{state.count('kill')} kills of the chain"
    master = f"{state.count('kill-master')} of master, worker and supervisor"
    sys.stdout.write(f"{kills}, {master}: all whole afterwards\n")
    sys.stdout.write(f"{state.count('pairs')} tests the same in forks and after boots\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
