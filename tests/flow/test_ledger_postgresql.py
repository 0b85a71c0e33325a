# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger in PostgreSQL: under commands, in backups and back, and from SQLite to there."""

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipeline.cli.house import House
from pipeline.ports.ledger import Ledger
from pipeline.ports.ledger_engine import Database
from pipeline.ports.ledger_place import ledger_url, read_ledger_url, with_ledger
from pipeline.ports.log import Log
from pipeline.ports.workdir import Workdir
from pipeline.stages.promote import violations
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.history import KEPT
from pipeline.words.push import NewPush, Push
from pipeline.words.refs import Commit, buildmaster_ref
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests.flow.test_keys import small_shop
from tests.postgres import Server
from tests.shipping import ARCH
from tests.shipping import OSNAME as SHOP
from tests.work import run_ostci

pytestmark = pytest.mark.slow
REF = buildmaster_ref(SHOP, f"{ARCH}-runtime")
NEW = NewPush(component="hello", url="u", branch="b", before="0" * 40, after="1" * 40)


def ostci(*words: object, root: Path | None = None, code: int = 0) -> str:
    """Give a command; tells what it said."""
    said = run_ostci(root, *map(str, words), code=code)
    return said.out + said.err


def facts(ledger: Ledger) -> object:
    """Tell all that a ledger knows of what was promoted, and of pushes."""
    rows = ledger.promotions()
    attempts = {row.commit: ledger.attempts(row.commit) for row in rows}
    found = (ledger.runs(), rows, attempts, ledger.pushes.newest(9), ledger.pushes.heads())
    ledger.close()
    return found


def test_a_backup_of_postgresql_needs_no_server_and_goes_back_to_one_or_to_a_file(
    tmp_path: Path, server: Server
) -> None:
    url = server.new_database()
    shop = small_shop(tmp_path, ledger=url)
    shop.ledger.pushes.note_head("u", "b", "0" * 40)
    (push,) = shop.ledger.pushes.note_head("u", "b", "1" * 40, [NEW])
    assert not shop.workdir.ledger.exists()
    assert "each of 2 buildmaster refs has its own" in ostci("doctor", "--no-boot", root=shop.root)
    ostci("backup", "--no-fsck", tmp_path / "backup", root=shop.root)
    known = facts(shop.ledger)
    # The settings name the ledger that is there: it is not written over.
    taken = ostci("restore", tmp_path / "backup", tmp_path / "new", code=2)
    assert "there is a ledger already" in taken and not (tmp_path / "new").exists()

    other = server.new_database()
    ostci("restore", tmp_path / "backup", tmp_path / "new", "--ledger", other)
    check_restored(tmp_path / "new", other, known, push)
    ostci("restore", tmp_path / "backup", tmp_path / "file", "--ledger", "sqlite")
    check_restored(
        tmp_path / "file", f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}", known, push
    )


def check_restored(root: Path, url: str, known: object, push: Push) -> None:
    """Look whether it is all there, and goes on behind what was there."""
    house = House(root, log=Log())
    assert house.settings.ledger == url == read_ledger_url(house.workdir)
    assert facts(house.ledger) == known
    assert violations(repo=house.repo, archive=house.archive, ledger=house.ledger) == []
    promoted = {row.tree: row.commit for row in house.ledger.promoted()}
    assert house.archive.need(REF) == promoted[f"{ARCH}-runtime"]
    assert house.ledger.pushes.add(NEW).id == push.id + 1
    house.ledger.close()


@pytest.mark.full
def test_what_outgrew_sqlite_is_moved_by_a_backup(tmp_path: Path, server: Server) -> None:
    shop = small_shop(tmp_path)
    ostci("backup", "--no-fsck", tmp_path / "backup", root=shop.root)
    known = facts(shop.ledger)
    url = server.new_database()
    ostci("restore", tmp_path / "backup", tmp_path / "new", "--ledger", url)
    moved = Ledger(url)
    assert facts(moved) == known
    assert not (tmp_path / "new" / "ledger.sqlite").exists()
    assert "each of 2 buildmaster refs" in ostci("doctor", "--no-boot", root=tmp_path / "new")


def test_a_connection_that_was_lost_is_made_again(server: Server) -> None:
    url = server.new_database()
    ledger = Ledger(url)
    ledger.pushes.add(NEW)
    engine = create_engine(server.url("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(
            "select pg_terminate_backend(pid) from pg_stat_activity where pid <> pg_backend_pid()"
        )
    engine.dispose()
    assert len(ledger.pushes.open()) == 1
    ledger.close()


def test_what_reads_sees_one_state(server: Server) -> None:
    url = server.new_database()
    ledger, database = Ledger(url), Database(url)
    ledger.pushes.add(NEW)
    count = "select count(*) from push"
    with database.reading() as connection:
        assert connection.exec_driver_sql(count).scalar() == 1
        ledger.pushes.add(NEW)
        assert connection.exec_driver_sql(count).scalar() == 1
    ledger.close()
    database.close()


def test_a_database_that_is_not_there_is_trouble_with_its_name(
    tmp_path: Path, server: Server
) -> None:
    with pytest.raises(Trouble, match='database "nothing" does not exist') as caught:
        Ledger(server.url("nothing")).runs()
    assert caught.value.hint.startswith("psql 'postgresql://ostci@")
    shop = small_shop(tmp_path)
    settings = shop.root / "ostci.toml"
    settings.write_text(with_ledger(settings.read_text(), server.url("nothing")))
    said = run_ostci(shop.root, "doctor", "--no-boot", "--json", code=None)
    (found,) = [one for one in json.loads(said.out) if one["name"] == "recorded passes"]
    assert not found["ok"] and 'database "nothing" does not exist' in found["words"]


def test_the_database_of_buildbot_is_refused(server: Server) -> None:
    url = server.new_database()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("create table buildrequests (id integer)")
    engine.dispose()
    with pytest.raises(BadInput, match="this is the database of Buildbot"):
        Ledger(url).runs()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("mysql:///ostci", "ledger wants postgresql://…, not 'mysql:///ostci'"),
        (7, "ledger wants postgresql://…, not 7"),
        ("postgresql://", "ledger names no database"),
        ("postgresql://me:secret@host/ostci", "a password does not belong into ledger"),
    ],
)
def test_what_is_no_ledger_is_refused(tmp_path: Path, said: object, told: str) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        ledger_url(Workdir(tmp_path), said, where="ostci.toml")
    assert "secret" not in str(caught.value)


def test_settings_are_written_with_another_ledger_and_nothing_else_changed() -> None:
    old = 'manifest = "os.yaml"\nledger = "postgresql:///a"\n[master]\nruns = 2\n'
    kept = 'manifest = "os.yaml"\n[master]\nruns = 2\n'
    assert with_ledger(old, "sqlite") == kept
    assert with_ledger(kept, "postgresql:///b") == f'ledger = "postgresql:///b"\n{kept}'


def test_results_of_tests_are_kept_and_pruned_there_too(server: Server) -> None:
    ledger = Ledger(server.new_database())
    run, tree = "20261124.0", "x86_64-runtime"
    tests = (TestResult(name="a", verdict=Verdict.FLAKY, attempts=2, failures=1),)
    for number in range(KEPT + 2):
        result = SuiteResult(
            suite="smoke",
            tree=tree,
            commit=Commit(f"{number:064x}"),
            verdict=Verdict.FLAKY,
            tests=tests,
        )
        ledger.record_suite(run, result)
    past = ledger.tests.history("os", tree, "smoke")["a"]
    assert (len(past), past[0].commit, past[0].failures) == (KEPT + 2, result.commit, 1)
    assert [row.flaky for row in ledger.attempts(result.commit)] == [1]
    assert ledger.tests.baseline("os", tree, "smoke", but="") == {}
    assert ledger.tests.baselines("os", tree) == frozenset()
    assert ledger.tests.prune(dry=True) == ledger.tests.prune() == 2
    ledger.close()
