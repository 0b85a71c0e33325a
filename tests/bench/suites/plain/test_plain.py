# SPDX-License-Identifier: LGPL-2.1-or-later
"""A boot alone, its evidence kept as for every suite. Run by ``bench_smoke``."""

from vmtests.machine import Machine


def test_it_boots(machine: Machine) -> None:
    assert machine.watch.outcome.cause is None
