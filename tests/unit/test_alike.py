# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reasons of several failures stand once where they are alike."""

from pipeline.words.alike import stages_told, told_once
from pipeline.words.run import RunEnding, StageRecord, ending_of_stages


def test_who_failed_alike_is_told_once() -> None:
    why = {"a": "it does not boot", "b": "it does not boot", "c": "no space"}
    assert told_once(why) == "a, b: it does not boot; c: no space"
    assert told_once({}) == ""


def test_parts_of_a_stage_that_failed_alike_are_told_once() -> None:
    why = "did not pass: {} smoke: it does not boot"
    found = [
        ("test a smoke", why.format("a")),
        ("test b smoke", why.format("b")),
        ("test c smoke", "did not pass: c smoke: no space"),
    ]
    told = "did not pass: a smoke, b smoke: it does not boot; did not pass: c smoke: no space"
    assert stages_told(found) == told


def test_stages_that_say_the_same_or_nothing_say_it_once() -> None:
    assert stages_told([("disk a", "no space"), ("disk b", "no space")]) == "no space"
    assert stages_told([("disk a", ""), ("disk b", "")]) == "disk a; disk b"


def test_a_run_whose_trees_fail_alike_says_so_once() -> None:
    def failed(message: str) -> StageRecord:
        return StageRecord(ending=RunEnding.FAILED, seconds=1.0, message=message)

    stages = {
        "test one smoke": failed("did not pass: one smoke: no login"),
        "test two smoke": failed("did not pass: two smoke: no login"),
        "promote": failed("not promoted: one, two: no login"),
    }
    told = "did not pass: one smoke, two smoke: no login"
    assert ending_of_stages(stages) == (RunEnding.FAILED, told)
