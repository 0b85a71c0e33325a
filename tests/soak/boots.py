# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot trees that are as they should be, again and again: nothing may be said against them.

Every tenth is Debian, the others are of ``manifests/tiny.yaml``. The evidence of a false alarm is
kept in ``build/false-alarms``.
"""

import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.stages.test import run_suite
from pipeline.words.verdict import Verdict
from tests import spoilt
from tests.soak.state import State

COUNT = 200
EACH_DEBIAN = 10
KEPT = Path(__file__).resolve().parents[2] / "build" / "false-alarms"


def boots(state: State, count: int) -> Generator[str, None, None]:
    """Boot up to a number of times in all; raises AssertionError at the end for false alarms."""
    with tempfile.TemporaryDirectory(prefix="ostci-soak-cache-") as cache:
        while (number := state.count("boots") + 1) <= count:
            entry = _boot(number, Path(cache))
            state.add("boots", entry)
            told = entry["said"] or "passed"
            up = f"{entry['system']:6} up in {entry['boot_s']:.1f} s"
            yield f"boot {number} of {count}: {up}, {entry['seconds']:.1f} s in all: {told}"
    wrong = [entry for entry in state.done.get("boots", []) if entry["said"]]
    if wrong:
        lines = [f"{one['number']} ({one['system']}): {one['said']}" for one in wrong]
        raise AssertionError("\n".join([f"false alarms, see {KEPT}:", *lines]))


def _boot(number: int, cache: Path) -> dict[str, Any]:
    """Boot once; what all boots share, our own code compiled, is in ``cache``."""
    name = "tiny" if number % EACH_DEBIAN else "debian"
    ask = spoilt.tiny_request if name == "tiny" else spoilt.debian_request
    scratch = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
    started = time.monotonic()
    try:
        request = ask({}, scratch / "evidence", log=Log())
        result = run_suite(request, cache=cache, tmp=scratch / "tmp", log=Log())
        said = "" if result.verdict is Verdict.PASSED else f"{result.cause}: {result.message}"
        if said:
            shutil.copytree(scratch / "evidence", KEPT / str(number), dirs_exist_ok=True)
    finally:
        remove_tree(scratch)
    entry = {"number": number, "system": name, "said": said}
    boot_s, took = result.numbers.get("boot_s", 0.0), time.monotonic() - started
    return {**entry, "boot_s": boot_s, "seconds": round(took, 1)}
