# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine that is started again after a test that took it down, a few times a suite."""

import pytest

from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.following import GuestFailed
from vmtests.machine import Machine

_MOST_RESTARTS = 3
_restarts = [0]


def standing(bench: Bench) -> Machine:
    """Have a machine whose boot is complete; whatever else that shows is the smoke suite's."""
    found = bench.booted()
    if found.is_alive() and found.watch.is_complete:
        return found
    if _restarts[0] >= _MOST_RESTARTS:
        pytest.skip("the machine is gone, as the tests before tell")
    if found.watch.is_reached:
        _restarts[0] += 1
        # Not closed: what QEMU has not written out yet of its layer would be lost.
        found.crash()
        found.start()
        found.wait_for_boot()
    if not found.watch.is_complete:
        # Nor would it boot for the next one.
        _restarts[0] = _MOST_RESTARTS
        outcome = found.watch.outcome
        raise GuestFailed(
            f"the boot failed: {outcome.message}", cause=outcome.cause or Cause.DEADLINE
        )
    return found
