# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a test takes in a fork and after a boot; run by ``tests/bench/bench_fork.py``."""

import time
from concurrent.futures import ThreadPoolExecutor

from vmtests.bench import Bench
from vmtests.forks import at_once
from vmtests.machine import Machine

ROUNDS = 3
FORKS = 4
"""Forks in each round, beside one boot."""
MANY = 8


def in_fork(bench: Bench, name: str) -> float:
    """Do the smallest test in a fork, from nothing to nothing; tells the seconds."""
    began = time.monotonic()
    with bench.fork(name) as machine:
        machine.succeeds(["true"])
    return time.monotonic() - began


def booted(bench: Bench, name: str) -> float:
    """Do the same after a boot of its own."""
    began = time.monotonic()
    machine: Machine = bench.another(name)
    try:
        machine.boot()
        machine.succeeds(["true"])
    finally:
        machine.close()
        machine.forget()
    return time.monotonic() - began


def test_how_long(bench: Bench) -> None:
    assert bench.can_fork()
    forks: list[float] = []
    boots: list[float] = []
    in_fork(bench, "warm")
    for number in range(ROUNDS):
        boots.append(booted(bench, f"cold{number}"))
        forks += [in_fork(bench, f"fork-{number}-{at}") for at in range(FORKS)]
    began = time.monotonic()
    for number in range(MANY):
        in_fork(bench, f"serial-{number}")
    serial_s = time.monotonic() - began
    began = time.monotonic()
    with ThreadPoolExecutor(max_workers=at_once(bench.parameters)) as pool:
        list(pool.map(lambda number: in_fork(bench, f"beside-{number}"), range(MANY)))
    parallel_s = time.monotonic() - began
    found = {"forks": forks, "boots": boots, "serial": serial_s, "parallel": parallel_s}
    bench.evidence.write("bench.json", found)
