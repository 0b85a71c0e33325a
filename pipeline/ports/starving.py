# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a process wanted to run and could not, because the host had other things to do.

Linux counts it by thread: https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
"""

import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")
_IDLE = 10.0
"""Waiting for so many times as long as it ran, a thread has little to do: it only wakes late."""
_MOST = 0.75
"""Of the time that passes: on the busiest host, too, somebody's patience ends."""


class Starving:
    """Follows one process, which may have several threads; those come and go."""

    def __init__(
        self, pid: int, *, proc: Path = _PROC, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tasks = proc / str(pid) / "task"
        self._clock = clock
        self._seen = self._times()
        self._looked = clock()

    def look(self) -> float:
        """Tell for how many seconds it was kept waiting since the last look.

        That is what the thread waited that waited longest, and 0 where nothing can be told.
        """
        times, now = self._times(), self._clock()
        longest = 0.0
        for thread, (ran, waited) in times.items():
            ran_before, waited_before = self._seen.get(thread, (0.0, 0.0))
            longest = max(longest, min(waited - waited_before, _IDLE * (ran - ran_before)))
        passed = now - self._looked
        self._seen, self._looked = times, now
        # The kernel adds a wait when it is over, which may have begun before the last look.
        return min(longest, _MOST * passed)

    def _times(self) -> dict[str, tuple[float, float]]:
        """Read the seconds that each thread has run and waited since it was made."""
        found = {}
        try:
            for thread in self._tasks.iterdir():
                ran, waited, _slices = (thread / "schedstat").read_text().split()
                found[thread.name] = (int(ran) / 1e9, int(waited) / 1e9)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return found  # a thread has ended, or the kernel does not count
        return found
