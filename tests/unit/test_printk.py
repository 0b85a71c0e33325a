# SPDX-License-Identifier: LGPL-2.1-or-later
"""A kernel's log in its memory, also in one that was made to look like many."""

import struct

from pipeline.words import printk

_BANNER = b"Linux version 6.1.0 (somebody)"


class Counted(bytes):
    """A memory that counts how often it is searched."""

    searches = 0

    def find(self, *words: object) -> int:
        self.searches += 1
        return super().find(*words)  # type: ignore[arg-type]


def block(number: int, text: bytes) -> bytes:
    data = struct.pack("<Q", number % (1 << 62)) + text
    return data.ljust(-len(data) % 8 + len(data), b"\0")


def note(number: int, seconds: float, text: bytes) -> bytes:
    return struct.pack("<QQH", number, int(seconds * 1e9), len(text)).ljust(88, b"\0")


def test_messages_have_their_time_and_no_more_than_their_text() -> None:
    texts = [_BANNER, b"Command line: quiet", b"zero", b"Run /init as init processXX"]
    ring = b"".join(block(7 + number, text) for number, text in enumerate(texts))
    notes = [note(0, 0, texts[0]), note(1, 0, texts[1]), note(2, 0.5, texts[2])]
    notes.append(note(3, 4.25, texts[3][:-2]))
    memory = bytes(512) + ring + bytes(4096) + b"".join(notes) + bytes(512)
    assert printk.messages(memory) == (
        "[    0.000000] Linux version 6.1.0 (somebody)",
        "[    0.000000] Command line: quiet",
        "[    0.500000] zero",
        "[    4.250000] Run /init as init process",
    )


def test_a_banner_alone_is_no_log() -> None:
    assert printk.messages(bytes(64) + _BANNER + bytes(64)) == ()


def test_a_guest_that_fills_its_memory_with_beginnings_keeps_nobody_long() -> None:
    memory = Counted((bytes(8) + _BANNER.ljust(40, b"\0")) * 20_000)
    assert printk.messages(memory) == ()
    assert memory.searches < 100
