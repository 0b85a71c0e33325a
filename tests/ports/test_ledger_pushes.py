# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pushes are recorded once and in order, in SQLite and in PostgreSQL, and end once."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from pipeline.ports import process
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_migrations import upgrade
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput
from pipeline.words.push import NewPush, Push, PushState, Via
from pipeline.words.request import EVERY, Told
from tests import postgres

RUN = "20261128.0"
URL = "https://example.org/zlib.git"


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Server]:
    """A PostgreSQL."""
    lacking = postgres.missing()
    if lacking:
        pytest.skip(lacking)
    with postgres.serving() as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    """An empty ledger of either kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    else:
        found: postgres.Server = request.getfixturevalue("server")
        url = found.new_database()
    made = Ledger(url)
    yield made
    made.close()


def new(
    after: str = "b", before: str = "a", component: str = "zlib", via: Via = Via.POLL
) -> NewPush:
    """Make up a push."""
    return NewPush(component=component, url=URL, branch="main", before=before, after=after, via=via)


def test_a_push_comes_back_as_it_was_recorded(ledger: Ledger) -> None:
    given = NewPush(
        component="zlib",
        url=URL,
        branch="main",
        before="a",
        after="c",
        commits=("b", "c"),
        rewritten=True,
        via=Via.HOOK,
        note="to see",
    )
    push = ledger.pushes.add(given)
    assert push == ledger.pushes.get(push.id)
    kept = {name: getattr(push, name) for name in NewPush.__dataclass_fields__}
    assert NewPush(**kept) == given
    assert (push.state, push.run, push.attempts, push.message) == (PushState.WAITING, None, 0, "")
    assert push.is_open


def test_a_head_and_its_pushes_are_recorded_together_and_once(ledger: Ledger) -> None:
    assert ledger.pushes.note_head(URL, "main", "a") == ()
    assert ledger.pushes.heads() == {(URL, "main"): "a"}
    (push,) = ledger.pushes.note_head(URL, "main", "b", [new("b")])
    assert (push.before, push.after) == ("a", "b")
    assert ledger.pushes.note_head(URL, "main", "b", [new("b")]) == ()
    assert ledger.pushes.note_head(URL, "main", "c", [new("c", before="a")]) == (), "stale"
    assert ledger.pushes.heads() == {(URL, "main"): "b"}
    assert ledger.pushes.open() == [push]


def test_a_head_stays_where_it_was_when_its_pushes_cannot_be_recorded(ledger: Ledger) -> None:
    ledger.pushes.note_head(URL, "main", "a")
    broken = new("c", before="b")
    object.__setattr__(broken, "commits", object())
    with pytest.raises(TypeError):
        ledger.pushes.note_head(URL, "main", "c", [new("b"), broken])
    assert ledger.pushes.heads() == {(URL, "main"): "a"}
    assert ledger.pushes.newest(9) == []


def test_many_that_see_the_same_move_record_it_once(ledger: Ledger) -> None:
    ledger.pushes.note_head(URL, "main", "a")
    at_once = threading.Barrier(6)

    def watch() -> tuple[Push, ...]:
        with closing(Ledger(ledger.url)) as own:
            at_once.wait(30)
            return own.pushes.note_head(URL, "main", "b", [new("b")])

    with ThreadPoolExecutor(6) as pool:
        watching = [pool.submit(watch) for _ in range(6)]
    found = [push for one in watching for push in one.result()]
    assert [push.after for push in found] == ["b"]
    assert ledger.pushes.waiting() == found


def test_a_request_has_one_try_of_each_head_and_one_at_a_time(ledger: Ledger) -> None:
    ref = "refs/pull/7/head"

    def new_try(head: str) -> NewPush:
        return replace(new(head, via=Via.REQUEST), branch=ref)

    with ThreadPoolExecutor(6) as pool:
        begun = pool.map(lambda _: ledger.requests.begin(new_try("b")), range(6))
    (first,) = [push for one in begun for push in one.begun]
    assert ledger.requests.going(URL) == {ref} and ledger.requests.every_going() == {URL: {ref}}
    found = ledger.requests.begin(new_try("c"))
    assert [(push.id, push.state) for push in found.given_up] == [(first.id, PushState.SUPERSEDED)]
    assert ledger.pushes.get(first.id).superseded_by == found.begun[0].id
    ids = frozenset((first.id, found.begun[0].id))
    assert [push.id for push in ledger.requests.given_up(ids)] == [first.id]
    assert ledger.requests.known(URL)[ref].head == "c"
    assert ledger.requests.note_gone(URL, ref)[0].state is PushState.CANCELLED
    assert ledger.requests.known(URL) == {}


def test_a_hook_of_before_changes_nothing(ledger: Ledger) -> None:
    told = Told(ref="refs/pull/7/head", is_open=True, is_member=True, author="alice", when=2.0)
    assert ledger.requests.note_told(URL, told, even_new=False) == (True, ())
    assert ledger.requests.known(URL) == {}
    ledger.requests.note_told(URL, told, even_new=True)
    before = replace(told, is_open=False, when=1.0)
    assert ledger.requests.note_told(URL, before, even_new=True) == (False, ())
    assert ledger.requests.known(URL)[told.ref].is_open
    ledger.requests.note_first(URL, {told.ref: "a", "refs/pull/8/head": "b"})
    found = ledger.requests.every()[URL]
    assert {ref: one.head for ref, one in found.items()} == {
        EVERY: "",
        "refs/pull/8/head": "b",
        told.ref: "",
    }


def test_pushes_are_listed_in_their_order(ledger: Ledger) -> None:
    made = [ledger.pushes.add(new(f"{number}")) for number in range(5)]
    ids = [push.id for push in made]
    assert ids == sorted(ids)
    assert [push.id for push in ledger.pushes.newest(2)] == ids[-2:]
    ledger.pushes.begin_attempt(ids[1])
    ledger.pushes.end(ids[0], PushState.DONE)
    assert [push.id for push in ledger.pushes.waiting()] == ids[2:]
    assert [push.id for push in ledger.pushes.open()] == ids[1:]


def test_attempts_are_counted_and_an_ending_ends_them(ledger: Ledger) -> None:
    push = ledger.pushes.add(new())
    assert ledger.pushes.begin_attempt(push.id) == 1
    assert ledger.pushes.begin_attempt(push.id) == 2
    running = ledger.pushes.get(push.id)
    assert running.state is PushState.RUNNING
    assert running.attempted is not None and running.ended is None
    ledger.pushes.end(push.id, PushState.TROUBLE, "three attempts")
    over = ledger.pushes.get(push.id)
    assert (over.state, over.message) == (PushState.TROUBLE, "three attempts")
    assert over.ended is not None and not over.is_open
    with pytest.raises(BadInput, match=f"push {push.id} is over: trouble"):
        ledger.pushes.begin_attempt(push.id)
    assert ledger.pushes.begin_attempt(push.id, again=True) == 3
    assert ledger.pushes.get(push.id).is_open


def test_a_run_is_the_pushs_own(ledger: Ledger) -> None:
    push, other = ledger.pushes.add(new("b")), ledger.pushes.add(new("c"))
    ledger.pushes.assign_run(push.id, RUN)
    assert ledger.pushes.get(push.id).run == RUN
    assert ledger.pushes.get(other.id).run is None
    assert [one.id for one in ledger.pushes.of_run(RUN)] == [push.id]
    assert [run.version for run in ledger.runs(unfinished=True)] == [RUN]


def test_only_what_waits_is_superseded(ledger: Ledger) -> None:
    old, begun, newest = (ledger.pushes.add(new(after)) for after in "bcd")
    ledger.pushes.begin_attempt(begun.id)
    assert ledger.pushes.end(old.id, PushState.SUPERSEDED, "too many", newest.id)
    assert not ledger.pushes.end(begun.id, PushState.SUPERSEDED, "too many", newest.id)
    assert ledger.pushes.get(begun.id).state is PushState.RUNNING
    assert [push.id for push in ledger.pushes.superseded()] == [old.id]
    with pytest.raises(BadInput, match=f"push {old.id} is superseded by push {newest.id}"):
        ledger.pushes.begin_attempt(old.id)


def test_what_was_superseded_is_not_begun_again(ledger: Ledger) -> None:
    old, newest = ledger.pushes.add(new("b")), ledger.pushes.add(new("c"))
    ledger.pushes.end(old.id, PushState.SUPERSEDED, "too many", newest.id)
    with pytest.raises(BadInput, match=f"push {old.id} is superseded by push {newest.id}"):
        ledger.pushes.begin_attempt(old.id, again=True)
    assert ledger.pushes.get(old.id).state is PushState.SUPERSEDED


def test_the_run_of_a_superseded_push_holds_nobody_up(ledger: Ledger) -> None:
    old, newest = ledger.pushes.add(new("b")), ledger.pushes.add(new("c"))
    for push, run in ((old, RUN), (newest, "20261128.1")):
        ledger.tickets.take(run, "os")
        ledger.pushes.assign_run(push.id, run)
    assert ledger.tickets.first_in_line("os") == RUN
    ledger.pushes.end(old.id, PushState.SUPERSEDED, "too many", newest.id)
    assert ledger.tickets.first_in_line("os") == "20261128.1"


def test_a_push_that_is_not_there_is_told(ledger: Ledger) -> None:
    with pytest.raises(BadInput, match="there is no push 7"):
        ledger.pushes.get(7)
    with pytest.raises(BadInput, match="there is no push 7"):
        ledger.pushes.assign_run(7, RUN)
    with pytest.raises(BadInput, match="there is no push 7"):
        ledger.pushes.end(7, PushState.DONE)


def test_a_push_is_there_after_a_kill(ledger: Ledger, log: Log) -> None:
    script = (
        "import sys, time; from pipeline.ports.ledger import Ledger;"
        "from pipeline.words.push import NewPush;"
        "made = NewPush(component='zlib', url='u', branch='main', before='a', after='b');"
        "pushes = Ledger(sys.argv[1]).pushes;"
        "pushes.note_head('u', 'main', 'a'); pushes.note_head('u', 'main', 'b', [made]);"
        "print('written', flush=True); time.sleep(60)"
    )
    with process.start([sys.executable, "-c", script, ledger.url], log=log, stderr=None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.kill()
    assert [push.after for push in ledger.pushes.waiting()] == ["b"]
    assert ledger.pushes.heads() == {("u", "main"): "b"}


def test_a_push_of_an_older_database_waits(ledger: Ledger) -> None:
    engine = create_engine(ledger.url)
    with engine.begin() as connection:
        upgrade(connection, "0002")
        old = MetaData()
        old.reflect(connection)
        row = {"component": "zlib", "branch": "main", "before": "a", "after": "b"}
        row |= {"via": "poll", "note": ""}
        connection.execute(old.tables["push"].insert().values(**row, received=1.0))
        assert "state" not in old.tables["push"].c
    engine.dispose()
    (push,) = ledger.pushes.waiting()
    assert (push.component, push.commits, push.rewritten, push.attempts) == ("zlib", (), False, 0)
