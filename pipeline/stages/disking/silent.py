# SPDX-License-Identifier: LGPL-2.1-or-later
"""Find the units whose failure the journal does not tell.

``LogLevelMax=`` bounds also what systemd itself says about a unit: that it failed is a warning.
"""

import re
from collections.abc import Iterable
from pathlib import Path, PurePath

PLACES = ("usr/lib/systemd/system", "usr/local/lib/systemd/system", "etc/systemd/system")
"""Where a deployed tree keeps units."""
_LEVEL = re.compile(rb"^[ \t]*LogLevelMax[ \t]*=[ \t]*(?:emerg|alert|crit|err|[0-3])[ \t]*$", re.M)


def silent_units(root: Path) -> tuple[str, ...]:
    """List the units of a deployed tree that may fail in silence, as ``silent_among`` does."""
    files = (path for place in PLACES for path in (root / place).rglob("*"))
    plain = (path for path in files if path.is_file() and not path.is_symlink())
    return silent_among((path, path.read_bytes()) for path in plain)


def silent_among(files: Iterable[tuple[PurePath, bytes]]) -> tuple[str, ...]:
    """List the units that may fail in silence by their files, each by its name.

    ``service`` alone stands for all services: a drop-in can be for a whole kind.
    """
    found = set()
    for path, content in files:
        if _LEVEL.search(content):
            is_drop_in = path.parent.name.endswith(".d")
            found.add(path.parent.name.removesuffix(".d") if is_drop_in else path.name)
    return tuple(sorted(found))
