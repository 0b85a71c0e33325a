# SPDX-License-Identifier: LGPL-2.1-or-later
"""Boot faults, each with the one cause that it has to be given: a seed is a number in this table.

What is spoilt is a step of the small guest's init (``tests/guests.py``), a file of the tree of
``manifests/tiny.yaml`` or of Debian's base, an option of the kernel, or what the manifest asks
for. ``python -m tests.faults --list`` prints the table, ``python -m tests.faults 3 17`` boots some
of it. ``make check`` boots those that are ``quick``, ``make soak`` all of them.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from pipeline.ports.log import Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.verdict import SuiteResult, Verdict
from tests import guests, spoilt
from tests.faults_guest import GUEST, Fault, On
from tests.faults_real import DEBIAN, TINY

__all__ = ["FAULTS", "QUICK", "Fault", "boot", "line_of", "wrong_with"]
FAULTS = (*GUEST, *TINY, *DEBIAN)
"""The seed of a fault is its place here, from 1 on."""
QUICK = tuple(one for one in FAULTS if one.quick)


def boot(one: Fault, scratch: Path, *, log: Log, cache: Path | None = None) -> SuiteResult:
    """Run the smoke suite on the spoilt system; ``scratch`` is a directory of one's own.

    Several that share a ``cache`` compile our own code once.
    """
    request = _request(one, scratch / "evidence", log)
    return run_suite(request, cache=cache or scratch / "cache", tmp=scratch / "tmp", log=log)


def _request(one: Fault, into: Path, log: Log) -> TestRequest:
    if one.on is On.GUEST:
        return guests.guest_request(one.layer, into, log=log, target=one.target)  # type: ignore[arg-type]
    make = spoilt.tiny_request if one.on is On.TINY else spoilt.debian_request
    return make(one.layer, into, options=one.options, smoke=one.smoke, log=log)


def wrong_with(one: Fault, result: SuiteResult) -> str:
    """Say what is not as it should be with what the suite said; empty where all is."""
    if (result.verdict, result.cause) != (Verdict.FAILED, one.cause):
        return f"it is {result.verdict} ({result.cause}), not {one.cause}: {result.message}"
    if one.message not in result.message:
        return f"it says {result.message!r}, not {one.message!r}"
    return ""


def line_of(seed: int, one: Fault, seconds: float | None = None) -> str:
    """Write a line of the table."""
    took = "" if seconds is None else f"{seconds:7.1f} s"
    return f"{seed:3}  {one.on:6}  {one.name:68}  {one.cause:18}{took}"


def main() -> int:
    """Print the table, or boot some of it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults", description=__doc__, epilog="example: … --list"
    )
    parser.add_argument("seeds", nargs="*", type=int, help="numbers of the table; none: all")
    parser.add_argument("--list", action="store_true", help="only print the table")
    options = parser.parse_args()
    bad = 0
    for seed in options.seeds or range(1, len(FAULTS) + 1):
        one = FAULTS[seed - 1]
        if options.list:
            sys.stdout.write(line_of(seed, one) + "\n")
            continue
        with tempfile.TemporaryDirectory(prefix="ostci-fault-") as name:
            started = time.monotonic()
            wrong = wrong_with(one, boot(one, Path(name), log=Log()))
            took = time.monotonic() - started
        bad += bool(wrong)
        sys.stdout.write(f"{line_of(seed, one, took)}{'  WRONG: ' if wrong else ''}{wrong}\n")
        sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
