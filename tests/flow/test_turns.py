# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose turn to compose it is after a run was stopped in the middle of that."""

from pathlib import Path

import pytest

from pipeline.cli.passage import Passage
from pipeline.cli.turns import turn
from pipeline.words.errors import Failed, Trouble
from pipeline.words.push import NewPush, PushState
from tests.cheap import OSNAME, Cheap


@pytest.mark.parametrize(
    ("error", "is_kept"),
    [(KeyboardInterrupt(), True), (Trouble("disk full"), True), (Failed("a conflict"), False)],
)
def test_a_push_that_is_started_again_keeps_its_turn(
    tmp_path: Path, error: BaseException, is_kept: bool
) -> None:
    house = Cheap(tmp_path, one=0).house()
    push = house.ledger.pushes.add(
        NewPush(component="one", url="u", branch="master", before="", after="a" * 40)
    )
    passage = Passage(house, house.workdir.new_run())
    version = passage.run.version
    house.ledger.pushes.assign_run(push.id, version)
    with pytest.raises(type(error)), turn(passage, wait_s=1.0):
        raise error
    assert house.ledger.tickets.first_in_line(OSNAME) == (version if is_kept else None)
    house.ledger.pushes.end(push.id, PushState.DONE)
    with pytest.raises(type(error)), turn(passage, wait_s=1.0):
        raise error
    assert house.ledger.tickets.first_in_line(OSNAME) is None
    house.ledger.close()


def test_a_run_that_goes_on_keeps_its_trees_though_a_later_one_has_composed(tmp_path: Path) -> None:
    cheap = Cheap(tmp_path, one=0)
    versions = []
    for _ in range(2):
        cheap.change("one")
        push = cheap.json("push", "one")
        versions.append(cheap.json("resolve", "--push", str(push["id"]))["run"])
        cheap.ostci("build", "--run", versions[-1])
        cheap.ostci("compose", "--run", versions[-1])
    first = cheap.json("compose", "--run", versions[0])
    assert [tree["version"] for tree in first["trees"]] == versions[:1]
    assert cheap.line() == versions
    assert "composed before: x86_64-runtime" in cheap.log_of(versions[0])


def test_who_has_waited_long_enough_is_told_how_to_look_at_the_run_before_and_how_to_end_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "my work").mkdir()
    cheap = Cheap(tmp_path / "my work", one=0)
    house = cheap.house()
    push = house.ledger.pushes.add(
        NewPush(component="one", url="u", branch="master", before="", after="a" * 40)
    )
    before, later = (Passage(house, house.workdir.new_run()) for _ in range(2))
    house.ledger.pushes.assign_run(push.id, before.run.version)
    with pytest.raises(Trouble) as told, turn(later, wait_s=0.0):
        pass
    version = before.run.version
    ostci = f"ostci -C '{cheap.root}'"
    assert told.value.hint == (
        f"{ostci} log {version} tells how far it is; {ostci} cancel {version} ends it"
    )
    house.ledger.close()
