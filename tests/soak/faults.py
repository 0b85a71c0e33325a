# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot every fault of the table: each has to be caught, with its own cause."""

import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from tests.faults import FAULTS, boot, line_of, wrong_with
from tests.soak.state import State

COUNT = len(FAULTS)


def faults(state: State, count: int) -> Generator[str, None, None]:
    """Boot those that were not, in the table's order; what was wrong is told at the end.

    Raises AssertionError then. What was wrong is booted again by the next call.
    """
    done = {entry["name"] for entry in state.done.get("faults", []) if not entry["wrong"]}
    wrong_ones = []
    for seed, one in enumerate(FAULTS[:count], 1):
        if one.name in done:
            continue
        scratch = Path(tempfile.mkdtemp(prefix="ostci-fault-"))
        started = time.monotonic()
        try:
            result = boot(one, scratch, log=Log())
        finally:
            remove_tree(scratch)
        took = time.monotonic() - started
        wrong = wrong_with(one, result)
        entry = {"seed": seed, "name": one.name, "cause": result.cause, "wrong": wrong}
        state.add("faults", {**entry, "message": result.message, "seconds": round(took, 1)})
        if wrong:
            wrong_ones.append(f"{seed}: {one.name}: {wrong}")
        yield line_of(seed, one, took) + (f"  WRONG: {wrong}" if wrong else "")
    if wrong_ones:
        raise AssertionError("\n".join(["faults with another cause than theirs:", *wrong_ones]))
