# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the master watches when the manifest is broken."""

from pathlib import Path

import pytest

from pipeline.master.looking import Looking
from pipeline.ports.master_settings import MasterSettings
from pipeline.words.manifest_text import read_manifest
from pipeline.words.records import to_json
from pipeline.words.refs import Key
from pipeline.words.snapshot import BasePin, Snapshot
from tests.work import TINY, Work

BROKEN = "osname: [\n"


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(TINY, tmp_path)


def looking(work: Work) -> Looking:
    workdir = work.house().workdir
    manifest = work.sample.manifest
    told = MasterSettings(home=work.root, workdir=workdir, manifest=manifest, ledger_url="")
    return Looking(told)


def resolved(work: Work) -> None:
    """Leave a run as ``ostci resolve`` does."""
    path = work.sample.manifest
    manifest = read_manifest(path.read_text(), str(path), relative_to=str(path.parent)).manifest
    assert manifest is not None
    run = work.house().workdir.new_run()
    snapshot = Snapshot(manifest=manifest, pins={}, base=BasePin(key=Key("0" * 64)))
    run.file("snapshot").write_text(to_json(snapshot))
    run.file("resolve").write_text('{"failures": {}, "overrides": {}}')


def test_a_manifest_that_was_never_good_says_that_nothing_is_watched(work: Work) -> None:
    work.sample.manifest.write_text(BROKEN)
    seen = looking(work).see()
    assert seen.problem.startswith("the manifest is broken, nothing is watched: ")
    assert not seen.branches


def test_a_manifest_broken_while_the_master_was_away_leaves_that_of_the_newest_run(
    work: Work,
) -> None:
    good = looking(work).see().branches
    resolved(work)
    work.sample.manifest.write_text(BROKEN)
    seen = looking(work).see()
    assert seen.problem.startswith("the manifest is broken, the last good one is in force: ")
    assert seen.branches == good and seen.changed


def test_a_file_that_is_back_as_it_was_is_good_again(work: Work) -> None:
    path = work.sample.manifest
    mine = looking(work)
    assert mine.see().problem == ""
    aside = path.with_name("aside")
    path.rename(aside)
    assert "is broken" in mine.see().problem
    aside.rename(path)
    assert mine.see().problem == ""


def test_a_manifest_that_came_while_one_was_recorded_is_recorded_too(work: Work) -> None:
    path = work.sample.manifest
    mine = looking(work)
    first = mine.see()
    path.write_text(path.read_text() + "\n")
    second = mine.see()
    mine.recorded(first)
    assert mine.see().changed
    mine.recorded(second)
    assert not mine.see().changed
