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
    root: str
    """What is mounted as the guest's /."""
    _watch: BootWatch

    def watch(self) -> BootWatch:
        """Make what is known of the boot, to be gone on with."""
        found = copy.deepcopy(self._watch)
        found.is_leaving = False
        return found


def write_seen(path: Path, watch: BootWatch, entries: Iterable[Entry], *, root: str) -> None:
    """Write down what was seen of a boot."""
    path.write_bytes(pickle.dumps((watch, tuple(entries), root)))


def read_origin(checkpoint: Checkpoint) -> Origin:
    """Read what was seen before a checkpoint; raises Damaged.

    The file is one that ``write_seen`` wrote, by its checksum; it only may be of other code.
    """
    try:
        watch, entries, root = pickle.loads(checkpoint.seen.read_bytes())
        assert isinstance(watch, BootWatch)
        return Origin(checkpoint=checkpoint, entries=entries, root=root, _watch=watch)
    except Exception as error:
        raise Damaged(f"what was seen before it cannot be read: {error}") from error
