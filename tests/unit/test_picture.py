# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a screen shows, and how much of two differs."""

import random

import pytest

from pipeline.words.picture import BOUND, Shows, difference, marked, shows
from pipeline.words.png import Picture

WIDTH, HEIGHT = 80, 40


def painted(colour: bytes, **points: bytes) -> Picture:
    """Paint a picture of one colour, with ``x_Y`` as other ones."""
    pixels = bytearray(colour * (WIDTH * HEIGHT))
    for name, other in points.items():
        x, y = (int(part) for part in name.removeprefix("at_").split("_"))
        at = (y * WIDTH + x) * 3
        pixels[at : at + 3] = other
    return Picture(width=WIDTH, height=HEIGHT, pixels=bytes(pixels))


def text(colour: bytes = b"\xaa\xaa\xaa", *, seed: int = 1) -> Picture:
    """Write something on a black console."""
    dice = random.Random(seed)
    pixels = bytearray(WIDTH * HEIGHT * 3)
    for at in range(0, len(pixels), 3):
        if dice.random() < 0.1:
            pixels[at : at + 3] = colour
    return Picture(width=WIDTH, height=HEIGHT, pixels=bytes(pixels))


@pytest.mark.parametrize(
    ("picture", "what"),
    [
        (painted(bytes(3)), Shows.BLANK),
        (painted(b"\x12\x34\x56"), Shows.BLANK),
        # A cursor that waits for somebody says nothing yet.
        (painted(bytes(3), at_0_0=b"\xaa\xaa\xaa", at_1_0=b"\xaa\xaa\xaa"), Shows.BLANK),
        (text(), Shows.TEXT),
        (text(b"\xa8\xa8\xa8"), Shows.TEXT),
        (text(b"\xff\x55\x55"), Shows.TEXT),
        # Letters with soft edges are drawn by a program.
        (text(b"\x9c\x9c\x9c"), Shows.GRAPHICS),
    ],
)
def test_what_a_screen_shows(picture: Picture, what: Shows) -> None:
    assert shows(picture) is what


def test_a_picture_of_many_colours_is_graphics() -> None:
    pixels = random.Random(3).randbytes(WIDTH * HEIGHT * 3)
    assert shows(Picture(width=WIDTH, height=HEIGHT, pixels=pixels)) is Shows.GRAPHICS


def test_what_nobody_sees_is_no_difference() -> None:
    before, after = painted(b"\x40\x40\x40"), painted(b"\x50\x48\x40")
    assert difference(before, after).share == 0
    assert not difference(before, after).is_large


def test_a_cursor_is_below_the_bound_and_a_text_above_it() -> None:
    blinks = difference(painted(bytes(3)), painted(bytes(3), at_4_4=b"\xff\xff\xff"))
    assert blinks.share == 1 / (WIDTH * HEIGHT)
    assert not blinks.is_large
    other = difference(text(seed=1), text(seed=2))
    assert other.is_large
    assert other.share > BOUND
    assert other.words.endswith("% of it differs")


def test_two_sizes_differ_as_a_whole() -> None:
    small = Picture(width=2, height=2, pixels=bytes(12))
    found = difference(small, painted(bytes(3)))
    assert (found.share, found.is_large) == (1.0, True)
    assert found.words == "it was 2x2 and is 80x40"


def test_a_difference_is_marked_where_it_is() -> None:
    before, after = painted(bytes(3)), painted(bytes(3), at_4_2=b"\xff\xff\xff")
    drawn = marked(before, after)
    at = (2 * WIDTH + 4) * 3
    assert drawn.pixels[at : at + 3] == b"\xe0\x10\x10"
    assert len(set(drawn.pixels[:at] + drawn.pixels[at + 3 :])) == 1
