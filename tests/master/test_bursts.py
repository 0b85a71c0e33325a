# SPDX-License-Identifier: LGPL-2.1-or-later
"""A burst of pushes is a run, a snapshot and a commit each, in order, however they are seen."""

import random
from pathlib import Path

import pytest

from tests.bursts import Burst, hooked, polling

pytestmark = pytest.mark.slow
MANY = pytest.param(100, marks=pytest.mark.full)


@pytest.mark.parametrize("count", [20, MANY])
def test_each_push_that_a_hook_names_is_a_run_though_one_look_finds_all(
    tmp_path: Path, count: int
) -> None:
    with hooked(tmp_path) as up:
        burst = Burst(up)
        made = burst.push(count, random.Random(count))
        for push in made:
            burst.send(push)
        burst.send(made[-1])
        burst.check(made, ordered=True)


@pytest.mark.parametrize("count", [20, MANY])
def test_each_commit_is_a_run_though_nobody_tells_of_it(tmp_path: Path, count: int) -> None:
    with polling(tmp_path) as up:
        burst = Burst(up)
        burst.check(burst.push(count, random.Random(count)), ordered=False)
