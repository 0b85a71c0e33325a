# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a screenshot shows, as far as that decides something, and how two of them differ.

A difference is never a failure: clocks tick and cursors blink. Whoever looks is shown both.
"""

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

from pipeline.words.png import Picture

BOUND = 0.02
"""The share of a screen that may differ before anybody is told."""
_TOLERANCE = 24
"""What a channel may differ by: less is not seen."""
_BLANK = 0.998
_TEXT = 0.995
_VGA = frozenset(
    {bytes(levels) for levels in product((0x00, 0xAA), repeat=3)}
    | {bytes(levels) for levels in product((0x55, 0xFF), repeat=3)}
    | {b"\xaa\x55\x00", b"\xa8\xa8\xa8"}
)
"""The colours of a text console, and the grey of VGA's six bits a channel."""
_BLACK = bytes(3)
_MARK = b"\xe0\x10\x10"


class Shows(StrEnum):
    """What is on a screen."""

    BLANK = "blank"
    TEXT = "a text console"
    GRAPHICS = "graphics"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """``share`` of the pixels differs; two sizes cannot be compared, and differ as a whole."""

    share: float
    sizes: str = ""

    @property
    def is_large(self) -> bool:
        return self.share > BOUND

    @property
    def words(self) -> str:
        """Say it in a few words."""
        return self.sizes or f"{self.share:.1%} of it differs"


def shows(picture: Picture) -> Shows:
    """Tell what is on a screen: one colour, what a text console can show, or more than that."""
    pixels, count = picture.pixels, picture.width * picture.height
    colours = Counter(pixels[at : at + 3] for at in range(0, len(pixels), 3))
    [(_, most)] = colours.most_common(1)
    if most >= count * _BLANK:
        return Shows.BLANK
    plain = sum(many for colour, many in colours.items() if colour in _VGA)
    if plain >= count * _TEXT and colours[_BLACK] >= count / 2:
        return Shows.TEXT
    return Shows.GRAPHICS


def difference(before: Picture, after: Picture) -> Difference:
    """Compare two screens."""
    if (before.width, before.height) != (after.width, after.height):
        sizes = f"it was {before.width}x{before.height} and is {after.width}x{after.height}"
        return Difference(share=1.0, sizes=sizes)
    found = sum(
        len(_differing(before.row(number), after.row(number))) for number in range(after.height)
    )
    return Difference(share=found / (after.width * after.height))


def marked(before: Picture, after: Picture) -> Picture:
    """Draw the second of two screens of one size in grey, and in red what differs."""
    rows = []
    for number in range(after.height):
        row = after.row(number)
        grey = bytes(
            160 + (row[at] * 3 + row[at + 1] * 6 + row[at + 2]) // 28
            for at in range(0, len(row), 3)
        )
        drawn = bytearray(len(row))
        for channel in range(3):
            drawn[channel::3] = grey
        for at in _differing(before.row(number), row):
            drawn[at : at + 3] = _MARK
        rows.append(bytes(drawn))
    return Picture(width=after.width, height=after.height, pixels=b"".join(rows))


def _differing(one: bytes, other: bytes) -> list[int]:
    """List where in two rows the pixels begin that differ."""
    if one == other:
        return []
    return [
        at
        for at in range(0, len(one), 3)
        if abs(one[at] - other[at]) > _TOLERANCE
        or abs(one[at + 1] - other[at + 1]) > _TOLERANCE
        or abs(one[at + 2] - other[at + 2]) > _TOLERANCE
    ]
