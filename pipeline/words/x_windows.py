# SPDX-License-Identifier: LGPL-2.1-or-later
"""The windows of an X server, as ``xprop`` writes what the window manager tells of them.

``_NET_CLIENT_LIST(WINDOW): window id # 0x60000c, 0x80000c`` has those that are managed, the newest
last; those that a program made and never showed are not among them. A title is
``_NET_WM_NAME(UTF8_STRING) = "xterm"``. Both are a guest's word: nothing in them makes these
functions raise. See https://specifications.freedesktop.org/wm-spec/latest/ and xprop(1).
"""

import re
from collections.abc import Collection

from pipeline.words.windows import LONGEST_ERROR, LONGEST_TITLE, Windows

LIST = "_NET_CLIENT_LIST"
MANAGER = "_NET_SUPPORTING_WM_CHECK"
"""What the root window has once a window manager is there that keeps the list."""
TITLES = ("_NET_WM_NAME", "WM_NAME")
LARGEST = 64 * 1024
"""Characters that are read of each line."""
_MOST_WINDOWS = 1000
_LIST = re.compile(rf"{LIST}\(WINDOW\): window id # ?(?P<ids>[0-9a-fx, ]*)")
_ID = re.compile(r"0x[0-9a-f]{1,8}(?=,|\Z)")
_TITLE = re.compile(rf"(?:{'|'.join(TITLES)})\([A-Z0-9_]+\) = (?P<title>.*)")
_NOT_FOUND = (f"{LIST}:  not found.", f"{LIST}:  no such atom on any window.")


def ids_of(line: str) -> tuple[str, ...]:
    """List the managed windows in the order in which they came; none where none is told."""
    found = _LIST.fullmatch(line[:LARGEST].strip())
    return tuple(_ID.findall(found["ids"])[:_MOST_WINDOWS]) if found else ()


def windows_since(before: Collection[str], now: str, titles: str = "") -> Windows:
    """Tell whether there is a window that was not there before; ``titles`` are the newest one's."""
    listed = now[:LARGEST].strip()
    new = [one for one in ids_of(listed) if one not in before]
    if new:
        return Windows(shown=True, title=title_of(titles))
    if listed in _NOT_FOUND:
        return Windows(error=f"the window manager tells of no windows ({LIST})")
    if _LIST.fullmatch(listed) is None:
        return Windows(error=listed[:LONGEST_ERROR])
    return Windows()


def title_of(lines: str) -> str:
    """Read the first title in what was asked of one window."""
    for line in lines[:LARGEST].splitlines():
        found = _TITLE.fullmatch(line.strip())
        if found is not None:
            return found["title"].strip('"')[:LONGEST_TITLE]
    return ""
