# SPDX-License-Identifier: LGPL-2.1-or-later
"""A system whose initramfs is made by its own dracut: built, booted and promoted."""

import json
from pathlib import Path

import pytest

from pipeline.cli.house import init
from tests.work import TOP, run_ostci

pytestmark = [pytest.mark.vm, pytest.mark.full]
MANIFEST = TOP / "tests" / "data" / "dracut.yaml"
LARGER_THAN = 12 * 1024**2
"""Bytes; ours for virtual machines has a third of that."""


def test_a_system_boots_by_the_initramfs_of_its_own_dracut(tmp_path: Path) -> None:
    work = tmp_path / "work"
    init(work, MANIFEST)
    run_ostci(work, "run")
    record = json.loads((work / "last-run" / "run.json").read_text())
    assert set(record["promoted"]) == {"x86_64-runtime"}
    (initramfs,) = (work / "disks").glob("*.initramfs")
    assert initramfs.stat().st_size > LARGER_THAN
