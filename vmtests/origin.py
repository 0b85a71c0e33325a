# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a copy of a machine goes on from: a checkpoint, and what was seen of the boot before it."""

import copy
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.checkpoint import Checkpoint
from pipeline.ports.migration import Damaged
from pipeline.words.boot import BootWatch
from pipeline.words.journal import Entry


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A checkpoint that was read; each machine gets a ``watch`` of its own."""

    checkpoint: Checkpoint
    entries: tuple[Entry, ...]
    root: str | None
    """What is mounted as the guest's /; None where it had no shell to tell."""
    console: tuple[bytes, ...]
    """The last lines of its console."""
    has_own_ram: bool
    """Its memory was given by us, and is known to QEMU by our name for it."""
    _watch: BootWatch

    def watch(self) -> BootWatch:
        """Make what is known of the boot, to be gone on with."""
        found = copy.deepcopy(self._watch)
        found.is_leaving = False
        return found


def write_seen(
    path: Path,
    watch: BootWatch,
    entries: Iterable[Entry],
    *,
    console: Iterable[bytes],
    root: str | None,
    has_own_ram: bool,
) -> None:
    """Write down what was seen of a boot."""
    path.write_bytes(pickle.dumps((watch, tuple(entries), tuple(console), root, has_own_ram)))


def read_origin(checkpoint: Checkpoint) -> Origin:
    """Read what was seen before a checkpoint; raises Damaged.

    The file is one that ``write_seen`` wrote, by its checksum; it only may be of other code.
    """
    try:
        watch, entries, console, root, own = pickle.loads(checkpoint.seen.read_bytes())
        assert isinstance(watch, BootWatch)
        return Origin(
            checkpoint=checkpoint,
            entries=entries,
            console=console,
            root=root,
            has_own_ram=own,
            _watch=watch,
        )
    except Exception as error:
        raise Damaged(f"what was seen before it cannot be read: {error}") from error
