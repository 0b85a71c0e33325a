# SPDX-License-Identifier: LGPL-2.1-or-later
"""A burst of pushes is a run, a snapshot and a commit each, in order, however they are seen."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bursts import Burst, hooked, polling, pretended, pretended_polling
from tests.masters import Up

pytestmark = pytest.mark.slow
FULL = pytest.mark.full


@pytest.mark.parametrize(
    ("prepare", "count"),
    [
        (pretended, 20),
        pytest.param(hooked, 20, marks=FULL),
        pytest.param(hooked, 100, marks=FULL),
    ],
)
def test_each_push_that_a_hook_names_is_a_run_though_one_look_finds_all(
    tmp_path: Path, prepare: Callable[[Path], Up], count: int
) -> None:
    with prepare(tmp_path) as up:
        burst = Burst(up)
        made = burst.push(count, random.Random(count))
        for push in made:
            burst.send(push)
        burst.send(made[-1])
        burst.check(made, ordered=True)


@pytest.mark.parametrize(
    ("prepare", "count"), [(pretended, 12), pytest.param(hooked, 40, marks=FULL)]
)
def test_a_master_that_is_killed_in_a_burst_takes_none_of_it_for_another(
    tmp_path: Path, prepare: Callable[..., Up], count: int
) -> None:
    with prepare(tmp_path, reconcile=2) as up:
        burst = Burst(up)
        chance = random.Random(count)
        made = burst.push(count * 3 // 4, chance)
        # Some are recorded; of the others it is told while nothing can be.
        burst.send(made[0])
        up.wait(lambda: len(burst.pushes()) == 1, "the first is seen")
        with burst.ledger_held():
            for push in made[1:]:
                burst.send(push)
            up.kill("master")
        seen = len(burst.pushes())
        assert seen < len(made)
        # It is started again by its supervisor; what was answered is known to it.
        up.wait(lambda: len(burst.pushes()) == len(made), "the rest is seen")
        up.wait(up.is_up, "the master is up")
        later = burst.push(count - len(made), chance)
        for push in later:
            burst.send(push)
        # Sent again, as a forge does that got no answer.
        for push in made[-5:]:
            burst.send(push)
        burst.check([*made, *later], ordered=True, attempts=2)


@pytest.mark.parametrize(
    ("prepare", "count"),
    [
        (pretended_polling, 20),
        pytest.param(polling, 20, marks=FULL),
        pytest.param(polling, 100, marks=FULL),
    ],
)
def test_each_commit_is_a_run_though_nobody_tells_of_it(
    tmp_path: Path, prepare: Callable[[Path], Up], count: int
) -> None:
    with prepare(tmp_path) as up:
        burst = Burst(up)
        burst.check(burst.push(count, random.Random(count)), ordered=False)
