# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot every fault of the table: each has to be caught, with its own cause.

The evidence of one that is given another is kept in ``build/wrong-causes``.
"""

import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from tests.faults import FAULTS, Fault, boot, line_of, wrong_with
from tests.soak.state import State

COUNT = len(FAULTS)
KEPT = Path(__file__).resolve().parents[2] / "build" / "wrong-causes"


def faults(state: State, count: int) -> Generator[str, None, None]:
    """Boot those that were not, in the table's order; what was wrong is told at the end.

    Raises AssertionError then. What was wrong is booted again by the next call.
    """
    done = {entry["name"] for entry in state.done.get("faults", []) if not entry["wrong"]}
    wrong_ones = []
    with tempfile.TemporaryDirectory(prefix="ostci-faults-") as cache:
        for seed, one in enumerate(FAULTS[:count], 1):
            if one.name in done:
                continue
            entry = _boot_and_note(seed, one, Path(cache), state)
            wrong = entry["wrong"]
            if wrong:
                wrong_ones.append(f"{seed}: {one.name}: {wrong}")
            yield line_of(seed, one, entry["seconds"]) + (f"  WRONG: {wrong}" if wrong else "")
    if wrong_ones:
        raise AssertionError("\n".join([f"other causes than theirs, see {KEPT}:", *wrong_ones]))


def _boot_and_note(seed: int, one: Fault, cache: Path, state: State) -> dict[str, Any]:
    scratch = Path(tempfile.mkdtemp(prefix="ostci-fault-"))
    started = time.monotonic()
    try:
        result = boot(one, scratch, log=Log(), cache=cache)
        wrong = wrong_with(one, result)
        if wrong:
            shutil.copytree(scratch / "evidence", KEPT / str(seed), dirs_exist_ok=True)
    finally:
        remove_tree(scratch)
    entry = {"seed": seed, "name": one.name, "cause": result.cause, "wrong": wrong}
    entry |= {"message": result.message, "seconds": round(time.monotonic() - started, 1)}
    state.add("faults", entry)
    return entry
