# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who works in a place: a directory for each process, which says who is there and holds its files.

A lock in it ends with the process, however that ends; so what a killed one left is known without
asking for numbers of processes, which mean nothing in another process namespace.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.files import ALIVE, lock_holder, own_place


@dataclass(frozen=True, kw_only=True)
class Found:
    """Who is in a place, in words, and what the killed left there."""

    here: tuple[str, ...]
    killed: tuple[Path, ...]


@contextmanager
def present(place: Path, what: str) -> Iterator[Path]:
    """Be in a place for the length of the ``with``: tells a directory of one's own in it."""
    place.mkdir(parents=True, exist_ok=True)
    with own_place(place, f"{os.getpid()}-", what=what, mode=0o755) as own:
        yield own


def look(place: Path, *, but: Path | None = None, having: str = "") -> Found:
    """Tell who is in a place, without the one whose directory ``but`` is.

    With ``having`` only those that have a file of that name.
    """
    here, killed = [], []
    for path in sorted(place.glob(f"[!.]*/{ALIVE}")):
        if path.parent == but or (having and not (path.parent / having).exists()):
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
