# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who works in a place: a directory for each process, which says who is there and holds its files.

A lock in it ends with the process, however that ends; so what a killed one left is known without
asking for numbers of processes, which mean nothing in another process namespace.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import lock, lock_holder, remove_tree

_MAKING = ".making-"
_ALIVE = "alive"


@dataclass(frozen=True, kw_only=True)
class Found:
    """Who is in a place, in words, and what the killed left there."""

    here: tuple[str, ...]
    killed: tuple[Path, ...]


@contextmanager
def present(place: Path, what: str) -> Iterator[Path]:
    """Be in a place for the length of the ``with``: tells a directory of one's own in it."""
    place.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{os.getpid()}-", dir=place))
    making.chmod(0o755)
    # It gets its name when it is locked: nobody shall take it for one that a killed process left.
    with lock(making / _ALIVE, what=what):
        own = making.rename(making.with_name(making.name.removeprefix(_MAKING)))
        try:
            yield own
        finally:
            remove_tree(own)


def look(place: Path, *, but: Path | None = None) -> Found:
    """Tell who is in a place, without the one whose directory ``but`` is."""
    here, killed = [], []
    for path in sorted(place.glob(f"[!.]*/{_ALIVE}")):
        if path.parent == but:
            continue
        told = lock_holder(path)
        is_alive = _is_alive(path)
        if is_alive:
            here.append(told)
        elif is_alive is False:
            killed.append(path.parent)
    return Found(here=tuple(here), killed=tuple(killed))


def _is_alive(path: Path) -> bool | None:
    """Tell whether the owner of a directory still runs; None where both are gone."""
    try:
        with path.open() as file:
            # Shared, so that two that look do not take each other for the owner.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False if path.exists() else None
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return None
