# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each push becomes a run, in push order, whose snapshot has just that moved."""

import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.line import line_snapshot
from pipeline.cli.push_line import attempting, resolve_push
from pipeline.cli.push_verbs import new_push
from pipeline.cli.record import read_record
from pipeline.words.errors import Failed, Interrupted, Trouble
from pipeline.words.push import NewPush, Push, PushState
from pipeline.words.run import RunEnding, place_of
from tests.repos import wait_until
from tests.town import Town
from tests.work import files_below, started


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Three repositories, and a first run of them."""
    made = Town.make(tmp_path, "zlib", "png", "hello")
    made.ostci("resolve")
    return made


def push(town: Town, component: str, subject: str = "change") -> Push:
    """Commit to a component and record the push."""
    before = town.repos[component].git("rev-parse", "HEAD")
    town.repos[component].commit(subject, file_txt=f"{subject}\n")
    house = town.house()
    made = house.ledger.pushes.add(replace(new_push(house, component, ""), before=before))
    house.ledger.close()
    return made


def resolve(town: Town, id: int) -> str:
    """Resolve a push; tells its run."""
    house = town.house()
    taken = resolve_push(house, id)
    house.ledger.close()
    assert taken.error is None, taken.error
    return taken.run.version


def moved(town: Town, old: str, new: str) -> set[str]:
    """Tell the components whose pins differ between two runs."""
    before, after = town.pins(old), town.pins(new)
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def test_two_pushes_are_two_runs_and_the_second_contains_the_first(town: Town) -> None:
    first = push(town, "zlib")
    second = push(town, "png")
    told = town.json("resolve", "--push", str(second.id))
    rows = town.pushes()
    assert told["push"] == second.id and told["run"] == rows[1].run
    one, two = rows[0].run, rows[1].run
    assert one is not None and two is not None, "the push before it has a run, too"
    assert place_of(one) < place_of(two)
    assert town.pins(one)["zlib"] == first.after
    assert moved(town, one, two) == {"png"}
    assert town.pins(two)["png"] == second.after
    assert town.snapshot(two).digest == told["snapshot"]


def test_a_push_is_pinned_to_what_was_pushed_not_to_what_came_later(town: Town) -> None:
    first = push(town, "zlib", "one")
    second = push(town, "zlib", "two")
    assert town.pins(resolve(town, first.id))["zlib"] == first.after
    assert town.pins(resolve(town, second.id))["zlib"] == second.after


def test_a_push_resolved_again_has_the_same_run(town: Town) -> None:
    made = push(town, "zlib")
    version = resolve(town, made.id)
    before = town.house().workdir.run(version).file("snapshot").read_bytes()
    town.repos["zlib"].commit("later")
    assert resolve(town, made.id) == version
    assert town.house().workdir.run(version).file("snapshot").read_bytes() == before


def test_only_the_mirror_of_what_was_pushed_is_asked(town: Town) -> None:
    made = push(town, "zlib")
    town.repos["png"].commit("not seen yet")
    town.sink.lines.clear()
    resolve(town, made.id)
    asked = [text for text in town.sink.texts() if "ls-remote" in text or " fetch " in text]
    assert not [text for text in asked if "/png" in text or "/hello" in text], asked


def test_the_first_run_of_a_line_resolves_everything(tmp_path: Path) -> None:
    town = Town.make(tmp_path, "zlib", "png")
    made = push(town, "zlib")
    later = town.repos["zlib"].commit("later")
    pins = town.pins(resolve(town, made.id))
    assert pins == {"zlib": made.after, "png": town.repos["png"].git("rev-parse", "HEAD")}
    assert pins["zlib"] != later


def test_a_manifest_that_was_pushed_is_in_force_from_its_run_on(town: Town) -> None:
    before = push(town, "zlib")
    town.add("new")
    town.write_manifest("zlib", "png", "hello", "new")
    house = town.house()
    made = house.ledger.pushes.add(new_push(house, "manifest", ""))
    (town.root / "os.yaml").write_text("broken: [\n")
    after = push_by_hand(town, "png")
    last = resolve(town, after.id)
    one, two, three = (row.run for row in town.pushes())
    assert one and two and three == last
    assert "new" not in town.pins(one)
    assert set(town.pins(two)) == {"zlib", "png", "hello", "new"}
    assert moved(town, two, three) == {"png"}
    assert before.id < made.id < after.id


def push_by_hand(town: Town, component: str) -> Push:
    """Record a push without reading the manifest."""
    old = town.pushes()[0]
    revision = town.repos[component].commit("by hand", file_txt="hand\n")
    url = str(town.repos[component].path)
    made = NewPush(component=component, url=url, branch="main", before=old.before, after=revision)
    house = town.house()
    return house.ledger.pushes.add(made)


def test_a_base_that_was_pushed_is_taken_by_its_run_and_no_other(town: Town) -> None:
    first = push(town, "zlib")
    town.change_base()
    house = town.house()
    base = house.ledger.pushes.add(new_push(house, "base", ""))
    second = push(town, "png")
    resolve(town, second.id)
    one, two, three = (town.snapshot(str(row.run)) for row in town.pushes())
    assert one.base.key == base.before
    assert two.base.key == three.base.key == base.after != base.before
    assert two.pins == one.pins
    assert first.id < base.id < second.id


def test_a_manifest_with_another_base_has_it_in_its_run(town: Town) -> None:
    text = (town.root / "os.yaml").read_text()
    town.change_base()
    (town.root / "base.tar").rename(town.root / "other.tar")
    (town.root / "os.yaml").write_text(text.replace("./base.tar", "./other.tar"))
    house = town.house()
    made = house.ledger.pushes.add(new_push(house, "manifest", ""))
    before, after = house.workdir.versions()[-1], resolve(town, made.id)
    assert town.snapshot(after).base.key != town.snapshot(before).base.key
    assert not moved(town, before, after)


def test_what_cannot_be_had_holds_nobody_up_and_comes_behind(town: Town) -> None:
    broken = push(town, "zlib")
    town.repos["zlib"].path.rename(town.root / "away")
    away = town.root / "work" / "mirrors"
    for mirror in away.rglob("zlib*.bare"):
        mirror.rename(mirror.with_suffix(".gone"))
    other = push_by_hand(town, "png")
    version = resolve(town, other.id)
    assert town.pins(version)["zlib"] == broken.before
    failed = town.pushes()[0].run
    assert failed is not None and place_of(failed) < place_of(version)
    (town.root / "away").rename(town.repos["zlib"].path)
    again = resolve(town, broken.id)
    assert place_of(again) > place_of(version)
    assert moved(town, version, again) == {"zlib"}
    assert town.pins(again)["zlib"] == broken.after


def test_a_push_that_could_not_be_had_is_in_the_line_when_it_is_tried_again(town: Town) -> None:
    broken = push(town, "zlib")
    mirrors = town.root / "work" / "mirrors"
    (mirror,) = mirrors.rglob("zlib*.bare")
    mirror.rename(mirror.with_suffix(".gone"))
    town.repos["zlib"].path.rename(town.root / "away")
    house = town.house()
    taken = resolve_push(house, broken.id)
    assert isinstance(taken.error, Trouble)
    assert str(taken.error) == read_record(taken.run).message
    assert line_snapshot(taken.run).pins["zlib"].revision == broken.before
    house.ledger.close()
    (town.root / "away").rename(town.repos["zlib"].path)
    assert resolve(town, broken.id) == taken.run.version, "nobody came between: the same run"
    other = push(town, "png")
    assert town.pins(resolve(town, other.id)) == {
        **town.pins(taken.run.version),
        "png": other.after,
    }


@pytest.mark.parametrize("of", ["patches", "child"])
def test_no_pin_of_an_old_source_stands_for_a_new_one(tmp_path: Path, of: str) -> None:
    """A server was away when the manifest began to name it: those after it ask it themselves."""
    town = Town.make(tmp_path, "zlib", "png")

    def write(place: str) -> None:
        child = f", child-components: [{{src: 'git:./git/{place}', name: own, branch: main}}]"
        more = "" if of == "child" else f"patches: {{src: 'git:./git/{place}', branch: main}}"
        town.write_manifest("zlib", "png", more=more)
        line = "name: zlib, branch: main"
        new = line + (child if of == "child" else f", patches: [{place}.patch]")
        path = town.root / "os.yaml"
        path.write_text(path.read_text().replace(line, new))

    for place in ("old", "new"):
        town.add(place).commit("patch", **{f"{place}_patch": "a\n"})
    write("old")
    town.ostci("resolve")
    write("new")
    town.repos["new"].path.rename(tmp_path / "away")
    house = town.house()
    changed = house.ledger.pushes.add(new_push(house, "manifest", ""))
    assert isinstance(resolve_push(house, changed.id).error, Trouble)
    house.ledger.close()
    (tmp_path / "away").rename(town.repos["new"].path)
    found = town.snapshot(resolve(town, push(town, "png").id))
    pin = found.patches if of == "patches" else found.pins["zlib"].children["own"]
    assert pin is not None
    assert pin.revision == town.repos["new"].git("rev-parse", "HEAD")


def test_a_revision_that_is_not_there_fails_its_own_run_alone(town: Town) -> None:
    made = push(town, "zlib")
    house = town.house()
    lost = house.ledger.pushes.add(
        NewPush(component="zlib", url=made.url, branch="main", before=made.after, after="9" * 40)
    )
    taken = resolve_push(house, lost.id)
    assert isinstance(taken.error, Failed)
    assert "9" * 40 in str(taken.error)
    house.ledger.close()
    after = push(town, "png")
    version = resolve(town, after.id)
    assert town.pins(version)["zlib"] == made.after
    assert town.pins(version)["png"] == after.after


def test_what_was_superseded_comes_along(town: Town) -> None:
    first, second, third = push(town, "zlib"), push(town, "png"), push(town, "hello")
    house = town.house()
    for one in (first, second):
        house.ledger.pushes.end(one.id, PushState.SUPERSEDED, "too many wait", third.id)
    base = house.workdir.versions()[-1]
    version = resolve(town, third.id)
    assert moved(town, base, version) == {"zlib", "png", "hello"}
    with pytest.raises(Interrupted, match=f"push {first.id} was superseded by push {third.id}"):
        resolve_push(house, first.id)
    assert len(house.workdir.versions()) == 2


def named(place: Path, name: str) -> list[Path]:
    """List the JSON files of a name below a directory."""
    return [path for path in files_below(place) if path.name == f"{name}.json"]


@pytest.mark.parametrize("when", ["snapshot", "resolve", "run"])
def test_a_killed_resolve_is_taken_up_again_and_has_one_run(town: Town, when: str) -> None:
    place = town.root / "work" / "runs"

    def kill_one(number: int) -> Push | None:
        """Kill the resolve of a push, unless it had ended: this process has waited too long."""
        made, before = push(town, "zlib", f"{number}"), len(named(place, when))
        with started([town.argv("resolve", "--push", str(made.id))]) as (child,):
            wait_until(lambda: len(named(place, when)) > before or child.poll() is not None)
        return made if child.returncode == -signal.SIGKILL else None

    first = next((one for one in map(kill_one, range(20)) if one is not None), None)
    assert first is not None, "all had ended before the kill"
    second = push(town, "png")
    told = town.json("resolve", "--push", str(second.id))
    *_, one, two = town.pushes()
    assert one.run and two.run and two.run == told["run"]
    assert place_of(one.run) < place_of(two.run)
    assert moved(town, one.run, two.run) == {"png"}
    assert town.pins(one.run)["zlib"] == first.after
    records = [run for run in place.rglob("run.json") if (run.parent / "snapshot.json").is_file()]
    assert len(records) == 1 + len(town.pushes()), "no push has two runs"
    assert town.json("resolve", "--push", str(first.id))["run"] == one.run


def test_many_that_resolve_at_once_keep_push_order(town: Town) -> None:
    made = [push(town, name, f"{number}") for number in range(2) for name in town.repos]
    argvs = [town.argv("resolve", "--push", str(one.id), "--wait", "600") for one in reversed(made)]
    with started(argvs) as children:
        assert [child.wait(600) for child in children] == [0] * len(children)
    runs = [str(one.run) for one in town.pushes()]
    assert sorted(runs, key=place_of) == runs
    for old, new, one in zip(runs, runs[1:], made[1:], strict=False):
        assert moved(town, old, new) == {one.component}


# The whole way


def test_a_run_for_a_push_gives_it_its_ending(town: Town) -> None:
    made = push(town, "zlib")
    # The base has no shell: nothing can be built in it.
    said = town.ostci("run", "--push", str(made.id), code=3)
    (row,) = town.pushes()
    assert row.state is PushState.TROUBLE and row.attempts == 1
    assert row.message and row.message in said
    record = read_record(town.house().workdir.run(str(row.run)))
    assert (record.ending, record.message) == (RunEnding.TROUBLE, row.message)
    assert town.pins(record.version)["zlib"] == made.after
    town.ostci("run", "--push", str(made.id), code=3)
    (again,) = town.pushes()
    assert (again.run, again.attempts) == (row.run, 2), "once more, in the same run"


def test_a_run_goes_by_its_own_manifest_whatever_became_of_the_file(town: Town) -> None:
    made = push(town, "zlib")
    told = town.json("resolve", "--push", str(made.id))
    (town.root / "os.yaml").write_text("broken: [\n")
    for words in (("build", "--run", told["run"]), ("run", "--push", str(made.id))):
        assert "no sandbox can be made" in town.ostci(*words, code=3)


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, PushState.DONE),
        (Failed("red"), PushState.DONE),
        (Trouble("no disk"), PushState.TROUBLE),
        (ZeroDivisionError("a bug"), PushState.TROUBLE),
        (Interrupted("stopped"), PushState.WAITING),
        (KeyboardInterrupt(), PushState.WAITING),
    ],
)
def test_an_attempt_ends_as_its_run_did(
    tmp_path: Path, error: BaseException | None, state: PushState
) -> None:
    town = Town.make(tmp_path, "zlib")
    house = town.house()
    made = house.ledger.pushes.add(new_push(house, "zlib", ""))

    def attempt() -> None:
        with attempting(house, made.id):
            assert house.ledger.pushes.get(made.id).state is PushState.RUNNING
            if error is not None:
                raise error

    if error is None:
        attempt()
    else:
        with pytest.raises(type(error)):
            attempt()
    row = house.ledger.pushes.get(made.id)
    assert (row.state, row.attempts) == (state, 1)
    assert str(error or "") in row.message or state is PushState.WAITING
