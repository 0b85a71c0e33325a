# SPDX-License-Identifier: LGPL-2.1-or-later
"""A system whose initramfs is made by its own dracut: built, booted and promoted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.house import init

pytestmark = [pytest.mark.vm, pytest.mark.full]
TOP = Path(__file__).resolve().parents[2]
MANIFEST = TOP / "tests" / "data" / "dracut.yaml"
LARGER_THAN = 12 * 1024**2
"""Bytes; ours for virtual machines has a third of that."""


def test_a_system_boots_by_the_initramfs_of_its_own_dracut(tmp_path: Path) -> None:
    work = tmp_path / "work"
    init(work, MANIFEST)
    argv = [sys.executable, "-m", "pipeline.cli.main", "-C", str(work), "run"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=TOP)
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads((work / "last-run" / "run.json").read_text())
    assert set(record["promoted"]) == {"x86_64-runtime"}
    (initramfs,) = (work / "disks").glob("*.initramfs")
    assert initramfs.stat().st_size > LARGER_THAN
