# SPDX-License-Identifier: LGPL-2.1-or-later
"""Look at a sandbox from outside while it runs: what it prints, takes and writes.

The clock, the bytes written and, where the kernel keeps no count for us, the processes and the
memory are looked at again and again; the first limit that is passed ends everything.
"""

import os
import re
import select
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.ports import process, trees
from pipeline.ports.limits import Group, below, in_words, too_many
from pipeline.words.manifest import Limits

LOG_LIMIT = 128 * 1024**2
"""Bytes that a program may print."""
_TAIL = 1024**2
_LONGEST_LINE = 64 * 1024
_LOOK_S, _LOOK_AT_MOST_S = 0.02, 0.1
_MEASURE_S = 1.0
_SHARE = 20
"""Looking takes at most one part in so many of the time, while that is often enough."""
_NO_FORK = re.compile(rb"fork[^\n]*: Resource temporarily unavailable", re.IGNORECASE)
_MEASURE_AT_LEAST_S = 3.0


class Watch:
    """The limits of one sandbox; ``places`` are all the directories that it may write to.

    ``reason`` says which limit was passed, in words after "the build".
    """

    def __init__(self, limits: Limits, group: Group, places: Sequence[Path]) -> None:
        self.reason = ""
        self.printed = 0
        self._limits = limits
        self._group = group
        self._places = places
        self._started = time.monotonic()
        self._next_look = self._started
        self._next_measure = self._started + _MEASURE_S

    @property
    def seconds(self) -> float:
        """How long it has run."""
        return time.monotonic() - self._started

    def look(self, pid: int) -> str:
        """Tell the limit that was passed, or nothing; cheap when called often."""
        now = time.monotonic()
        if self.printed > LOG_LIMIT:
            self.reason = f"printed more than {in_words(LOG_LIMIT)}"
        elif not self.reason and now >= self._next_look:
            self.reason = self._clock() or self._group.exceeded(self._limits, pid) or self._disk()
            took = time.monotonic() - now
            self._next_look = now + took + min(max(_LOOK_S, took * _SHARE), _LOOK_AT_MOST_S)
        return self.reason

    def look_at_the_end(self, code: int | None, said: bytes) -> str:
        """Tell the limit that was passed, when all processes are dead.

        ``said`` is what a program printed that ended with ``code``. One that failed because it
        could start no more processes went over their number, also if it was over too fast to be
        looked at, or what is left of it then waited for nothing.
        """
        self._next_measure = 0.0
        self.reason = self.reason or self._group.exceeded(self._limits, None) or self._disk()
        could_not_fork = self._group.pids is None and code != 0 and _NO_FORK.search(said)
        if could_not_fork and self.reason in ("", self._clock()):
            self.reason = too_many(self._limits)
        return self.reason

    def _clock(self) -> str:
        limit_s = self._limits.time_s
        return f"did not end within {limit_s} s" if self.seconds > limit_s else ""

    def _disk(self) -> str:
        now = time.monotonic()
        if now < self._next_measure:
            return ""
        limit = self._limits.output
        try:
            size = trees.size_of(self._places, enough=limit)
        except trees.TooDeep:
            return f"nested directories deeper than {trees.DEEPEST}"
        took = time.monotonic() - now
        wait = min(max(_MEASURE_S, took * _SHARE), _MEASURE_AT_LEAST_S)
        self._next_measure = now + took + wait
        # At the limit counts as above: a single file is not let grow any further.
        return f"wrote more than {in_words(limit)}" if size >= limit else ""


class _Lines:
    """Cut what comes from a pipe into lines; none longer than what one can read."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self.kept = bytearray()
        self._on_line = on_line
        self._rest = b""

    def add(self, data: bytes) -> None:
        self.kept += data
        del self.kept[:-_TAIL]
        if self._on_line is None:
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self._tell(line)
        if len(self._rest) > _LONGEST_LINE:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest)
            self._rest = b""

    def _tell(self, line: bytes) -> None:
        if self._on_line is not None:
            self._on_line(line.decode("utf-8", "backslashreplace"))


def follow(
    child: process.Child, watch: Watch, on_line: Callable[[str], None] | None
) -> tuple[bytes, bytes]:
    """Read what a sandbox prints until it has ended, or a limit ends it; the last MiB of each."""
    assert child.stdout is not None and child.stderr is not None
    out, err = _Lines(on_line), _Lines(on_line)
    with selectors.DefaultSelector() as selector, _all_dead_after(child):
        selector.register(child.stdout, selectors.EVENT_READ, out)
        selector.register(child.stderr, selectors.EVENT_READ, err)
        while selector.get_map() or child.poll() is None:
            if watch.look(child.pid) or process.is_stopping():
                break
            if not selector.get_map():
                child.wait(_LOOK_S)
                continue
            for ready, _ in selector.select(_LOOK_S):
                data = os.read(ready.fd, 1 << 16)
                if data:
                    watch.printed += len(data)
                    ready.data.add(data)
                else:
                    selector.unregister(ready.fileobj)
    out.end()
    err.end()
    return bytes(out.kept), bytes(err.kept)


@contextmanager
def _all_dead_after(child: process.Child) -> Iterator[None]:
    """Leave the ``with`` when no process of the sandbox is left, however it is left."""
    try:
        yield
    finally:
        # The first below ``unshare`` is the first of its process namespace, whose end the kernel
        # tells when all others in there are dead. Only where ``unshare`` could not wait for it
        # does it have to be waited for here.
        first = _handle(next(below(child.pid), None))
        if child.poll() is None:
            child.kill()
        if first is not None:
            select.select([first], [], [], 10.0)
            os.close(first)


def _handle(pid: int | None) -> int | None:
    """Open a process; None where it has ended, and been waited for, meanwhile."""
    try:
        return None if pid is None else os.pidfd_open(pid)
    except ProcessLookupError:
        return None
