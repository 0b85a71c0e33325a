# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every start puts right what a killed one left: records, ledger, promotions."""

import time
from pathlib import Path

import pytest

from pipeline.cli.house import House, init
from pipeline.cli.record import MENDED, read_record, write_record
from pipeline.cli.repair import locked
from pipeline.ports.ledger import PromotionState
from pipeline.words.manifest import Need
from pipeline.words.run import RunEnding, RunRecord
from tests.shipping import ARCH, OSNAME, PASSED, Shop, manifest

RUNTIME = f"{ARCH}-runtime"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory."""
    (tmp_path / "os.yaml").write_text("a manifest that cannot be read: [\n")
    init(tmp_path / "work", tmp_path / "os.yaml")
    return Shop(tmp_path / "work", manifest())


def start(shop: Shop) -> None:
    """Be the next command that takes the work directory."""
    with locked(House(shop.root, log=shop.log), "test", wait_s=0.0):
        pass


def record_of(version: str, ending: RunEnding) -> RunRecord:
    """Make a run's record."""
    return RunRecord(
        version=version,
        osname=OSNAME,
        manifest="os.yaml",
        started=time.time(),
        pid=1,
        ending=ending,
        message="why",
    )


def test_a_run_that_was_killed_is_interrupted_in_both_places(shop: Shop) -> None:
    run = shop.workdir.new_run()
    write_record(run, record_of(run.version, RunEnding.RUNNING))
    shop.ledger.begin_run(run.version, OSNAME, 1.0)
    start(shop)
    assert read_record(run).ending is RunEnding.INTERRUPTED
    (row,) = shop.ledger.runs()
    assert (row.ending, row.message) == ("interrupted", MENDED)


def test_an_ending_that_did_not_reach_the_ledger_is_brought_there(shop: Shop) -> None:
    run = shop.workdir.new_run()
    write_record(run, record_of(run.version, RunEnding.FAILED))
    shop.ledger.begin_run(run.version, OSNAME, 1.0)
    start(shop)
    (row,) = shop.ledger.runs()
    assert (row.ending, row.message) == ("failed", "why")


def test_a_promotion_that_was_decided_is_finished_though_the_manifest_is_broken(
    shop: Shop,
) -> None:
    shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "two")
    shop.judge("20261124.1", trees, PASSED)
    with shop.ledger.deciding() as sitting:
        batch = sitting.new_batch()
        for tree in trees:
            sitting.write(
                batch=batch,
                run="20261124.1",
                osname=OSNAME,
                tree=tree.name,
                commit=tree.commit,
                previous=None,
                state=PromotionState.BEGUN,
                gate={"smoke": Need.REQUIRED},
            )
    start(shop)
    assert "warning: the promotion of run 20261124.1 was finished" in shop.sink.texts()
    assert shop.buildmaster() == (trees[0].commit, trees[0].commit)
    assert shop.violations() == []


def test_a_work_directory_without_a_ledger_is_left_alone(shop: Shop) -> None:
    start(shop)
    assert not shop.workdir.ledger.exists()
    assert not (shop.workdir.archive / "config").exists()
