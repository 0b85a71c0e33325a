# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a process was kept waiting, by the kernel's own count."""

import os
import subprocess
import sys
import time
from pathlib import Path

from pipeline.ports.starving import Starving


def _write(proc: Path, **times_s: tuple[float, float]) -> None:
    for thread, (ran, waited) in times_s.items():
        place = proc / "7/task" / thread[1:]
        place.mkdir(parents=True, exist_ok=True)
        (place / "schedstat").write_text(f"{round(ran * 1e9)} {round(waited * 1e9)} 42\n")


def test_the_thread_that_waited_longest_counts(tmp_path: Path) -> None:
    now = [100.0]
    _write(tmp_path, t1=(1.0, 5.0), t2=(0.0, 0.0))
    starving = Starving(7, proc=tmp_path, clock=lambda: now[0])
    now[0] += 2.0
    _write(tmp_path, t1=(2.0, 5.5), t2=(0.5, 1.5))
    assert starving.look() == 1.5
    now[0] += 1.0
    assert starving.look() == 0.0


def test_a_thread_that_hardly_runs_has_nothing_to_do(tmp_path: Path) -> None:
    now = [100.0]
    _write(tmp_path, t1=(1.0, 5.0))
    starving = Starving(7, proc=tmp_path, clock=lambda: now[0])
    now[0] += 8.0
    _write(tmp_path, t1=(1.125, 11.0))
    assert starving.look() == 1.25


def test_a_quarter_of_the_time_counts_always(tmp_path: Path) -> None:
    now = [100.0]
    _write(tmp_path, t1=(1.0, 5.0))
    starving = Starving(7, proc=tmp_path, clock=lambda: now[0])
    now[0] += 4.0
    _write(tmp_path, t1=(3.0, 25.0))
    assert starving.look() == 3.0


def test_a_process_that_is_gone_is_not_kept_waiting(tmp_path: Path) -> None:
    assert Starving(7, proc=tmp_path).look() == 0.0


def test_the_kernel_counts_what_two_busy_processes_wait_for_one_processor() -> None:
    busy = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\nwhile 1: pass"
    both = [subprocess.Popen([sys.executable, "-c", busy]) for _ in range(2)]
    try:
        starving, until = Starving(both[0].pid), time.monotonic() + 30
        while not starving.look():
            assert time.monotonic() < until, "it was never kept waiting"
    finally:
        for one in both:
            one.kill()
            one.wait()
