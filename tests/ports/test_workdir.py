# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs get versions by day, directories of their own, and are found again."""

import threading

import pytest

from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput

NOON = 1795521600.0  # 2026-11-24 12:00 UTC


def test_runs_of_a_day_are_numbered_from_zero(workdir: Workdir) -> None:
    assert [workdir.new_run(NOON).version for _ in range(3)] == [
        "20261124.0",
        "20261124.1",
        "20261124.2",
    ]
    assert workdir.new_run(NOON + 86400).version == "20261125.0"


def test_versions_are_sorted_by_number_not_by_letters(workdir: Workdir) -> None:
    made = [workdir.new_run(NOON).version for _ in range(11)]
    assert workdir.versions() == made


def test_two_that_make_a_run_at_once_get_different_ones(workdir: Workdir) -> None:
    made: list[str] = []

    def make() -> None:
        for _ in range(20):
            made.append(workdir.new_run(NOON).version)

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 80


def test_a_run_is_found_by_its_version(workdir: Workdir) -> None:
    run = workdir.new_run(NOON)
    assert workdir.run(run.version).path == workdir.runs / "2026/11/24/0"
    assert (workdir.root / "last-run").resolve() == run.path


@pytest.mark.parametrize("version", ["20261124.7", "latest", "../..", "20261124.0/.."])
def test_what_is_no_run_is_refused(workdir: Workdir, version: str) -> None:
    workdir.new_run(NOON)
    with pytest.raises(BadInput, match="there is no run") as refused:
        workdir.run(version)
    assert refused.value.hint == "ostci log lists them"


def test_the_directory_of_the_key_is_for_its_owner_alone(workdir: Workdir) -> None:
    assert workdir.keys.stat().st_mode & 0o777 == 0o700


def test_what_a_killed_run_left_in_tmp_goes(workdir: Workdir) -> None:
    locked = workdir.tmp / "tree" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o500)
    workdir.empty_tmp()
    assert list(workdir.tmp.iterdir()) == []
