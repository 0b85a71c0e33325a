# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pictures as QEMU writes them are read, and nothing that a guest could make of them breaks us."""

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.png import MOST_PIXELS, NotAPicture, Picture, read_png, read_ppm, write_png

SMALL = Picture(width=5, height=4, pixels=random.Random(7).randbytes(60))


def _file(header: bytes, rows: bytes, *, end: bool = True) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", 0)

    parts = [chunk(b"IHDR", header), chunk(b"tEXt", b"x"), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, *([chunk(b"IEND", b"")] if end else [])])


def _header(width: int, height: int, *, depth: int = 8, colour: int = 2, lace: int = 0) -> bytes:
    return struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, lace)


def _predicted(kind: int, left: int, up: int, corner: int) -> int:
    """Predict a byte as the standard says it, in its own words."""
    if kind == 3:
        return (left + up) // 2
    if kind == 4:
        guess = left + up - corner
        by = [(abs(guess - one), place) for place, one in enumerate((left, up, corner))]
        return (left, up, corner)[min(by)[1]]
    return (0, left, up)[kind]


def _filtered(pixels: bytes, size: int, step: int, kinds: list[int]) -> bytes:
    rows, above = [], bytes(size)
    for number, kind in enumerate(kinds):
        row = pixels[number * size : (number + 1) * size]
        left, corner = bytes(step) + row, bytes(step) + above
        done = bytes(
            (one - _predicted(kind, left[at], above[at], corner[at])) & 0xFF
            for at, one in enumerate(row)
        )
        rows.append(bytes([kind]) + done)
        above = row
    return b"".join(rows)


def test_what_is_written_is_read() -> None:
    assert read_png(write_png(SMALL)) == SMALL
    assert read_png(write_png(SMALL, level=1)) == SMALL


def test_a_ppm_is_read() -> None:
    assert read_ppm(b"P6\n5 4\n255\n" + SMALL.pixels) == SMALL


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "begin"),
        (b"P5\n5 4\n255\n" + SMALL.pixels, "begin"),
        (b"P6\n5 4\n65535\n" + SMALL.pixels, "begin"),
        (b"P6\n5 -4\n255\n" + SMALL.pixels, "begin"),
        (b"P6\n0 4\n255\n", "0 by 4 pixels"),
        (b"P6\n99999 99999\n255\n", "99999 by 99999 pixels"),
        (b"P6\n5 4\n255\n" + SMALL.pixels[:-1], "59 bytes of pixels instead of 60"),
        (b"P6\n5 4\n255\n" + SMALL.pixels + b"x", "61 bytes of pixels instead of 60"),
    ],
)
def test_what_is_no_ppm_says_why(data: bytes, why: str) -> None:
    with pytest.raises(NotAPicture, match=why):
        read_ppm(data)


@given(
    some.lists(some.integers(0, 4), min_size=4, max_size=4), some.binary(min_size=60, max_size=60)
)
def test_every_filter_is_undone(kinds: list[int], pixels: bytes) -> None:
    data = _file(_header(5, 4), _filtered(pixels, 15, 3, kinds))
    assert read_png(data) == Picture(width=5, height=4, pixels=pixels)


def test_an_alpha_channel_is_left_out() -> None:
    pixels = bytes(range(5 * 2 * 4))
    found = read_png(_file(_header(5, 2, colour=6), _filtered(pixels, 20, 4, [1, 4])))
    plain = b"".join(pixels[at : at + 3] for at in range(0, len(pixels), 4))
    assert found == Picture(width=5, height=2, pixels=plain)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it does not begin as a PNG"),
        (b"\x89PNG\r\n\x1a\n", "it is cut short"),
        (_file(_header(5, 4), bytes(64), end=False), "it is cut short"),
        (_file(b"", bytes(64)), "it has no header"),
        (_file(_header(5, 4, colour=3), bytes(64)), "8 bits, colour type 3 and interlace 0"),
        (_file(_header(5, 4, depth=16), bytes(64)), "16 bits, colour type 2 and interlace 0"),
        (_file(_header(5, 4, lace=1), bytes(64)), "8 bits, colour type 2 and interlace 1"),
        (_file(_header(0, 4), b""), "0 by 4 pixels"),
        (_file(_header(2**31, 2**31), b""), f"{2**31} by {2**31} pixels"),
        (_file(_header(MOST_PIXELS + 1, 1), b""), f"{MOST_PIXELS + 1} by 1 pixels"),
        (_file(_header(5, 4), bytes(63)), "it has 63 bytes of pixels instead of 64"),
        (_file(_header(5, 4), bytes(10**7)), "it has 65 bytes of pixels instead of 64"),
        (_file(_header(5, 4), b"\x05" + bytes(63)), "a row has filter 5"),
    ],
)
def test_what_is_no_picture_is_told(data: bytes, why: str) -> None:
    with pytest.raises(NotAPicture) as caught:
        read_png(data)
    assert str(caught.value) == why


@given(some.binary(max_size=80), some.integers(0, 120), some.integers(0, 255))
def test_nothing_breaks_it(junk: bytes, at: int, byte: int) -> None:
    good = bytearray(write_png(SMALL))
    good[at % len(good)] = byte
    for data in (junk, b"\x89PNG\r\n\x1a\n" + junk, bytes(good)):
        try:
            read_png(data)
        except NotAPicture:
            continue
