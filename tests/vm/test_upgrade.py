# SPDX-License-Identifier: LGPL-2.1-or-later
"""The suites that move a guest from tree to tree, on guests that boot in seconds."""

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.stages.testing.needs import Beside
from pipeline.words.suite import NO_BASELINE, Baseline
from pipeline.words.verdict import SuiteResult, Verdict
from tests import machines
from tests.ostree_guests import OSNAME, Upgrading, upgrading

pytestmark = [pytest.mark.vm, pytest.mark.slow]


@pytest.fixture(scope="module")
def guests() -> Upgrading:
    return upgrading(Log())


def run(request: TestRequest, tmp: Path, log: Log) -> SuiteResult:
    return run_suite(request, cache=tmp / "cache", tmp=tmp / "tmp", log=log)


def request_of(guests: Upgrading, suite: str, into: Path, log: Log) -> TestRequest:
    """Ask for a suite on a tree that is one file newer than what was promoted before."""
    old = guests.tree_of({"/usr/share/greeting": "old\n"}, time_s=1)
    new = guests.tree_of({"/usr/share/greeting": "new\n"}, time_s=2)
    old_disk = guests.disk_of(old, log=log)
    return TestRequest(
        run=machines.VERSION,
        tree=new,
        target=guests.target,
        disk=replace(old_disk, commit=new.commit),  # nobody boots it
        suite=suite,
        into=into,
        repo=guests.repo.path,
        beside=Beside(osname=OSNAME, baseline=Baseline(tree=old, disk=old_disk)),
    )


def bad(result: SuiteResult) -> list[str]:
    return [one.log for one in result.tests if one.verdict is not Verdict.PASSED]


def test_what_was_promoted_last_upgrades(guests: Upgrading, tmp_path: Path, log: Log) -> None:
    result = run(request_of(guests, "upgrade", tmp_path / "evidence", log), tmp_path, log)
    assert (result.verdict, bad(result)) == (Verdict.PASSED, [])
    assert len(result.tests) == 12


def test_a_tree_that_cannot_boot_falls_back(guests: Upgrading, tmp_path: Path, log: Log) -> None:
    counting = replace(guests, target=replace(guests.target, boot_tries=2))
    result = run(request_of(counting, "rollback", tmp_path / "evidence", log), tmp_path, log)
    assert (result.verdict, bad(result)) == (Verdict.PASSED, [])
    assert len(result.tests) == 4
    told = (tmp_path / "evidence/log.txt").read_text()
    assert "boot 2 of ostree-3-tiny failed: init-died" in told
    assert "+0-2.conf" in told


def test_with_nothing_promoted_it_is_skipped_by_name(
    guests: Upgrading, tmp_path: Path, log: Log
) -> None:
    request = request_of(guests, "upgrade", tmp_path / "evidence", log)
    for beside, cause, why in (
        (Beside(is_first=True), NO_BASELINE, "no baseline: nothing else was promoted yet"),
        (Beside(why_no_baseline="it is gone"), "", "no baseline here: it is gone"),
    ):
        result = run(replace(request, beside=beside), tmp_path, log)
        assert (result.verdict, result.cause) == (Verdict.SKIPPED, cause)
        assert result.message == why


@pytest.mark.full
def test_it_goes_to_the_other_target_and_comes_back(
    guests: Upgrading, tmp_path: Path, log: Log
) -> None:
    runtime = guests.tree_of({"/usr/share/greeting": "runtime\n"}, time_s=1)
    devel = guests.tree_of({"/usr/share/compiler": "devel\n"}, time_s=1, target="devel")
    request = replace(
        request_of(guests, "switch", tmp_path / "evidence", log),
        tree=runtime,
        disk=guests.disk_of(runtime, log=log),
        beside=Beside(osname=OSNAME, other=devel),
    )
    result = run(request, tmp_path, log)
    assert (result.verdict, bad(result)) == (Verdict.PASSED, [])
    assert len(result.tests) == 5
    told = (tmp_path / "evidence/log.txt").read_text()
    assert "0 objects were fetched for x86_64-runtime" in told


def test_what_a_boot_takes_is_told_in_figures(guests: Upgrading, tmp_path: Path, log: Log) -> None:
    made = machines.tiny_disk(log)
    request = TestRequest(
        run=machines.VERSION,
        tree=made.tree,
        target=made.target,
        disk=made.disk,
        suite="memory",
        into=tmp_path / "evidence",
        repo=guests.repo.path,
    )
    result = run(request, tmp_path, log)
    assert result.verdict is Verdict.PASSED
    skipped = {one.name: one.message for one in result.tests if one.verdict is Verdict.SKIPPED}
    assert skipped == {"test_the_slowest_units": "the tree has no systemd-analyze"}
    assert result.numbers["boot_s"] > 0
    assert 1024**2 < result.numbers["memory_bytes"] < made.target.memory
    assert result.numbers["tree_bytes"] > result.numbers["initramfs_bytes"] > 1024**2
