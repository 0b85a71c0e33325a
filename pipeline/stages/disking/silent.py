# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find the units whose failure the journal does not tell.

``LogLevelMax=`` bounds also what systemd itself says about a unit: that it failed is a warning.
"""

import re
from pathlib import Path

_PLACES = ("usr/lib/systemd/system", "usr/local/lib/systemd/system", "etc/systemd/system")
_LEVEL = re.compile(rb"^[ \t]*LogLevelMax[ \t]*=[ \t]*(?:emerg|alert|crit|err|[0-3])[ \t]*$", re.M)


def silent_units(root: Path) -> tuple[str, ...]:
    """List the units of a deployed tree that may fail in silence, each by its name.

    ``service`` alone stands for all services: a drop-in can be for a whole kind.
    """
    found = set()
    for place in _PLACES:
        for path in (root / place).rglob("*"):
            if path.is_symlink() or not path.is_file() or not _LEVEL.search(path.read_bytes()):
                continue
            is_drop_in = path.parent.name.endswith(".d")
            found.add(path.parent.name.removesuffix(".d") if is_drop_in else path.name)
    return tuple(sorted(found))
