# SPDX-License-Identifier: LGPL-2.1-or-later
"""Write the state of a paused machine to a file, and begin another one with it.

It is QEMU's migration, to a file in the place of another host. Memory that is a shared file is left
out of it: what is left are devices, a few hundred kilobytes, so that it takes milliseconds. QEMU
is given the open file, because it may neither start programs nor find its way to it.
Commands: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html#migration
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.words.errors import Trouble

if TYPE_CHECKING:
    from pipeline.ports.qmp import Monitor

LOAD_S = 180.0
"""Long, because what is late on a busy host is not damaged."""
SAVE_S = 120.0
_LOOK_S = 0.004
_UNBOUNDED = 100 * 1024**3
"""Bytes a second: by itself QEMU is polite to the network."""


class Damaged(Trouble):
    """A checkpoint from which no machine comes up."""


def save(
    monitor: "Monitor", path: Path, *, whole: bool = False, deadline_s: float = SAVE_S
) -> None:
    """Pause the machine and write its state; it cannot go on after that.

    ``whole``: with memory that is a shared file, too. What it had still to write to its disk is in
    the disk's file then. Raises Trouble.
    """
    monitor.execute("stop", deadline_s=deadline_s)
    _prepare(monitor, whole=whole)
    monitor.execute("migrate-set-parameters", max_bandwidth=_UNBOUNDED)
    with path.open("wb") as file:
        monitor.send_file("out", file.fileno())
    monitor.execute("migrate", uri="fd:out")
    said = _wait(monitor, deadline_s)
    if said != "completed":
        raise Trouble(f"the machine's state was not saved: {said}", where=monitor.name)


def load(
    monitor: "Monitor", path: Path, *, whole: bool = False, deadline_s: float = LOAD_S
) -> None:
    """Give a machine that waits for it its state; it is still paused then.

    ``whole`` as it was saved. Raises Damaged where the state does not fit the machine, or is none.
    """
    _prepare(monitor, whole=whole)
    try:
        with path.open("rb") as file:
            monitor.send_file("in", file.fileno())
        monitor.execute("migrate-incoming", uri="fd:in", deadline_s=deadline_s)
        said = _wait(monitor, deadline_s)
    except (Trouble, FileNotFoundError) as error:
        # It ends when it cannot read its state.
        raise Damaged(f"no machine came up from it: {error}", where=str(path)) from error
    if said != "completed":
        raise Damaged(f"no machine came up from it: {said}", where=str(path))


def _prepare(monitor: "Monitor", *, whole: bool) -> None:
    ignored = [{"capability": "x-ignore-shared", "state": not whole}]
    monitor.execute("migrate-set-capabilities", capabilities=ignored, deadline_s=LOAD_S)


def _wait(monitor: "Monitor", deadline_s: float) -> str:
    until = time.monotonic() + deadline_s
    while time.monotonic() < until:
        found = monitor.execute("query-migrate", deadline_s=deadline_s)
        status = str(found.get("status", ""))
        if status in {"completed", "failed", "cancelled"}:
            return str(found.get("error-desc") or status)
        time.sleep(_LOOK_S)
    return f"it took longer than {deadline_s:.0f} s"


def cpu_seconds(pid: int) -> float:
    """Tell how much processor time a process has used; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
