# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a process wanted to run and could not, because the host had other things to do.

Linux counts it by thread: https://docs.kernel.org/scheduler/sched-stats.html#proc-pid-schedstat
"""

import time
from collections.abc import Callable
from pathlib import Path

_PROC = Path("/proc")


class Starving:
    """Follows one process, which may have several threads; those come and go."""

    def __init__(
        self, pid: int, *, proc: Path = _PROC, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._tasks = proc / str(pid) / "task"
        self._clock = clock
        self._seen = self._waited()
        self._looked = clock()

    def look(self) -> float:
        """Tell for how many seconds it was kept waiting since the last look.

        That is what the thread waited that waited longest, and 0 where nothing can be told.
        """
        waited, now = self._waited(), self._clock()
        longest = max(
            (seconds - self._seen.get(thread, 0.0) for thread, seconds in waited.items()),
            default=0.0,
        )
        passed = now - self._looked
        self._seen, self._looked = waited, now
        # The kernel adds a wait when it is over, which may have begun before the last look.
        return max(0.0, min(longest, passed))

    def _waited(self) -> dict[str, float]:
        """Read the seconds that each thread has waited since it was made."""
        found = {}
        try:
            for thread in self._tasks.iterdir():
                found[thread.name] = int((thread / "schedstat").read_text().split()[1]) / 1e9
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            return found  # a thread has ended, or the kernel does not count
        return found
