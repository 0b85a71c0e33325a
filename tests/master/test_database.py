# SPDX-License-Identifier: LGPL-2.1-or-later
"""Buildbot's own database: PostgreSQL, and what a start makes of an older one."""

import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipeline.words.push import PushState
from tests import postgres
from tests.masters import FakeUp

pytestmark = pytest.mark.slow


@pytest.mark.full
@pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing())
def test_a_push_goes_its_way_with_postgresql(tmp_path: Path) -> None:
    with postgres.serving() as server:
        url = server.new_database()
        with FakeUp(tmp_path, database=url) as up:
            (push,) = up.wait_ended(up.push())
            assert push.state is PushState.DONE
            up.wait(lambda: bool(up.builds()[-1]["complete"]), "the build is over")
            assert up.builds()[-1]["word"] == "success"
            up.kill("master")
            up.wait(up.is_up, "the master is up again")
            assert up.builds()[-1]["word"] == "success"
        engine = create_engine(url)
        with engine.connect() as connection:
            count = connection.exec_driver_sql("select count(*) from builds").scalar()
        engine.dispose()
        assert count is not None and count > 3
        assert not (up.home / "master" / "state.sqlite").exists()


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
