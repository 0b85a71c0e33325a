# SPDX-License-Identifier: LGPL-2.1-or-later
"""Kill the chain, a master, its worker and its supervisor at random instants."""

import random
import tempfile
from collections.abc import Generator
from dataclasses import asdict
from pathlib import Path

from pipeline.ports.files import remove_tree
from tests.killing import Killing
from tests.killing_master import VICTIMS, MasterKilling
from tests.soak.state import State


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
            hit = killing.kill_once(chance.random())
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
