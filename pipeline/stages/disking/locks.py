# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may make a disk, and who may take one away that others stand on."""

from contextlib import AbstractContextManager
from pathlib import Path

from pipeline.ports.files import lock

_WAIT_S = 900.0


def making(disk: Path, *, what: str, wait_s: float = _WAIT_S) -> AbstractContextManager[None]:
    """Be the only one who makes a disk; raises Held after ``wait_s`` seconds."""
    return lock(disk.with_name(f".{disk.stem}.lock"), what=what, wait_s=wait_s)


def ground(disks: Path, *, what: str, shared: bool) -> AbstractContextManager[None]:
    """Keep all that a layer may stand on: ``shared`` to put one on it, alone to take some away."""
    return lock(disks / ".ground.lock", what=what, wait_s=_WAIT_S, shared=shared)
