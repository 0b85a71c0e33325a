# SPDX-License-Identifier: LGPL-2.1-or-later
"""How a run ends whose stages were given one by one, and when the next one may compose."""

import pytest

from pipeline.words.run import RunEnding, StageRecord, ending_of_stages, gives_up_its_place


def stages(**endings: str) -> dict[str, StageRecord]:
    """Make the records of stages."""
    return {
        name: StageRecord(ending=RunEnding(ending), seconds=1.0, message=f"{name}: {ending}")
        for name, ending in endings.items()
    }


def test_a_run_passed_when_all_its_stages_did_and_it_was_promoted() -> None:
    made = stages(build="passed", compose="passed", promote="passed")
    assert ending_of_stages(made) == (RunEnding.PASSED, "")


def test_a_run_that_was_never_promoted_was_interrupted() -> None:
    found = ending_of_stages(stages(resolve="passed", build="passed"))
    assert found == (RunEnding.INTERRUPTED, "it was ended after resolve, build")


def test_our_trouble_decides_over_failed_code_and_every_such_stage_is_named() -> None:
    made = stages(test="failed", disk="trouble", promote="trouble")
    assert ending_of_stages(made) == (
        RunEnding.TROUBLE,
        "disk: trouble; promote: trouble",
    )


def test_what_failed_is_told_and_not_that_it_was_held_for_that() -> None:
    made = stages(build="passed", test="failed", promote="failed")
    assert ending_of_stages(made) == (RunEnding.FAILED, "test: failed")
    assert ending_of_stages(stages(promote="failed")) == (RunEnding.FAILED, "promote: failed")


@pytest.mark.parametrize("ending", ["running", "open"])
def test_a_run_that_goes_on_keeps_its_place(ending: str) -> None:
    assert not gives_up_its_place(RunEnding(ending), of_push=False)


@pytest.mark.parametrize("ending", ["trouble", "interrupted", "bug"])
def test_what_is_started_again_keeps_its_place_where_it_is_of_a_push(ending: str) -> None:
    assert gives_up_its_place(RunEnding(ending), of_push=False)
    assert not gives_up_its_place(RunEnding(ending), of_push=True)


@pytest.mark.parametrize("ending", ["passed", "unchanged", "failed", "bad-input"])
def test_what_is_decided_gives_up_its_place(ending: str) -> None:
    assert gives_up_its_place(RunEnding(ending), of_push=True)
