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
    while (number := state.count("boots")) < count:
        name = "debian" if number % EACH_DEBIAN == EACH_DEBIAN - 1 else "tiny"
        scratch = Path(tempfile.mkdtemp(prefix="ostci-soak-"))
        started = time.monotonic()
        try:
            ask = spoilt.debian_request if name == "debian" else spoilt.tiny_request
            request = ask({}, scratch / "evidence", log=Log())
            result = run_suite(request, cache=scratch / "cache", tmp=scratch / "tmp", log=Log())
            said = "" if result.verdict is Verdict.PASSED else f"{result.cause}: {result.message}"
            if said:
                shutil.copytree(scratch / "evidence", KEPT / str(number + 1), dirs_exist_ok=True)
        finally:
            remove_tree(scratch)
        took = time.monotonic() - started
        boot_s = result.numbers.get("boot_s", 0.0)
        entry = {"number": number + 1, "system": name, "said": said}
        state.add("boots", {**entry, "boot_s": boot_s, "seconds": round(took, 1)})
        told = said or "passed"
        yield f"boot {number + 1} of {count}: {name:6} up in {boot_s:.1f} s: {told}"
    wrong = [entry for entry in state.done.get("boots", []) if entry["said"]]
    if wrong:
        lines = [f"{one['number']} ({one['system']}): {one['said']}" for one in wrong]
        raise AssertionError("\n".join([f"false alarms, see {KEPT}:", *lines]))
