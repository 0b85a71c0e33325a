# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a kernel has logged, read from its memory: for one that hung before it told anybody.

Its text lies in a ring of blocks, each a number and what was said, padded to eight bytes; numbers
count up. Beside it are as many notes, in the same order: when it was said, and how long it is.
Source: ``struct prb_data_block`` and ``struct printk_info`` of Linux's kernel/printk, as they are
since 5.10, on 64-bit machines with the lowest byte first.
"""

import struct
from collections.abc import Iterator
from itertools import islice
from typing import Protocol

_BANNER = b"Linux version "
_WORD = 8
_LONGEST = 2048
_MOST = 20_000
_MOST_BANNERS, _MOST_NOTES = 16, 1_000_000
"""Places that are looked at: a guest may fill its memory with what looks like a beginning."""
_NUMBERS = 1 << 62
"""There are so many, then they begin again; the two bits above are a record's state."""
_MOST_WITHOUT_TEXT = 8
"""Numbers that may follow each other without a block: of records that were empty or given up."""
_NOTE = struct.Struct("<QQH")
"""The beginning of a note: which record it is of, nanoseconds since the start, bytes of text."""
_NOTE_SIZE = 88


class Memory(Protocol):
    """Bytes, such as a file that is mapped; its first is the guest's first."""

    def find(self, sub: bytes, start: int = ..., /) -> int: ...
    def __getitem__(self, index: slice, /) -> bytes: ...
    def __len__(self) -> int: ...


def messages(memory: Memory) -> tuple[str, ...]:
    """List the messages of the ring that begins with the kernel's banner; empty without one.

    Each is as dmesg shows it, with the seconds since the start. Of a ring that has gone round
    nothing may be found: its banner is gone.
    """
    blocks: list[tuple[int, bytes]] = []
    for at in islice(_places(memory, _BANNER), _MOST_BANNERS):
        # The banner stands alone in the kernel itself, and what was said first is in two rings
        # where the kernel has taken a larger one.
        if at % _WORD == 0 and at >= _WORD:
            blocks = max(blocks, [*_blocks(memory, at - _WORD)], key=len)
    if len(blocks) < 2:
        return ()
    notes = _notes(memory, blocks)
    return tuple(_message(memory, notes, *block) for block in blocks)


def _places(memory: Memory, what: bytes) -> Iterator[int]:
    at = memory.find(what)
    while at >= 0:
        yield at
        at = memory.find(what, at + 1)


def _blocks(memory: Memory, at: int) -> Iterator[tuple[int, bytes]]:
    """List which record each block is of, the first being 0, and its text with what pads it."""
    first = number = _number(memory, at)
    for _ in range(_MOST):
        for after in range(at + 2 * _WORD, min(at + _LONGEST, len(memory)), _WORD):
            found = _number(memory, after)
            if 0 < (found - number) % _NUMBERS <= _MOST_WITHOUT_TEXT:
                break
        else:
            yield (number - first) % _NUMBERS, memory[at + _WORD : at + _LONGEST]
            return
        yield (number - first) % _NUMBERS, memory[at + _WORD : after]
        at, number = after, found


def _number(memory: Memory, at: int) -> int:
    return int.from_bytes(memory[at : at + _WORD], "little") % _NUMBERS


def _notes(memory: Memory, blocks: list[tuple[int, bytes]]) -> int | None:
    """Find the note of record 0. The second was made before the clock ran."""
    longest = {number: len(text) for number, text in blocks}
    for at in islice(_places(memory, struct.pack("<QQ", 1, 0)), _MOST_NOTES):
        place = at - _NOTE_SIZE
        if place >= 0 and all(_fits(memory, place, one, longest) for one in range(4)):
            return place
    return None


def _fits(memory: Memory, notes: int, number: int, longest: dict[int, int]) -> bool:
    found, _, length = _note(memory, notes, number)
    return found == number and length <= longest.get(number, 0)


def _note(memory: Memory, notes: int, number: int) -> tuple[int, int, int]:
    at = notes + number * _NOTE_SIZE
    data = memory[at : at + _NOTE.size]
    number, nanoseconds, length = _NOTE.unpack(data.ljust(_NOTE.size, b"\xff"))
    return number, nanoseconds, length


def _message(memory: Memory, notes: int | None, number: int, data: bytes) -> str:
    if notes is not None:
        found, nanoseconds, length = _note(memory, notes, number)
        if found == number:
            return f"[{nanoseconds / 1e9:12.6f}] {_text(data[:length])}"
    return _text(data.partition(b"\0")[0])


def _text(data: bytes) -> str:
    return data.rstrip(b"\0\n").decode("utf-8", "backslashreplace")
