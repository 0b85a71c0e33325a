# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m vmtests PYTEST-ARGUMENT…``: start the machine, then pytest, whose tests use it.

In this order, because the guest boots while pytest is loaded and collects.
"""

import os
import sys
import threading
import time

from pipeline.words.suite import MOST_PROCESSES, TOO_MANY
from vmtests.bench import bench

_LOOK_S = 0.2


def main() -> int:
    """Run a suite; tells pytest's exit code."""
    if os.getpid() == 1:
        threading.Thread(target=_end_bombs, name="bombs", daemon=True).start()
    bench().start()
    import pytest  # as late as this is the point of this module

    return int(pytest.main(sys.argv[1:]))


def _end_bombs() -> None:
    """End all when a test forks without end: we are the first process here, and all go with us."""
    while True:
        time.sleep(_LOOK_S)
        if sum(1 for name in os.listdir("/proc") if name.isdigit()) > MOST_PROCESSES:  # noqa: PTH208
            os._exit(TOO_MANY)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and closed. To tear down an interpreter full of modules helps nobody.
    os._exit(code)
