# SPDX-License-Identifier: LGPL-2.1-or-later
"""What hooks said, in memory and in a file: a master that is killed knows it when it starts again.

A hook is answered when what it said is on the disk; all that wait are written at once. The file is
written anew when a look has passed some of it, or when it has grown far beyond what is known.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet import defer, threads

from pipeline.ports.kept_hooks import KeptHook, append_kept, read_kept, write_kept
from pipeline.words.named import Hooks, Named
from pipeline.words.request import Told

FILE = "hooks.jsonl"
"""In the master's home."""
_ROOM = 1000


class KeptHooks:
    """The pushes that hooks named (``hooks``), and what they told of merge requests.

    ``aside`` has work done elsewhere than in the reactor.
    """

    def __init__(self, path: Path, *, aside: Callable[..., Any] = threads.deferToThread) -> None:
        self._aside = aside
        self.hooks = Hooks()
        self._path = path
        self._told: dict[tuple[str, str], Told] = {}
        self._in_hand: dict[tuple[str, str], Told] = {}
        self._new: list[KeptHook] = []
        self._lines = 0
        self._most = _ROOM
        self._writing = defer.DeferredLock()

    @defer.inlineCallbacks
    def load(self) -> Any:
        """Read what a master before this one was told; tells the places to look at."""
        found: tuple[KeptHook, ...] = yield self._aside(read_kept, self._path)
        for one in found:
            self._note(one)
        self._lines = len(found)
        return {one.place for one in found if one.named is not None or one.told is not None}

    def note(self, place: str, *, named: Named | None, told: Told | None) -> None:
        """Note what a hook says; it is kept when ``write`` is over."""
        one = KeptHook(place=place, named=named, told=told)
        self._note(one)
        self._new.append(one)

    def _note(self, one: KeptHook) -> None:
        if one.told is None or one.named is not None:
            self.hooks.note_sender(one.place)
        if one.named is not None:
            self.hooks.note(one.place, one.named, time.monotonic())
        if one.told is not None:
            before = self._told.get((one.place, one.told.ref))
            if before is None or before.when <= one.told.when:
                self._told[one.place, one.told.ref] = one.told

    def write(self) -> "defer.Deferred[None]":
        """Have all that was noted on the disk."""
        return self._writing.run(self._append)

    def forget(self) -> "defer.Deferred[None]":
        """Have on the disk no more than what is known now."""
        return self._writing.run(self._rewrite)

    @defer.inlineCallbacks
    def _append(self) -> Any:
        new = tuple(self._new)
        if self._lines + len(new) > self._most:
            yield self._rewrite()
        elif new:
            yield self._aside(append_kept, self._path, new)
            # Only now: what could not be written is tried again with the next.
            del self._new[: len(new)]
            self._lines += len(new)

    @defer.inlineCallbacks
    def _rewrite(self) -> Any:
        count = len(self._new)
        known = tuple(self._known())
        if not count and len(known) == self._lines:
            return  # lines are added by hooks alone: none has gone
        yield self._aside(write_kept, self._path, known)
        del self._new[:count]
        self._lines = len(known)
        self._most = 2 * len(known) + _ROOM

    def _known(self) -> Iterable[KeptHook]:
        for place, named in self.hooks.kept(time.monotonic()):
            yield KeptHook(place=place, named=named)
        for (place, _), told in self._told.items():
            yield KeptHook(place=place, told=told)

    # Merge requests

    def take_told(self) -> dict[tuple[str, str], Told]:
        """Tell what is known of merge requests, by place and ref, and nobody else has in hand.

        Whoever takes it says ``passed`` when the ledger has it, else ``give_back``.
        """
        found = {key: one for key, one in self._told.items() if self._in_hand.get(key) is not one}
        self._in_hand |= found
        return found

    def passed(self, told: dict[tuple[str, str], Told]) -> None:
        """Forget what the ledger has now; newer things that came meanwhile stay."""
        self._told = {key: one for key, one in self._told.items() if told.get(key) is not one}
        self.give_back(told)

    def give_back(self, told: dict[tuple[str, str], Told]) -> None:
        """Let others take what was taken."""
        self._in_hand = {key: one for key, one in self._in_hand.items() if told.get(key) is not one}
