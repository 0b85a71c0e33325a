# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a program told its compositor, as libwayland writes it for ``WAYLAND_DEBUG=client``.

A line is ``[1234.567]  -> wl_surface@19.attach(wl_buffer@23, 0, 0)``; newer ones have a queue's
name after the time and ``#`` for ``@``. That is the client's own word and needs nothing of the
compositor's, whichever it is. Nothing that is in such a text makes these functions raise.
See https://wayland.freedesktop.org/docs/html/ and the protocol xdg-shell.
"""

import re

from pipeline.words.windows import LONGEST_ERROR, LONGEST_TITLE, Windows

LARGEST = 1024**2
"""Bytes of a program's word that are read."""
_LINE = re.compile(
    r"\[ *\d+[.:]\d+\] +(?:\{[^}]*\} +)?(?:rq\d+ +)?(?:-> +)?"
    r"(?P<kind>[a-z0-9_]+)[@#](?P<id>\d+)\.(?P<name>[a-z0-9_]+)\((?P<arguments>.*)\)\s*"
)
_ID = re.compile(r"([a-z0-9_]+)[@#](\d+)")
_LONGEST_LINE = 4096


def windows_of(text: str) -> Windows:
    """Tell whether a program has shown a window.

    It has once the surface of a toplevel was configured, has something drawn on it, and was
    committed.
    """
    surfaces: dict[str, str] = {}
    toplevels: set[str] = set()
    configured: set[str] = set()
    drawn: set[str] = set()
    title = error = ""
    shown = False
    for line in text.splitlines():
        found = _LINE.fullmatch(line) if len(line) <= _LONGEST_LINE else None
        if found is None:
            continue
        kind, own, arguments = found["kind"], found["id"], found["arguments"]
        match kind, found["name"]:
            case "xdg_wm_base", "get_xdg_surface":
                named = dict(_ID.findall(arguments))
                surfaces[named.get("xdg_surface", "")] = named.get("wl_surface", "")
            case "xdg_surface", "get_toplevel":
                toplevels.add(surfaces.get(own, ""))
            case "xdg_surface", "ack_configure":
                configured.add(surfaces.get(own, ""))
            case "xdg_toplevel", "set_title":
                title = title or arguments.strip('"')[:LONGEST_TITLE]
            case "wl_surface", "attach":
                (drawn.discard if arguments.startswith("nil") else drawn.add)(own)
            case "wl_surface", "commit":
                shown = shown or own in toplevels & configured & drawn
            case "wl_display", "error":
                error = error or arguments[:LONGEST_ERROR]
    return Windows(shown=shown, title=title, error=error)
