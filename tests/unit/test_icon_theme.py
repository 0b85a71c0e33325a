# SPDX-License-Identifier: LGPL-2.1-or-later
"""Icons are found as the specification says."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.icon_theme import Theme, find_icon, icon_problem, parse_theme

HICOLOR = b"""\
# of hicolor-icon-theme
[Icon Theme]
Name=Hicolor
Directories=16x16/apps,48x48/apps,64x64@2/apps,256x256/apps,scalable/apps,gone/apps
[16x16/apps]
Size=16
Type=Threshold
[48x48/apps]
Size=48
Type=Fixed
[64x64@2/apps]
Size=64
Scale=2
[256x256/apps]
Size=256
[scalable/apps]
MinSize=1
Size=128
MaxSize=32
Type=Scalable
"""
OTHER = b"[Icon Theme]\nInherits=hicolor,Loop\nDirectories=apps\n[apps]\nSize=22\n"
LOOP = b"[Icon Theme]\nInherits=Other,Loop\nDirectories=apps\n[apps]\nSize=48\n"
THEMES: Mapping[str, Theme] = {
    "hicolor": parse_theme(HICOLOR),
    "Other": parse_theme(OTHER),
    "Loop": parse_theme(LOOP),
}


def find(name: str, *files: str, theme: str = "hicolor") -> str | None:
    places = {f"usr/share/{file}" for file in files}
    found = find_icon(name, places, THEMES.get, theme=theme)
    return found.removeprefix("usr/share/") if found else None


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (("16x16/apps/a.png", "48x48/apps/a.png", "256x256/apps/a.png"), "48x48/apps/a.png"),
        (("48x48/apps/a.svg", "48x48/apps/a.png"), "48x48/apps/a.png"),
        (("16x16/apps/a.png", "256x256/apps/a.png"), "16x16/apps/a.png"),
        # Up to 32 pixels, says its theme: that is nearer to 48 than 16 is.
        (("16x16/apps/a.png", "scalable/apps/a.svg"), "scalable/apps/a.svg"),
        (("64x64@2/apps/a.png",), None),
        (("gone/apps/a.png",), None),
        (("48x48/apps/ab.png", "48x48/apps/a.gif"), None),
    ],
)
def test_the_nearest_size_is_taken(files: tuple[str, ...], chosen: str | None) -> None:
    found = find("a", *(f"icons/hicolor/{file}" for file in files))
    assert found == (f"icons/hicolor/{chosen}" if chosen else None)


def test_a_theme_comes_before_what_it_inherits_and_the_default_last() -> None:
    files = ["icons/Loop/apps/a.png", "icons/hicolor/48x48/apps/a.png", "icons/Other/apps/a.svg"]
    assert find("a", *files, theme="Other") == "icons/Other/apps/a.svg"
    assert find("a", *files[:2], theme="Other") == "icons/Loop/apps/a.png"
    assert find("a", *files[1:], theme="None") == "icons/hicolor/48x48/apps/a.png"


def test_what_is_in_no_theme_may_be_beside_them() -> None:
    assert find("a", "pixmaps/a.xpm") == "pixmaps/a.xpm"
    assert find("a", "icons/a.svg", "pixmaps/a.png") == "icons/a.svg"
    assert find("a") is None
    assert find("") is None
    assert find("../a", "pixmaps/../a.png") is None


@pytest.mark.parametrize(
    ("path", "data", "problem"),
    [
        ("a.png", b"\x89PNG\r\n\x1a\nx", ""),
        ("a.svg", b"<?xml?><svg>", ""),
        ("a.xpm", b"/* XPM */", ""),
        ("a.png", b"<svg>", "does not hold what .png says"),
        ("a.svg", b"", "does not hold what .svg says"),
        ("a.svg", b"<svg>" + bytes(4 * 1024**2), f"is larger than {4 * 1024**2} bytes"),
    ],
)
def test_an_icon_is_what_it_is_called(path: str, data: bytes, problem: str) -> None:
    assert icon_problem(path, data) == problem


@given(some.binary(max_size=300) | some.text(alphabet="[]=,Size\n09-Dirctoes", max_size=300))
def test_nothing_breaks_it(data: bytes | str) -> None:
    theme = parse_theme(data if isinstance(data, bytes) else data.encode())
    find_icon("a", {"usr/share/icons/x/a.png"}, lambda _: theme, theme="x")
