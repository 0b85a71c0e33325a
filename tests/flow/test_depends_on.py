# SPDX-License-Identifier: LGPL-2.1-or-later
"""A push that depends on another is run with it, whichever came first; what is missing is told."""

from pathlib import Path

import pytest

from pipeline.cli.push_line import resolve_push
from pipeline.words.errors import Interrupted, Trouble
from pipeline.words.push import NewPush, Push, PushState
from tests.repos import wait_until
from tests.town import Town
from tests.work import started


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Three repositories, and a first run of them."""
    made = Town.make(tmp_path, "zlib", "png", "hello")
    made.ostci("resolve")
    return made


def commit(town: Town, component: str, message: str) -> NewPush:
    """Commit with a message; the push of it is recorded nowhere yet."""
    repo = town.repos[component]
    before = repo.git("rev-parse", "HEAD")
    after = repo.commit(message, file_txt=f"{message}\n")
    return NewPush(
        component=component, url=str(repo.path), branch="main", before=before, after=after
    )


def record(town: Town, new: NewPush) -> Push:
    """Record a push."""
    house = town.house()
    made = house.ledger.pushes.add(new)
    house.ledger.close()
    return made


def resolve(town: Town, push: Push, depends_s: float = 0.0) -> dict[str, str]:
    """Resolve a push; tells the pins of its run."""
    house = town.house()
    try:
        taken = resolve_push(house, push.id, depends_s=depends_s)
    finally:
        house.ledger.close()
    assert taken.error is None, taken.error
    return town.pins(taken.run.version)


def test_what_was_pushed_before_is_in_it_already(town: Town) -> None:
    zlib = record(town, commit(town, "zlib", "first"))
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: zlib@{zlib.after[:12]}"))
    pins = resolve(town, png)
    assert (pins["zlib"], pins["png"]) == (zlib.after, png.after)
    assert [push.state for push in town.pushes()] == [PushState.WAITING] * 2


def test_what_the_line_has_from_the_start_is_not_waited_for(town: Town) -> None:
    old = town.repos["zlib"].git("rev-parse", "HEAD")
    url = town.repos["zlib"].path
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: {url}@{old[:10]}"))
    assert resolve(town, png)["png"] == png.after


def test_what_comes_later_is_the_run_of_both(town: Town) -> None:
    later = commit(town, "zlib", "later")
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: zlib@{later.after}"))
    other = record(town, commit(town, "hello", "nothing to do with it"))
    pins = resolve(town, other)
    assert pins["hello"] == other.after
    assert pins["png"] == png.before, "others do not wait"
    zlib = record(town, later)
    pins = resolve(town, zlib)
    assert (pins["zlib"], pins["png"]) == (zlib.after, png.after)
    states = [(push.state, push.superseded_by) for push in town.pushes()]
    assert states[0] == (PushState.SUPERSEDED, zlib.id)
    with pytest.raises(Interrupted, match=f"it depends on push {zlib.id}, whose run has both"):
        resolve(town, png)


def test_what_nobody_pushes_is_trouble_with_its_name(town: Town) -> None:
    png = record(town, commit(town, "png", "needs it\n\nDepends-On: zlib@1234567"))
    with pytest.raises(Trouble, match=f"push {png.id} depends on zlib@1234567, which is not there"):
        resolve(town, png)
    nothing = record(town, commit(town, "hello", "needs it\n\nDepends-On: nothing"))
    with pytest.raises(Trouble, match="depends on nothing, which is not there after 0 s"):
        resolve(town, nothing)
    assert [push.run for push in town.pushes()] == [None, None]


def test_two_that_depend_on_each_other_are_one_run(town: Town) -> None:
    repo = town.repos["zlib"]
    later = commit(town, "zlib", "later\n\nDepends-On: png")
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: {repo.path}@{later.after}"))
    zlib = record(town, later)
    with pytest.raises(Interrupted):
        resolve(town, png)
    pins = resolve(town, zlib)
    assert (pins["zlib"], pins["png"]) == (zlib.after, png.after)
    assert len(town.house().workdir.versions()) == 2


def test_one_that_waits_sees_that_it_came(town: Town) -> None:
    later = commit(town, "zlib", "later")
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: zlib@{later.after}"))
    said = town.root / "said.txt"
    argv = town.argv("resolve", "--push", str(png.id))
    with said.open("wb") as file, started([argv], stderr=file) as (child,):
        wait_until(lambda: "waits for zlib@" in said.read_text(), within_s=120)
        zlib = record(town, later)
        assert child.wait(120) == 130, said.read_text()
    assert f"superseded by push {zlib.id}" in said.read_text()
    pins = resolve(town, zlib)
    assert (pins["zlib"], pins["png"]) == (zlib.after, png.after)


def test_a_push_tried_again_moves_nothing_back(town: Town) -> None:
    first = record(town, commit(town, "zlib", "first"))
    path = town.repos["zlib"].path
    path.rename(town.root / "away")
    house = town.house()
    assert isinstance(resolve_push(house, first.id).error, Trouble)
    house.ledger.close()
    (town.root / "away").rename(path)
    second = record(town, commit(town, "zlib", "second"))
    assert resolve(town, second)["zlib"] == second.after
    assert resolve(town, first)["zlib"] == second.after
