# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a clean boot takes. Nothing is judged here: figures are kept with the commit and compared.

They end up in the report as ``boot_s``, ``memory_bytes``, ``tree_bytes``, ``initramfs_bytes``,
``files`` and, for the slowest units, ``unit:NAME``.
"""

import pytest

from pipeline.words.growth import figure
from vmtests.bench import Bench
from vmtests.following import GuestFailed
from vmtests.machine import Machine
from vmtests.measured import memory_in_use, slowest

pytestmark = pytest.mark.cold


def test_it_boots(machine: Machine) -> None:
    outcome = machine.watch.outcome
    if outcome.cause is not None:
        raise GuestFailed(outcome.message, cause=outcome.cause)


def test_memory_after_the_boot(machine: Machine, bench: Bench) -> None:
    used = memory_in_use(machine.succeeds(["cat", "/proc/meminfo"]))
    bench.figures["memory_bytes"] = used
    machine.note(f"memory_bytes {figure('memory_bytes', used)}")


def test_the_size_of_the_tree_and_its_initramfs(machine: Machine, bench: Bench) -> None:
    sizes = bench.parameters.sizes
    if not sizes:
        pytest.skip("the repository with the tree is not here")
    bench.figures |= {name: float(value) for name, value in sizes.items()}
    for name, value in bench.figures.items():
        if name in sizes:
            machine.note(f"{name} {figure(name, value)}")


def test_the_slowest_units(machine: Machine, bench: Bench) -> None:
    if not machine.has("systemd-analyze"):
        pytest.skip("the tree has no systemd-analyze")
    said = machine.succeeds(["systemd-analyze", "blame", "--no-pager"], timeout_s=30.0)
    found = slowest(said)
    assert found, said
    bench.figures |= {f"unit:{unit}": seconds for unit, seconds in found.items()}
    for unit, seconds in found.items():
        machine.note(f"{seconds:.3f} s {unit}")
