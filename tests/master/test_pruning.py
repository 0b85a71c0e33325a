# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is old goes from Buildbot's database, with all that hangs on it, and nothing else does."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from buildbot.db.model import Model
from sqlalchemy import Connection, Engine, create_engine, event, func, insert, select, update

from pipeline.master.old_rows import OldRows, in_batches
from pipeline.words.push import PushState
from tests import postgres
from tests.masters import FakeUp

DAY_S = 86400
NOW = 1_800_000_000
BEFORE = NOW - 365 * DAY_S
HUNG_ON = ("steps", "logs", "logchunks", "build_properties", "build_data", "buildrequest_claims")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database of Buildbot's, of either kind, that minds its references."""
    if request.param == "sqlite":
        made = create_engine(f"sqlite:///{tmp_path / 'state.sqlite'}")
        pragmas = "pragma foreign_keys = on; pragma synchronous = off"
        event.listen(made, "connect", lambda one, _: one.executescript(pragmas))
    else:
        server: postgres.Server = request.getfixturevalue("server")
        made = create_engine(server.new_database())
    Model.metadata.create_all(made)
    yield made
    made.dispose()


class Filled:
    """A database with runs of pushes in it, each with the build of a component."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.rows = OldRows(Model)
        self._at_once: Connection | None = None
        self.add("masters", id=1, name="m", name_hash="m", active=1, last_active=NOW)
        for builder, name in ((1, "run"), (2, "component/zlib")):
            self.add("builders", id=builder, name=name, name_hash=name)

    def add(self, table: str, **values: object) -> int:
        """Add a row; tells its id."""
        with contextlib.ExitStack() as stack:
            connection = self._at_once or stack.enter_context(self.engine.begin())
            done = connection.execute(insert(getattr(Model, table)).values(values))
            assert done.inserted_primary_key is not None
            return int(done.inserted_primary_key[0]) if done.inserted_primary_key else 0

    def count(self, table: str) -> int:
        """Count rows."""
        with self.engine.connect() as connection:
            found = connection.execute(select(func.count()).select_from(getattr(Model, table)))
            return int(found.scalar() or 0)

    def do(self, what: Callable[..., Any], *args: Any, **given: Any) -> Any:
        """Do something in a transaction."""
        with self.engine.begin() as connection:
            return what(connection, *args, **given)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Add all rows within in one transaction."""
        with self.engine.begin() as self._at_once:
            yield
        self._at_once = None

    def push(self, number: int, when: int) -> None:
        """Let a push go its way."""
        stamp = self.add(
            "sourcestamps", ss_hash=f"{number}", revision=f"{number:040}", created_at=when
        )
        change = self.add(
            "changes",
            author="a",
            comments=f"push {number}",
            when_timestamp=when,
            sourcestampid=stamp,
            parent_changeids=None,
        )
        self.add("change_files", changeid=change, filename="f")
        run = self.build(1, number, when, stamp, mark=f"push-{number}")
        self.build(2, number, when, stamp, parent=run)

    def build(
        self,
        builder: int,
        number: int,
        when: int,
        stamp: int,
        *,
        mark: str | None = None,
        parent: int | None = None,
    ) -> int:
        """Add a build that is over, with what hangs on it; tells its id."""
        over: Mapping[str, int] = {"complete": 1, "complete_at": when, "submitted_at": when}
        buildset = self.add("buildsets", external_idstring=mark, parent_buildid=parent, **over)
        self.add("buildset_properties", buildsetid=buildset, property_name="p", property_value="1")
        self.add("buildset_sourcestamps", buildsetid=buildset, sourcestampid=stamp)
        request = self.add("buildrequests", buildsetid=buildset, builderid=builder, **over)
        self.add("buildrequest_claims", brid=request, masterid=1, claimed_at=when)
        build = self.add(
            "builds",
            number=number,
            builderid=builder,
            buildrequestid=request,
            masterid=1,
            started_at=when,
            complete_at=when,
            locks_duration_s=0,
            state_string="done",
            results=0,
        )
        self.add("build_properties", buildid=build, name="p", value="1", source="test")
        self.add("build_data", buildid=build, name="d", value=b"1", length=1, source="test")
        named: dict[str, Any] = {"state_string": "s", "urls_json": "[]", "results": 0}
        step = self.add("steps", number=0, name="s", buildid=build, started_at=when, **named)
        log = self.add("logs", name="l", slug="l", stepid=step, complete=1, num_lines=1, type="s")
        self.add("logchunks", logid=log, first_line=0, last_line=0, content=b"l", compressed=0)
        return build

    def prune(self, *, newest: int, marks: tuple[str, ...] = ()) -> int:
        """Drop buildsets as the service does; tells how many builds went."""
        alive = self.do(self.rows.kept_alive, marks)
        gone, after = 0, 0
        while after is not None:
            found, after = self.do(
                self.rows.old_buildsets, after=after, before=BEFORE, newest=newest
            )
            for some in in_batches([one for one in found if one not in alive]):
                gone += self.do(self.rows.drop_buildsets, some)
        return gone


@pytest.fixture
def filled(engine: Engine) -> Filled:
    """Forty pushes: thirty of two years ago, ten of today."""
    made = Filled(engine)
    with made.at_once():
        for number in range(1, 41):
            made.push(number, NOW - 730 * DAY_S if number <= 30 else NOW)
    return made


def test_builds_that_are_old_and_not_among_the_newest_go_with_all_that_hangs_on_them(
    filled: Filled,
) -> None:
    assert filled.prune(newest=12) == 2 * 28
    assert filled.count("builds") == 24
    for table in ("buildsets", "buildrequests", "buildset_properties", *HUNG_ON):
        assert filled.count(table) == 24, table
    with filled.engine.connect() as connection:
        question = select(func.min(Model.builds.c.number))
        assert connection.execute(question).scalar() == 29
    assert filled.prune(newest=12) == 0


def test_changes_go_when_no_build_is_of_them_and_then_their_stamps(filled: Filled) -> None:
    # It is of no build, and the older has it as its parent.
    lost = filled.add("sourcestamps", ss_hash="lost", revision="1", created_at=NOW - 730 * DAY_S)
    bare = filled.add("sourcestamps", ss_hash="bare", revision=None, created_at=NOW - 730 * DAY_S)
    with filled.engine.begin() as connection:
        connection.execute(
            update(Model.changes).where(Model.changes.c.changeid == 40).values(parent_changeids=1)
        )
    assert filled.do(filled.rows.drop_changes, BEFORE) == 0
    filled.prune(newest=12)
    assert filled.do(filled.rows.drop_changes, BEFORE) == 28
    assert filled.do(filled.rows.drop_changes, BEFORE) == 0
    assert filled.count("changes") == filled.count("change_files") == 12
    assert filled.do(filled.rows.drop_sourcestamps, BEFORE) == 29
    with filled.engine.connect() as connection:
        left = set(connection.execute(select(Model.sourcestamps.c.id)).scalars())
    assert bare in left and lost not in left and len(left) == 13


def test_what_a_push_without_an_ending_asked_for_stays(filled: Filled) -> None:
    filled.do(
        lambda connection: connection.execute(
            update(Model.buildsets)
            .where(Model.buildsets.c.external_idstring == "push-2")
            .values(complete=0)
        )
    )
    filled.prune(newest=1, marks=("push-1", "push-99"))
    with filled.engine.connect() as connection:
        numbers = select(Model.builds.c.builderid, Model.builds.c.number)
        left = {(row.builderid, row.number) for row in connection.execute(numbers)}
    young = {(builder, number) for builder in (1, 2) for number in range(31, 41)}
    assert left == young | {(1, 1), (2, 1), (1, 2), (2, 2)}


def test_the_last_build_of_a_builder_stays_for_numbers_go_on_from_it(engine: Engine) -> None:
    filled = Filled(engine)
    for number in (1, 2, 3):
        filled.push(number, NOW - 730 * DAY_S)
    filled.prune(newest=1)
    with engine.connect() as connection:
        assert set(connection.execute(select(Model.builds.c.number)).scalars()) == {3}


def test_old_logs_are_emptied_once_and_marked(filled: Filled) -> None:
    assert filled.do(filled.rows.drop_logs, after=0, before=BEFORE) == (60, 80)
    assert filled.do(filled.rows.drop_logs, after=80, before=BEFORE) == (0, None)
    assert filled.do(filled.rows.drop_logs, after=0, before=BEFORE) == (0, 80)
    assert (filled.count("logs"), filled.count("logchunks")) == (80, 20)
    with filled.engine.connect() as connection:
        kinds = select(Model.logs.c.type, func.count()).group_by(Model.logs.c.type)
        assert dict(map(tuple, connection.execute(kinds))) == {"d": 60, "s": 20}


@pytest.mark.slow
def test_a_master_prunes_while_it_works_and_keeps_what_has_no_ending(tmp_path: Path) -> None:
    with FakeUp(tmp_path, **{"keep-newest": 2, "keep-builds": 100}) as up:
        pushes = [up.push(after=f"{number:040}") for number in range(4)]
        up.wait_ended(*pushes)
        up.wait(lambda: not up.get("builds?complete=false")["builds"], "all builds are over")
        assert len(up.builds()) == 4
        numbers = [build["number"] for build in up.builds()]
        up.stop()
        age(up.home / "master" / "state.sqlite", days=101)
        # As one whose attempts had trouble, and whose master was away for long.
        up.ledger.pushes.end(pushes[0].id, PushState.WAITING)
        up.tell("resolve", *["hang"] * 3)
        up.start()
        left = [pushes[0].id, pushes[2].id, pushes[3].id]
        up.wait(lambda: pushes_of(up, numbers) == left, "the second has gone")
        up.wait(lambda: "builds, " in up.log_of("master"), "it is told")
        assert len([one for one in up.get("changes")["changes"] if one["when_timestamp"]]) >= 3
        assert len(up.builds("component/hello")) == 3, "its child of a push without an ending, too"
        push = up.push(after="9" * 40)
        up.wait(lambda: push.id in pushes_of(up), "others begin")
        assert up.builds()[-1]["number"] > max(numbers)
    with closing(sqlite3.connect(up.home / "master" / "state.sqlite")) as database:
        assert database.execute("pragma foreign_key_check").fetchall() == []


def pushes_of(up: FakeUp, numbers: list[int] | None = None) -> list[int]:
    found = [one for one in up.builds() if numbers is None or one["number"] in numbers]
    # A build is there a moment before its properties are.
    return [one["props"]["push"] for one in found if "push" in one["props"]]


def age(path: Path, *, days: int) -> None:
    """Make all that is in a database of Buildbot older."""
    seconds = days * DAY_S
    columns = {
        "buildsets": ("submitted_at", "complete_at"),
        "changes": ("when_timestamp",),
        "sourcestamps": ("created_at",),
        "steps": ("started_at",),
    }
    with closing(sqlite3.connect(path)) as database, database:
        for table, names in columns.items():
            for name in names:
                database.execute(f"update {table} set {name} = {name} - {seconds}")
