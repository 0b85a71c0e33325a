# SPDX-License-Identifier: LGPL-2.1-or-later
"""kill -9 at any instant of the whole chain: the next start repairs, and no ref is lost."""

import random
from pathlib import Path

import pytest

from tests.killing import Killing

pytestmark = [pytest.mark.vm, pytest.mark.slow]

INSTANTS = 10


def test_a_chain_killed_at_ten_random_instants_is_whole_again_each_time(tmp_path: Path) -> None:
    killing = Killing(tmp_path)
    killing.push()
    chance = random.Random(20261125)
    # One in each tenth of a run, so that every stage is hit; where in it is chance.
    hits = [killing.kill_once((at + chance.random()) / INSTANTS) for at in range(INSTANTS)]
    assert sum(hit.was_running for hit in hits) >= INSTANTS / 2, hits
    killing.finish()
