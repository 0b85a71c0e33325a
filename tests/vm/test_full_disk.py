# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that is full at each stage of the chain, and the same command once there is room again."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.small_disk import small_disk
from tests.work import TINY, Work

pytestmark = [pytest.mark.vm, pytest.mark.slow]
STAGES = ("base", "resolve", "build", "compose", "disk", "test", "promote")
ALMOST_NOTHING = 200_000
"""Bytes: enough to begin a stage, not to do it."""
SIZE = "2g"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "full", SIZE) as path:
        yield path


@contextmanager
def _filled(place: Path, keep: int) -> Iterator[None]:
    status = os.statvfs(place)
    ballast = place / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, status.f_bavail * status.f_frsize - keep)
    try:
        yield
    finally:
        ballast.unlink()


def test_each_stage_is_trouble_on_a_full_disk_and_goes_on_once_there_is_room(place: Path) -> None:
    work = Work(TINY, place)
    for stage in STAGES:
        for keep in (0, ALMOST_NOTHING):
            with _filled(place, keep):
                said = work.ostci(stage, code=3)
            told = said.err.splitlines()
            wanted = re.escape(f"no space left for {place}") + r"\S*: \d+ bytes free"
            assert any(re.search(wanted, line) for line in told), (stage, keep, said.err)
            assert any("make room" in line for line in told[-2:]), (stage, keep, said.err)
        work.ostci(stage)
    work.check_whole()
    assert len(work.heads()) == 2
    assert work.processes() == []
