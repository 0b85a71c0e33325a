# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process that promotes one run, to be killed: ``python -m tests.ship_once DIR RUN CONTENT``.

It writes a line when it begins and one when it is done.
"""

import sys
from pathlib import Path

from tests.shipping import PASSED, Shop, manifest


def main() -> None:
    """Compose, pass, say so, promote, say so."""
    root, run, content = sys.argv[1:4]
    shop = Shop(Path(root), manifest())
    trees = shop.compose(run, content)
    shop.judge(run, trees, PASSED)
    sys.stdout.write("begins\n")
    sys.stdout.flush()
    shop.promote(run, trees)
    sys.stdout.write("done\n")


if __name__ == "__main__":
    main()
