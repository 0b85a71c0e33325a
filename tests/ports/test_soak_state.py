# SPDX-License-Identifier: LGPL-2.1-or-later
"""What campaigns have done is kept, also where several run at once."""

from pathlib import Path

from tests.soak.state import State


def test_campaigns_that_run_at_once_lose_none_of_each_others_steps(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    boots, pairs = State(path), State(path)
    boots.add("boots", 1)
    pairs.add("pairs", 1)
    boots.add("boots", 2)
    assert State(path).done == {"boots": [1, 2], "pairs": [1]}


def test_forgetting_a_campaign_leaves_the_others(tmp_path: Path) -> None:
    path = tmp_path / "soak.json"
    boots, pairs = State(path), State(path)
    pairs.add("pairs", 1)
    boots.add("boots", 1)
    pairs.forget("pairs")
    assert State(path).done == {"boots": [1]}
