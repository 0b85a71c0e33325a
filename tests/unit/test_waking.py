# SPDX-License-Identifier: LGPL-2.1-or-later
"""The program that wakes a copy, as far as it can be tried on the machine that tests it."""

import platform
import subprocess
from pathlib import Path

import pytest

from pipeline.words.waking import wake_program


def test_there_is_none_for_an_architecture_that_nobody_wrote_it_for() -> None:
    assert wake_program("riscv64") is None


@pytest.mark.skipif(platform.machine() != "x86_64", reason="it is a program for x86_64")
def test_it_runs_and_tells_that_it_could_not(tmp_path: Path) -> None:
    program = wake_program("x86_64")
    assert program is not None
    path = tmp_path / "wake"
    path.write_bytes(program)
    path.chmod(0o755)
    # A time beyond all years is refused by every kernel, to root too.
    assert subprocess.run([path, "9999999999999999"], check=False).returncode > 0
