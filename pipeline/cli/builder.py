# SPDX-License-Identifier: LGPL-2.1-or-later
"""Commands that go on in the home of this machine's worker, as its user, on this terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.house import House
from pipeline.ports import process
from pipeline.ports.terminal import restored
from pipeline.ports.worker_user import in_builder


def go_on_as_builder(house: House, words: Sequence[str]) -> int:
    """Give a command of ``ostci`` there; tells its exit code. Raises BadInput as ``in_builder``."""
    return go_on(in_builder(house.workdir.root, words), house, cwd=Path("/"))


def go_on(argv: Sequence[str | Path], house: House, *, cwd: Path | None = None) -> int:
    """Run a program with this terminal until it ends; tells its exit code."""
    child = process.start(
        argv, log=house.log, cwd=cwd, stdin=sys.stdin.fileno(), stdout=None, stderr=None
    )
    with restored(), child as running:
        while (code := running.wait(1.0)) is None:
            pass
    return code
