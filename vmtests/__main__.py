# SPDX-License-Identifier: LGPL-2.1-or-later
"""``python -m vmtests PYTEST-ARGUMENT…``: start the machine, then pytest, whose tests use it.

In this order, because the guest boots while pytest is loaded and collects.
"""

import os
import sys

from vmtests.bench import bench


def main() -> int:
    """Run a suite; tells pytest's exit code."""
    bench().start()
    import pytest  # as late as this is the point of this module

    return int(pytest.main(sys.argv[1:]))


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # All is written and closed. To tear down an interpreter full of modules helps nobody.
    os._exit(code)
