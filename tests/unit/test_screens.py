# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which screens people are told of, and the page that shows them."""

import random

import pytest

from pipeline.words.picture import Shows
from pipeline.words.png import Picture, write_png
from pipeline.words.screens import Screen, look_at, page

SIZE = 60 * 40
BLANK = write_png(Picture(width=60, height=40, pixels=bytes(SIZE * 3)))


def drawn(seed: int, *, width: int = 60) -> bytes:
    """Draw something of many colours."""
    pixels = random.Random(seed).randbytes(width * 40 * 3)
    return write_png(Picture(width=width, height=40, pixels=pixels))


def text(seed: int) -> bytes:
    """Draw a text console."""
    dice = random.Random(seed)
    pixels = b"".join(dice.choice([b"\xaa\xaa\xaa", *[bytes(3)] * 9]) for _ in range(SIZE))
    return write_png(Picture(width=60, height=40, pixels=pixels))


CASES: list[tuple[bytes | None, bytes, bool, tuple[str, ...]]] = [
    (None, BLANK, False, ()),
    (None, BLANK, True, ("it is blank",)),
    (None, drawn(1), True, ()),
    (BLANK, BLANK, False, ()),
    (BLANK, BLANK, True, ("it is blank",)),
    (text(1), BLANK, False, ("it is blank", "9.7% of it differs")),
    # The sample's, which now and then shows something before it is taken away.
    (BLANK, text(1), False, ()),
    (BLANK, drawn(1), True, ()),
    # What a console says is in its log, and is never the same.
    (text(1), text(2), False, ()),
    (drawn(1), drawn(1), True, ()),
    (drawn(1), drawn(2), True, ("99.2% of it differs",)),
    (drawn(1), drawn(1, width=61), True, ("it was 60x40 and is 61x40",)),
    (drawn(1), text(1), True, ("it shows a text console, and showed graphics",)),
    (b"junk", drawn(1), True, ()),
    (drawn(1), b"junk", True, ("it cannot be read: it does not begin as a PNG",)),
    (None, b"junk", True, ("it cannot be read: it does not begin as a PNG",)),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_is_told(case: int) -> None:
    before, after, has_session, notes = CASES[case]
    screen, difference = look_at("a.png", after, before, has_session=has_session)
    assert screen.notes[: len(notes)] == notes
    assert bool(screen.notes) == bool(notes)
    if difference is not None:
        assert screen.is_shown


def test_where_they_differ_is_drawn_where_that_can_be() -> None:
    assert look_at("a", drawn(1), drawn(2), has_session=True)[1] is not None
    assert look_at("a", drawn(1), drawn(1, width=61), has_session=True)[1] is None
    assert look_at("a", drawn(1), drawn(1), has_session=True)[1] is None


def test_the_page_shows_both_and_trusts_no_name() -> None:
    screen, _ = look_at("a&b.png", drawn(1), drawn(2), has_session=True)
    other, _ = look_at("c.png", drawn(1, width=61), drawn(2), has_session=True)
    found = page("<run>", "20260101.0", [screen, other])
    assert "<title>&lt;run&gt;</title>" in found
    for name in ("before-a&amp;b.png", "a&amp;b.png", "differs-a&amp;b.png", "before-c.png"):
        assert f'<img src="{name}"' in found
    assert "differs-c.png" not in found
    assert "20260101.0, promoted last" in found


def test_a_screen_alone_is_not_shown_side_by_side() -> None:
    assert not Screen(name="a", shows=Shows.BLANK, notes=("it is blank",)).is_shown
