# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m tests.soak``: long campaigns. Ctrl-C stops; the same command goes on from there.

What was done is in ``build/soak.json``, one entry an instant or boot; ``--anew`` forgets it.
"""

import argparse
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from pipeline.words.errors import Interrupted
from tests.soak import boots, faults, installed, kills, pairs
from tests.soak.state import Campaign, State

TOP = Path(__file__).resolve().parents[2]
KILLS = 100
MASTER_KILLS = 150
"""Fifty each of master, worker and supervisor."""
_STOPPED = "stopped; the same command goes on from here"
CAMPAIGNS: Mapping[str, tuple[Campaign, str]] = {
    "kill": (kills.kill, "kills of the chain"),
    "kill-master": (kills.kill_master, "kills of master, worker and supervisor"),
    "faults": (faults.faults, "boots of faults, each with its cause"),
    "boots": (boots.boots, "clean boots without a false alarm"),
    "pairs": (pairs.pairs, "tests that come to the same in forks and after boots"),
    "installed": (installed.installed, "installed tests of Debian's ostree and GLib"),
}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak",
        description=__doc__,
        epilog="example: python -m tests.soak --only faults --minutes 30",
    )
    parser.add_argument("--only", choices=CAMPAIGNS, help="one campaign; else all, in turn")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--master-kills", type=int, default=MASTER_KILLS)
    parser.add_argument("--faults", type=int, default=faults.COUNT, help="the first so many")
    parser.add_argument("--boots", type=int, default=boots.COUNT)
    parser.add_argument("--pairs", type=int, default=pairs.PAIRS, help="the first so many")
    parser.add_argument("--installed", type=int, default=installed.COUNT, help="the first so many")
    parser.add_argument("--minutes", type=float, default=0.0, help="stop after so long (no limit)")
    parser.add_argument("--anew", action="store_true", help="forget what was done")
    return parser.parse_args()


def main() -> int:
    """Go on with every campaign until its end or the given time."""
    options = _options()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Also where a shell that put us into the background has them ignored.
        signal.signal(number, signal.default_int_handler)
    counts = {
        "kill": options.kills,
        "kill-master": options.master_kills,
        "faults": options.faults,
        "boots": options.boots,
        "pairs": options.pairs,
        "installed": options.installed,
    }
    names = [options.only] if options.only else list(CAMPAIGNS)
    state = State(TOP / "build" / "soak.json")
    if options.anew:
        for name in names:
            state.forget(name)
    until = time.monotonic() + options.minutes * 60 if options.minutes else float("inf")
    wrong = False
    try:
        for name in names:
            with closing(CAMPAIGNS[name][0](state, counts[name])) as lines:
                try:
                    for line in lines:
                        _tell(line)
                        if time.monotonic() >= until:
                            _tell(_STOPPED)
                            return 1 if wrong else 0
                except AssertionError as error:
                    if name in ("kill", "kill-master"):
                        raise
                    # What boots say against each other is looked at afterwards, all of it.
                    wrong = True
                    _tell(str(error))
    except KeyboardInterrupt:
        _tell(_STOPPED)
        return Interrupted.exit_code
    if wrong:
        return 1
    _tell("; ".join(f"{state.count(name)} {CAMPAIGNS[name][1]}" for name in names))
    return 0


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
