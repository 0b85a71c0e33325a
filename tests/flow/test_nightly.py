# SPDX-License-Identifier: LGPL-2.1-or-later
"""The run of the night: the newest snapshot once more, though nothing has changed."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.passage import Passage
from pipeline.cli.testing import suites_of
from pipeline.words.manifest import Need
from tests.cheap import NO_KERNEL, Cheap

pytestmark = pytest.mark.slow


def test_the_night_goes_the_whole_way_of_what_is_there(tmp_path: Path) -> None:
    work = Cheap(tmp_path, one=0.0)
    work.ostci("push", "one")
    work.ostci("run", "--push", "1", code=NO_KERNEL)
    night = work.json("push", "nightly")
    assert (night["component"], night["via"], night["branch"]) == ("nightly", "nightly", "")
    said = work.ostci("run", "--push", "2", code=NO_KERNEL)
    assert "nothing has changed" not in said.err and "kernel" in said.err
    first, second = sorted(work.house().workdir.versions())
    assert work.record(first)["snapshot"] == work.record(second)["snapshot"]
    assert "compose" in str(work.record(second)["stages"])
    house = work.house()
    passages = [Passage(house, house.workdir.run(one)) for one in (first, second)]
    assert [one.is_nightly for one in passages] == [False, True]
    target = replace(passages[0].manifest.target("runtime"), gate={"memory": Need.NIGHTLY})
    assert [suites_of(one, target) for one in passages] == [(), ("memory",)]
    house.ledger.close()
    assert work.ostci("pushes").out.count("by nightly") == 1
