# SPDX-License-Identifier: LGPL-2.1-or-later
"""A promotion that is killed at any instant is finished or undone, and the one rule holds."""

import os
import random
import sys
import time
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.ledger import PromotionState
from pipeline.stages.promoting import summary
from pipeline.words.refs import buildmaster_ref
from tests.shipping import ARCH, OSNAME, Shop, manifest

TREES = (f"{ARCH}-runtime", f"{ARCH}-devel")


@pytest.mark.slow
def test_kill_at_any_instant_leaves_what_the_next_start_puts_right(tmp_path: Path) -> None:
    campaign(tmp_path / "work", kills=15, seed=1)


@pytest.mark.soak
def test_a_hundred_kills(tmp_path: Path) -> None:
    campaign(tmp_path / "work", kills=100, seed=time.time_ns())


def campaign(root: Path, *, kills: int, seed: int) -> None:
    """Kill so many promotions, each of a run of its own, and look at what is left."""
    chance = random.Random(seed)
    shop = Shop(root, manifest())
    shop.ship("20261124.0", "zero")
    longest = ship_and_kill(shop, "20261124.1", after_s=600.0)
    finished = 0
    for number in range(2, kills + 2):
        run = f"20261124.{number}"
        ship_and_kill(shop, run, after_s=chance.uniform(0.0, longest))
        came = check_after_kill(shop, run, f"seed {seed}, kill {number}")
        finished += came
        if not came:
            # The machine may be slower by now: later kills come later.
            longest *= 1.15
    assert finished > 0, "no kill came after the decision"


def ship_and_kill(shop: Shop, run: str, *, after_s: float) -> float:
    """Start a promotion and kill it; tells how long it took where it was not."""
    argv = [sys.executable, "-m", "tests.ship_once", str(shop.root), run, run]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    with process.start(argv, log=shop.log, env=environment, stderr=None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"begins\n"
        began = time.monotonic()
        child.wait(after_s)
        child.kill()
    return time.monotonic() - began


def check_after_kill(shop: Shop, run: str, where: str) -> int:
    """Look before mending and after; tells whether this run's promotion came through."""
    assert shop.violations() == [], where
    shop.mend()
    assert shop.violations() == [], where
    shop.repo.fsck()
    shop.archive.fsck()
    assert shop.ledger.promotions(states=(PromotionState.BEGUN,)) == [], where
    served = summary.served_refs(shop.archive)
    versions = set()
    for tree in TREES:
        ref = buildmaster_ref(OSNAME, tree)
        at = shop.archive.need(ref)
        assert shop.repo.resolve(ref) == at == served[ref], where
        versions.add(shop.repo.info(at).metadata["version"])
    assert len(versions) == 1, f"{where}: the trees are of {versions}"
    return int(versions == {run})


def test_nothing_is_left_running_after_a_kill(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest())
    shop.ship("20261124.0", "zero")
    ship_and_kill(shop, "20261124.1", after_s=0.1)
    until = time.monotonic() + 60
    while (left := _with_argument(str(shop.root))) and time.monotonic() < until:
        time.sleep(0.02)  # the kernel kills them, but not within the call
    assert left == []


def _with_argument(text: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if text in words and int(path.parent.name) != os.getpid():
            found.append(words)
    return found
