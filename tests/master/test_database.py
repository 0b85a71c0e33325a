# SPDX-License-Identifier: LGPL-2.1-or-later
"""Buildbot's own database: PostgreSQL, and what a start makes of an older one."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipeline.master.config import database
from pipeline.ports.master_settings import MasterSettings
from pipeline.ports.workdir import Workdir
from pipeline.words.push import PushState
from tests.cheap import Cheap
from tests.masters import FakeUp, Up
from tests.postgres import Server

pytestmark = pytest.mark.slow
_LONG_S = 600.0


def test_a_push_goes_its_way_with_postgresql(tmp_path: Path, server: Server) -> None:
    url, ledger = server.new_database(), server.new_database()
    with FakeUp(tmp_path, database=url, ledger=ledger) as up:
        (push,) = up.wait_ended(up.push())
        assert push.state is PushState.DONE
        up.wait(lambda: bool(up.builds()[-1]["complete"]), "the build is over")
        assert up.builds()[-1]["word"] == "success"
        up.kill("master")
        up.wait(up.is_up, "the master is up again")
        assert up.builds()[-1]["word"] == "success"
        again = up.push(after="b" * 40)
        assert up.wait_ended(again)[0].state is PushState.DONE
    assert up.ledger.url == ledger
    assert count(ledger, "run") == count(ledger, "push") == 2
    assert count(url, "builds") > 3
    assert not (up.home / "master" / "state.sqlite").exists()
    assert not (up.root / "ledger.sqlite").exists()


def count(url: str, table: str) -> int:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.exec_driver_sql(f"select count(*) from {table}").scalar()
    engine.dispose()
    return int(found or 0)


def test_a_commit_to_sqlite_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    settings = MasterSettings(
        home=tmp_path, workdir=Workdir(tmp_path), manifest=tmp_path / "m.yaml", ledger_url=""
    )
    told = database(settings)
    engine = create_engine(told["db_url"], **told["engine_kwargs"])
    with engine.connect() as one, engine.connect() as other:
        found = {
            connection.exec_driver_sql("pragma synchronous").scalar() for connection in (one, other)
        }
    engine.dispose()
    assert found == {1}  # only what is moved from the log into the file is waited for


@pytest.mark.full
def test_real_pushes_keep_their_order_with_postgresql_though_the_master_is_killed(
    tmp_path: Path, server: Server
) -> None:
    work = Cheap(tmp_path, one=0.0, two=0.0)
    ledger = server.new_database()
    with Up(tmp_path, work=work, ledger=ledger, poll=2, reconcile=2, slots=2, runs=2) as up:
        up.wait(lambda: up.seen() >= 2, "all repositories were seen")
        # The first of a line has all that is there by then.
        work.change("two", after_s=0.5)
        up.wait(lambda: len(up.ledger.pushes.newest(9)) == 1, "the first was seen")
        up.wait_ended(*up.ledger.pushes.newest(9), within_s=_LONG_S)
        for name in ("one", "two"):
            work.change(name, after_s=0.5)
        up.wait(lambda: len(up.ledger.pushes.newest(9)) == 3, "the others were seen")
        up.kill("master")
        pushes = up.wait_ended(*up.ledger.pushes.newest(9), within_s=_LONG_S)
        assert {push.state for push in pushes} == {PushState.DONE}
        work.check_line(pushes)
    assert not (up.root / "ledger.sqlite").exists()
    assert work.processes() == []


def test_one_database_for_both_is_refused(tmp_path: Path) -> None:
    url = "postgresql:///both"
    up = FakeUp(tmp_path, database=url, ledger=url)
    done = subprocess.run(
        up.work.argv("up"), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    assert "master.database and ledger are the same" in done.stderr


@pytest.mark.full
def test_after_a_change_of_version_a_start_looks_at_the_database_first(tmp_path: Path) -> None:
    with FakeUp(tmp_path) as up:
        (push,) = up.wait_ended(up.push())
        assert push.state is PushState.DONE
    state = up.home / "master" / "state.sqlite"
    newest = revision(state)
    # As if another Buildbot had made it, and then one that this one does not know.
    (up.home / "master" / ".upgraded").write_text("4.2.0")
    with closing(sqlite3.connect(state)) as database, database:
        database.execute("update alembic_version set version_num = 'unknown'")
    done = subprocess.run(
        up.work.argv("up", "--port", "0", "--worker-port", "0"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 3
    assert "Buildbot's database cannot be used" in done.stderr
    with closing(sqlite3.connect(state)) as database, database:
        database.execute("update alembic_version set version_num = ?", (newest,))
    up.start()
    try:
        assert [build["word"] for build in up.builds()] == ["success"]
    finally:
        assert up.stop() == 0
    assert (up.home / "master" / ".upgraded").read_text() == "4.3.0"


def revision(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return str(database.execute("select version_num from alembic_version").fetchone()[0])
