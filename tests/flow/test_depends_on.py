# SPDX-License-Identifier: LGPL-2.1-or-later
"""A push that depends on another is run with it, whichever came first; what is missing is told."""

import contextlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.push_line import attempting, resolve_push
from pipeline.cli.record import read_record
from pipeline.ports.files import lock
from pipeline.words.errors import Interrupted, Trouble
from pipeline.words.push import NewPush, Push, PushState
from pipeline.words.run import RunEnding
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


@pytest.mark.parametrize("named", ["zlib@1234567", "nothing"])
def test_what_nobody_pushes_is_the_trouble_of_a_run_that_says_so(town: Town, named: str) -> None:
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: {named}"))
    house = town.house()
    taken = resolve_push(house, png.id, depends_s=0.0)
    house.ledger.close()
    told = f"png: Depends-On: {named} is not there, 0 s after the push"
    assert isinstance(taken.error, Trouble) and str(taken.error) == told
    assert f"run --push {png.id}" in taken.error.hint
    assert [push.run for push in town.pushes()] == [taken.run.version]
    # What gives a run and its push their ending where stages are given one by one.
    town.ostci("end", taken.run.version)
    kept = read_record(taken.run)
    assert (kept.ending, kept.message) == (RunEnding.TROUBLE, told)
    other = record(town, commit(town, "hello", "nothing to do with it"))
    assert resolve(town, other)["png"] == png.before, "it is in no line"


def test_what_was_lacking_is_in_the_run_when_it_is_tried_again(town: Town) -> None:
    later = commit(town, "zlib", "later")
    png = record(town, commit(town, "png", f"needs it\n\nDepends-On: zlib@{later.after}"))
    house = town.house()
    assert isinstance(resolve_push(house, png.id, depends_s=0.0).error, Trouble)
    house.ledger.close()
    assert resolve(town, record(town, later))["png"] == png.before
    pins = resolve(town, png)
    assert (pins["zlib"], pins["png"]) == (later.after, png.after)


def test_a_push_that_lacks_something_says_so_among_the_pushes(town: Town) -> None:
    png = record(town, commit(town, "png", "needs it\n\nDepends-On: nothing"))
    house = town.house()
    with pytest.raises(Trouble), attempting(house, png.id):
        taken = resolve_push(house, png.id, depends_s=0.0)
        assert taken.error is not None
        raise taken.error
    house.ledger.close()
    assert "png: Depends-On: nothing is not there" in town.ostci("pushes")


def test_one_that_depends_on_two_gives_way_to_the_last_of_them(town: Town) -> None:
    zlib, hello = commit(town, "zlib", "later"), commit(town, "hello", "later")
    message = f"needs both\n\nDepends-On: zlib@{zlib.after}\nDepends-On: hello@{hello.after}"
    png = record(town, commit(town, "png", message))
    record(town, zlib)
    last = record(town, hello)
    with pytest.raises(Interrupted, match=f"it depends on push {last.id}"):
        resolve(town, png, depends_s=60.0)
    pins = resolve(town, last)
    assert pins == {"zlib": zlib.after, "hello": hello.after, "png": png.after}


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
        wait_until(lambda: "wait for zlib@" in said.read_text(), within_s=120)
        zlib = record(town, later)
        assert child.wait(120) == 130, said.read_text()
    assert f"superseded by push {zlib.id}" in said.read_text()
    pins = resolve(town, zlib)
    assert (pins["zlib"], pins["png"]) == (zlib.after, png.after)


def test_who_waits_for_the_line_says_for_whom(town: Town) -> None:
    png = record(town, commit(town, "png", "change"))
    argv = town.argv("resolve", "--push", str(png.id))
    with contextlib.ExitStack() as held:
        held.enter_context(lock(town.house().workdir.lock("line"), what="a slow one"))
        with subprocess.Popen(argv, stderr=subprocess.PIPE) as child:
            assert child.stderr is not None
            wait_until(lambda: b"(a slow one, since" in child.stderr.readline(), within_s=120)  # type: ignore[union-attr]
            held.close()
            said = child.stderr.read().decode()
    assert child.returncode == 0, said
    assert town.pins(str(town.pushes()[0].run))["png"] == png.after


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


def test_a_push_tried_again_moves_nothing_back_that_shares_its_branch(town: Town) -> None:
    text = (town.root / "os.yaml").read_text()
    also = "  - {src: 'git:./git/zlib', name: zlib-doc, branch: main}\ntargets:"
    (town.root / "os.yaml").write_text(text.replace("targets:", also))
    town.ostci("resolve")
    first = record(town, commit(town, "zlib", "first"))
    path = town.repos["zlib"].path
    path.rename(town.root / "away")
    house = town.house()
    assert isinstance(resolve_push(house, first.id).error, Trouble)
    house.ledger.close()
    (town.root / "away").rename(path)
    second = record(town, replace(commit(town, "zlib", "second"), component="zlib-doc"))
    assert resolve(town, second)["zlib"] == second.after
    pins = resolve(town, first)
    assert (pins["zlib"], pins["zlib-doc"]) == (second.after, second.after)
