# SPDX-License-Identifier: LGPL-2.1-or-later
"""The ledger keeps every attempt, answers from it, and outlives kills, upgrades and full disks."""

import sqlite3
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine, inspect
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from pipeline.ports import ledger_tables, process
from pipeline.ports.ledger import Ledger, PromotionState
from pipeline.ports.ledger_migrations import scripts, upgrade
from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.history import KEPT
from pipeline.words.manifest import Need
from pipeline.words.push import NewPush, PushState
from pipeline.words.refs import Commit
from pipeline.words.run import RunEnding, place_of
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

RUN = "20261124.0"
A, B = Commit("a" * 64), Commit("b" * 64)
ZLIB = "1a2b3c" + "0" * 34


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the ledger is."""
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path: Path) -> Ledger:
    """An empty ledger."""
    return Ledger(f"sqlite:///{path}")


def tree(commit: Commit = A, name: str = "runtime") -> Tree:
    """Make the record of a tree."""
    return Tree(
        name=f"x86_64-{name}",
        arch="x86_64",
        target=name,
        commit=commit,
        content="c:d",
        version=RUN,
        snapshot="5" * 64,
    )


def result(verdict: Verdict, *, suite: str = "smoke", commit: Commit = A) -> SuiteResult:
    """Make what a suite came to."""
    return SuiteResult(
        suite=suite, tree="x86_64-runtime", commit=commit, verdict=verdict, message=f"so {verdict}"
    )


def promote(ledger: Ledger, run: str, state: PromotionState, commit: Commit = A) -> None:
    """Write a promotion."""
    with ledger.deciding() as sitting:
        sitting.write(
            batch=sitting.new_batch(),
            run=run,
            osname="os",
            tree="x86_64-runtime",
            commit=commit,
            previous=None,
            state=state,
            gate={"smoke": Need.REQUIRED},
        )


# Runs and verdicts


def test_a_run_has_no_ending_until_it_is_given_one(ledger: Ledger) -> None:
    ledger.begin_run(RUN, "os", 1.0)
    ledger.begin_run("20261124.10", "os", 2.0)
    ledger.begin_run("20261124.9", "os", 3.0)
    assert [run.version for run in ledger.runs()] == ["20261124.10", "20261124.9", RUN]
    ledger.end_run(RUN, "failed", "it did not boot")
    assert [run.version for run in ledger.runs(unfinished=True)] == ["20261124.10", "20261124.9"]
    (done,) = [run for run in ledger.runs() if run.version == RUN]
    assert (done.ending, done.message, done.started) == ("failed", "it did not boot", 1.0)
    assert done.ended is not None


def test_what_is_no_run_is_refused(ledger: Ledger) -> None:
    with pytest.raises(BadInput, match="not the version of a run: 'latest'"):
        ledger.begin_run("latest", "os", 1.0)


def test_the_newest_verdict_counts_and_every_attempt_is_kept(ledger: Ledger) -> None:
    assert ledger.record_suite(RUN, result(Verdict.TROUBLE)) == 1
    assert ledger.record_suite(RUN, result(Verdict.FAILED)) == 2
    assert ledger.record_suite(RUN, result(Verdict.PASSED)) == 3
    assert ledger.record_suite(RUN, result(Verdict.FAILED, suite="login")) == 1
    assert ledger.record_suite(RUN, result(Verdict.FAILED, commit=B)) == 1
    assert ledger.verdicts(A) == {"smoke": Verdict.PASSED, "login": Verdict.FAILED}
    assert ledger.verdicts(B) == {"smoke": Verdict.FAILED}
    assert ledger.verdicts("c" * 64) == {}
    told = [(one.attempt, one.verdict, one.message) for one in ledger.attempts(A)]
    assert told[:2] == [(1, "trouble", "so trouble"), (2, "failed", "so failed")]


def test_a_run_failed_elsewhere_when_nothing_else_stands_against_it(ledger: Ledger) -> None:
    other, third = "20261124.1", "20261124.2"
    was_there = replace(result(Verdict.FAILED), cause="elsewhere")
    ledger.record_suite(RUN, result(Verdict.FAILED))
    ledger.record_suite(RUN, was_there)
    ledger.record_suite(RUN, result(Verdict.PASSED, suite="login"))
    ledger.record_suite(other, replace(was_there, commit=B))
    ledger.record_suite(other, result(Verdict.FLAKY, suite="login", commit=B))
    ledger.record_suite(third, replace(was_there, commit=Commit("c" * 64)))
    for version in (RUN, other):
        ledger.end_run(version, RunEnding.FAILED, "")
    # The third has not ended, and the second has a failure of its own.
    assert ledger.elsewhere([RUN, other, third]) == [RUN]
    assert ledger.elsewhere([other]) == []


def test_trees_are_found_by_a_component_and_the_beginning_of_its_revision(ledger: Ledger) -> None:
    ledger.record_tree(RUN, tree(A), {"zlib": ZLIB, "hello": "f" * 40})
    ledger.record_tree("20261124.1", tree(B), {"zlib": "9" * 40})
    ledger.record_suite(RUN, result(Verdict.PASSED))
    promote(ledger, RUN, PromotionState.DONE)
    assert [row.commit for row in ledger.trees_with("zlib")] == [B, A]
    (found,) = ledger.trees_with("zlib", ZLIB[:7])
    assert (found.commit, found.revision, found.run) == (A, ZLIB, RUN)
    assert found.verdicts == {"smoke": Verdict.PASSED}
    assert found.promoted
    assert ledger.trees_with("zlib", "%") == []
    assert ledger.trees_with("nothing") == []
    assert ledger.components(A) == {"hello": "f" * 40, "zlib": ZLIB}


def test_a_tree_recorded_twice_is_one(ledger: Ledger) -> None:
    ledger.record_tree(RUN, tree(A), {"zlib": ZLIB})
    ledger.record_tree(RUN, tree(A), {"zlib": ZLIB})
    found = ledger.tree(A)
    assert found is not None and found.run == RUN
    assert len(ledger.trees_with("zlib")) == 1
    assert ledger.tree(B) is None


def test_promotions_are_told_newest_first_and_by_state(ledger: Ledger) -> None:
    promote(ledger, RUN, PromotionState.DONE)
    promote(ledger, "20261124.1", PromotionState.BEGUN, B)
    promote(ledger, "20261124.2", PromotionState.HELD, B)
    rows = ledger.promotions("x86_64-runtime")
    assert [row.state for row in rows] == ["held", "begun", "done"]
    assert rows[0].gate == {"smoke": Need.REQUIRED}
    (begun,) = ledger.promotions(states=(PromotionState.BEGUN,))
    with ledger.deciding() as sitting:
        newest = sitting.newest("os", "x86_64-runtime")
        assert newest is not None and newest.run == "20261124.1"
        sitting.settle([begun], PromotionState.UNDONE, "why")
        newest = sitting.newest("os", "x86_64-runtime")
        assert newest is not None and newest.run == RUN
    assert ledger.promotions(states=(PromotionState.UNDONE,))[0].reason == "why"


def test_a_decision_that_fails_leaves_nothing(ledger: Ledger) -> None:
    def decide() -> None:
        with ledger.deciding() as sitting:
            ledger_row = {"batch": 1, "run": RUN, "osname": "os", "tree": "t", "commit": A}
            sitting.write(**ledger_row, previous=None, state=PromotionState.BEGUN, gate={})  # type: ignore[arg-type]
            raise ZeroDivisionError

    ledger.begin_run(RUN, "os", 1.0)
    with pytest.raises(ZeroDivisionError):
        decide()
    assert ledger.promotions() == []


def test_no_verdict_comes_between_a_look_and_the_decision(ledger: Ledger) -> None:
    ledger.record_suite(RUN, result(Verdict.PASSED))
    started, recorded = threading.Event(), threading.Event()

    def fail() -> None:
        started.set()
        Ledger(ledger.url).record_suite(RUN, result(Verdict.FAILED))
        recorded.set()

    other = threading.Thread(target=fail)
    with ledger.deciding() as sitting:
        other.start()
        started.wait(5)
        assert sitting.verdicts(A)["smoke"].verdict is Verdict.PASSED
        assert not recorded.wait(0.3), "the other wrote while we decided"
    other.join(120)
    assert ledger.verdicts(A) == {"smoke": Verdict.FAILED}


def test_tickets_keep_the_order_of_runs_whoever_asks_first(ledger: Ledger) -> None:
    for version in ("20261124.10", "20261124.9", RUN):
        ledger.tickets.take(version, "os")
    assert ledger.tickets.first_in_line("os") == RUN
    ledger.tickets.give_up(RUN, "os")
    assert ledger.tickets.first_in_line("os") == "20261124.9"
    ledger.tickets.take(RUN, "os")
    assert ledger.tickets.first_in_line("os") == "20261124.9", "one that was given up stays so"


def test_a_ticket_is_renewed_unless_a_later_run_has_composed(ledger: Ledger) -> None:
    later = "20261124.9"
    for version in (RUN, later):
        ledger.begin_run(version, "os", 1.0)
        ledger.tickets.take(version, "os")
        ledger.tickets.give_up(version, "os")
    assert ledger.tickets.first_in_line("os") is None
    assert ledger.tickets.renew(RUN, "os") is None
    assert ledger.tickets.first_in_line("os") == RUN
    ledger.tickets.give_up(RUN, "os")
    ledger.record_tree(later, tree(A), {})
    assert ledger.tickets.renew(RUN, "os") == later
    assert ledger.tickets.first_in_line("os") is None
    assert ledger.tickets.renew(later, "os") is None, "its own tree stops nobody"


def test_a_run_is_of_a_push_until_that_has_its_ending(ledger: Ledger) -> None:
    push = ledger.pushes.add(NewPush(component="hello", url="u", branch="b", before="", after="1"))
    assert not ledger.pushes.is_run_awaited(RUN)
    ledger.begin_run(RUN, "os", 1.0)
    ledger.pushes.assign_run(push.id, RUN)
    assert ledger.pushes.is_run_awaited(RUN)
    ledger.pushes.end(push.id, PushState.DONE)
    assert not ledger.pushes.is_run_awaited(RUN)


# The database


def test_what_was_written_is_there_after_a_kill(path: Path, log: Log) -> None:
    script = (
        "import sys, time; from pipeline.ports.ledger import Ledger;"
        "led = Ledger(sys.argv[1]); led.begin_run('20261124.0', 'os', 1.0);"
        "print('written', flush=True); time.sleep(60)"
    )
    argv = [sys.executable, "-c", script, f"sqlite:///{path}"]
    with process.start(argv, log=log, stderr=None) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"written\n"
        child.kill()
    assert [run.version for run in Ledger(f"sqlite:///{path}").runs()] == [RUN]


def test_a_commit_is_flushed_and_foreign_keys_are_checked(ledger: Ledger, path: Path) -> None:
    ledger.begin_run(RUN, "os", 1.0)
    with ledger._database.reading() as connection:
        pragma = {
            name: connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("synchronous", "foreign_keys", "journal_mode")
        }
    assert pragma == {"synchronous": 2, "foreign_keys": 1, "journal_mode": "wal"}
    assert path.stat().st_size > 0


def test_the_migrations_make_just_the_tables_that_the_code_uses(tmp_path: Path) -> None:
    migrated, declared = tmp_path / "migrated", tmp_path / "declared"
    Ledger(f"sqlite:///{migrated}").runs()
    engine = create_engine(f"sqlite:///{declared}")
    ledger_tables.metadata.create_all(engine)
    assert _shape(migrated) == _shape(declared)


def _shape(path: Path) -> dict[str, object]:
    looked = inspect(create_engine(f"sqlite:///{path}"))
    tables = [name for name in looked.get_table_names() if name != "alembic_version"]
    return {
        name: {
            "columns": [
                (one["name"], str(one["type"]), one["nullable"]) for one in looked.get_columns(name)
            ],
            "indexes": sorted(
                (str(one["name"]), tuple(one["column_names"])) for one in looked.get_indexes(name)
            ),
            "key": looked.get_pk_constraint(name),
            "foreign": looked.get_foreign_keys(name),
            "unique": looked.get_unique_constraints(name),
        }
        for name in tables
    }


def test_an_older_database_is_brought_up_to_date_and_keeps_what_it_has(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        upgrade(connection, "0001")
        old = MetaData()
        old.reflect(connection)
        row = {
            "version": RUN,
            "place": place_of(RUN),
            "osname": "os",
            "started": 1.0,
            "ending": "passed",
        }
        connection.execute(old.tables["run"].insert().values(**row, message=""))
        assert "ticket" not in old.tables
    engine.dispose()
    ledger = Ledger(f"sqlite:///{path}")
    assert [run.version for run in ledger.runs()] == [RUN]
    ledger.tickets.take(RUN, "os")
    assert ledger.tickets.first_in_line("os") == RUN


def test_the_head_that_is_compared_with_is_the_last_migration() -> None:
    assert scripts().get_current_head() == ledger_tables.HEAD


def test_a_database_of_a_newer_ostci_is_refused(path: Path) -> None:
    Ledger(f"sqlite:///{path}").runs()
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = '9999'")
    with pytest.raises(Trouble, match=r"of a newer ostci \(9999; this one knows 0006\)"):
        Ledger(f"sqlite:///{path}").runs()


def test_many_that_open_an_empty_ledger_at_once_all_write(path: Path, log: Log) -> None:
    script = (
        "import sys; from pipeline.ports.ledger import Ledger;"
        "Ledger(sys.argv[1]).begin_run(sys.argv[2], 'os', 1.0)"
    )
    failures: list[str] = []

    def start(number: int) -> None:
        argv = [sys.executable, "-c", script, f"sqlite:///{path}", f"20261124.{number}"]
        try:
            process.run(argv, log=log, deadline_s=300)
        except process.CommandError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=start, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(Ledger(f"sqlite:///{path}").runs()) == 4


def test_a_damaged_ledger_is_told_with_its_path(path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to be looked at" * 100)
    with pytest.raises(Trouble, match="it is damaged") as caught:
        Ledger(f"sqlite:///{path}").runs()
    assert caught.value.where == str(path)


def test_a_full_disk_is_trouble_with_path_and_bytes_and_loses_nothing(
    tmp_path: Path, log: Log
) -> None:
    script = f"""
import sys
from pathlib import Path
from pipeline.ports.ledger import Ledger
from pipeline.words.errors import Trouble
place = Path(sys.argv[1])
led = Ledger(f"sqlite:///{{place / 'ledger.sqlite'}}")
led.begin_run("{RUN}", "os", 1.0)
filler = place / "filler"
try:
    with filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
except OSError:
    pass
number = 0
try:
    while True:
        number += 1
        led.end_run("{RUN}", "failed", "long " * 2000)
except Trouble as error:
    print(error, error.hint)
filler.unlink()
led.end_run("{RUN}", "passed")
print(led.runs()[0].ending)
"""
    place = tmp_path / "small"
    place.mkdir()
    inside = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    enter = ["unshare", "--mount", "sh", "-c", inside, "sh"]
    argv = [*enter, str(place), sys.executable, script]
    done = process.run(argv, log=log, ok=())
    if "mount" in done.error_text and done.code != 0:
        pytest.skip(f"no file system can be mounted here: {done.error_text}")
    assert done.code == 0, done.error_text
    said = done.text.splitlines()
    assert f"no space left for {place / 'ledger.sqlite'}: 0 bytes free" in said[0]
    assert "make room (ostci clean)" in said[0]
    assert said[-1] == "passed"


def test_postgresql_takes_every_table() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in ledger_tables.metadata.sorted_tables:
        text = str(CreateTable(table).compile(dialect=dialect))
        assert f"CREATE TABLE {table.name}" in text


def test_the_plan_does_not_load_a_database_library(log: Log) -> None:
    script = "import sys, pipeline.cli.plan_command; print('sqlalchemy' in sys.modules)"
    assert process.run([sys.executable, "-c", script], log=log).text == "False"


# Results of tests


def suite_of(*verdicts: Verdict, commit: Commit = A, is_new: bool = False) -> SuiteResult:
    """Make a suite's result with a test for each verdict."""
    tests = tuple(
        TestResult(name=f"t{n}", verdict=one, attempts=2, failures=1, is_new=is_new)
        for n, one in enumerate(verdicts)
    )
    return replace(result(suite_verdict(verdicts), commit=commit), tests=tests)


def test_each_tests_history_is_of_its_trees_line(ledger: Ledger) -> None:
    ledger.begin_run(RUN, "os", 1.0)
    ledger.begin_run("20261124.1", "os", 2.0, kind="try")
    ledger.record_suite(RUN, suite_of(Verdict.PASSED, Verdict.FLAKY))
    ledger.record_suite(RUN, suite_of(Verdict.FAILED, commit=B, is_new=True))
    ledger.record_suite("20261124.1", suite_of(Verdict.FAILED))
    ledger.record_suite(RUN, replace(suite_of(Verdict.FAILED), tree="x86_64-devel"))
    ledger.record_suite(RUN, replace(suite_of(Verdict.FAILED), suite="smoke/t0"))
    found = ledger.tests.history("os", "x86_64-runtime", "smoke")
    assert [(one.commit, one.verdict, one.is_new) for one in found["t0"]] == [
        (B, Verdict.FAILED, True),
        (A, Verdict.PASSED, False),
    ]
    assert [(one.verdict, one.attempts, one.failures) for one in found["t1"]] == [
        (Verdict.FLAKY, 2, 1)
    ]
    assert ledger.tests.history("other", "x86_64-runtime", "smoke") == {}
    assert [row.flaky for row in ledger.attempts(A)] == [1, 0, 0, 0]
    assert [row["verdict"] for row in ledger.tests.of(A, "smoke/t0")] == ["failed"]


def test_the_baseline_is_what_was_promoted_last_and_not_this_commit(ledger: Ledger) -> None:
    where = ("os", "x86_64-runtime", "smoke")
    assert ledger.tests.baseline(*where, but="c" * 64) == {}
    ledger.record_suite(RUN, suite_of(Verdict.PASSED, Verdict.FAILED))
    ledger.record_suite(RUN, suite_of(Verdict.FAILED, Verdict.FAILED))
    ledger.record_suite(RUN, suite_of(Verdict.PASSED, commit=B))
    assert ledger.tests.baseline(*where, but="c" * 64) == {}
    promote(ledger, RUN, PromotionState.DONE)
    told = {"t0": Verdict.PASSED, "t1": Verdict.FAILED}
    assert ledger.tests.baseline(*where, but="c" * 64) == told
    assert ledger.tests.baseline(*where, but=A) == {}
    promote(ledger, "20261124.1", PromotionState.DONE, B)
    assert ledger.tests.baseline(*where, but="c" * 64) == {"t0": Verdict.PASSED}
    assert ledger.tests.baseline(*where, but=B) == told


def test_a_suite_has_a_baseline_once_it_has_passed_on_a_promoted_tree(ledger: Ledger) -> None:
    ledger.record_suite(RUN, result(Verdict.PASSED))
    ledger.record_suite(RUN, result(Verdict.FAILED, suite="upgrade"))
    ledger.record_suite(RUN, result(Verdict.PASSED, suite="upgrade", commit=B))
    where = ("os", "x86_64-runtime")
    assert ledger.tests.baselines(*where) == frozenset()
    promote(ledger, RUN, PromotionState.DONE)
    promote(ledger, RUN, PromotionState.HELD, B)
    assert ledger.tests.baselines(*where) == {"smoke"}
    with ledger.deciding() as sitting:
        assert sitting.baselines(*where) == {"smoke"}
        assert sitting.baselines("os", "x86_64-devel") == frozenset()


def test_a_promotion_keeps_the_budget_that_it_was_judged_by(ledger: Ledger) -> None:
    with ledger.deciding() as sitting:
        sitting.write(
            batch=1,
            run=RUN,
            osname="os",
            tree="x86_64-runtime",
            commit=A,
            previous=None,
            state=PromotionState.BEGUN,
            gate={"smoke": Need.REQUIRED, "installed": Need.REQUIRED},
            flaky={"installed": 2},
            reason="installed passed with 1 flaky, 2 allowed",
        )
    (row,) = ledger.promotions()
    assert row.gate == {"smoke": Need.REQUIRED, "installed": Need.REQUIRED}
    assert row.flaky == {"installed": 2}
    with ledger.deciding() as sitting:
        sitting.settle([row], PromotionState.DONE)
    assert ledger.promotions()[0].reason == "installed passed with 1 flaky, 2 allowed"


def test_old_results_go_and_those_of_promoted_commits_stay(ledger: Ledger) -> None:
    ledger.record_suite(RUN, suite_of(Verdict.PASSED))
    promote(ledger, RUN, PromotionState.DONE)
    for number in range(KEPT + 5):
        ledger.record_suite(RUN, suite_of(Verdict.PASSED, commit=Commit(f"{number:064x}")))
    assert ledger.tests.prune(dry=True) == 5
    assert ledger.tests.prune() == 5
    assert ledger.tests.prune() == 0
    (pasts,) = ledger.tests.history("os", "x86_64-runtime", "smoke").values()
    assert len(pasts) == KEPT + 1
    assert pasts[-1].commit == A and pasts[-2].commit == Commit(f"{5:064x}")
