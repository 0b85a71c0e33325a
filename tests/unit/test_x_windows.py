# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an X server is asked says whether a program has shown a window."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.windows import LONGEST_ERROR, LONGEST_TITLE, Windows
from pipeline.words.x_windows import ids_of, title_of, windows_since

# As xprop of Debian 12 writes it, of blackbox.
NONE = "_NET_CLIENT_LIST:  not found."
ONE = "_NET_CLIENT_LIST(WINDOW): window id # 0x60000c"
TWO = "_NET_CLIENT_LIST(WINDOW): window id # 0x60000c, 0x80000c"
TITLES = """\
_NET_WM_NAME:  not found.
WM_NAME(STRING) = "xfontsel"
"""
SHOWN = Windows(shown=True, title="xfontsel")


def test_a_window_that_was_not_there_before_is_the_programs() -> None:
    assert windows_since((), ONE, TITLES) == SHOWN
    assert windows_since(ids_of(ONE), TWO, TITLES) == SHOWN
    assert windows_since(ids_of(TWO), TWO, TITLES) == Windows()
    # Another one is gone meanwhile.
    assert windows_since(ids_of(TWO), ONE, TITLES) == Windows()
    assert windows_since(ids_of(ONE), ONE.replace("6", "7")).shown


@pytest.mark.parametrize(
    ("line", "ids"),
    [
        (NONE, ()),
        (ONE, ("0x60000c",)),
        (TWO, ("0x60000c", "0x80000c")),
        ("_NET_CLIENT_LIST(WINDOW): window id # ", ()),
        ("_NET_CLIENT_LIST(CARDINAL) = 1, 2", ()),
        ("_NET_CLIENT_LIST(WINDOW): window id # 0x1 $(halt)", ()),
        ("_NET_CLIENT_LIST(WINDOW): window id # " + ", ".join(["0x1"] * 5000), ("0x1",) * 1000),
        ("xprop:  unable to open display ':0'", ()),
        ("", ()),
    ],
)
def test_windows_are_listed(line: str, ids: tuple[str, ...]) -> None:
    assert ids_of(line) == ids


@pytest.mark.parametrize(
    ("lines", "title"),
    [
        ('_NET_WM_NAME(UTF8_STRING) = "Füße"\nWM_NAME(STRING) = "x"', "Füße"),
        (TITLES, "xfontsel"),
        ('WM_NAME(COMPOUND_TEXT) = "a = "b""', 'a = "b'),
        (f'WM_NAME(STRING) = "{"long " * 50}"', ("long " * 16)[:LONGEST_TITLE]),
        ("_NET_WM_NAME:  not found.", ""),
        ("", ""),
    ],
)
def test_a_title_is_read_and_cut(lines: str, title: str) -> None:
    assert title_of(lines) == title


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (NONE, "the window manager tells of no windows (_NET_CLIENT_LIST)"),
        (
            "_NET_CLIENT_LIST:  no such atom on any window.",
            "the window manager tells of no windows (_NET_CLIENT_LIST)",
        ),
        ("xprop:  unable to open display ':0'", "xprop:  unable to open display ':0'"),
        ("x" * 5000, "x" * LONGEST_ERROR),
    ],
)
def test_why_no_window_is_told_of_is_said(line: str, error: str) -> None:
    assert windows_since((), line) == Windows(error=error)


@given(
    some.text(max_size=200)
    | some.text(alphabet="0x1ac, #", max_size=80).map(lambda end: ONE + end),
    some.text(max_size=200) | some.text(max_size=90).map(lambda title: f'WM_NAME(X) = "{title}'),
)
def test_nothing_breaks_it(line: str, titles: str) -> None:
    found = windows_since(("0x60000c",), line, titles)
    assert len(found.title) <= LONGEST_TITLE
    assert len(found.error) <= LONGEST_ERROR
    assert not (found.shown and found.error)
