# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the two types of sessions have of their own: where they listen, and who knows their windows.

A compositor of Wayland tells nobody of windows, so that each program is asked for its own. X tells
of all, so that a program's are those which came since it was started. Scripts here are for the
guest's shell; what they print is the guest's word, for ``words`` to read.
"""

import shlex
from collections.abc import Mapping
from typing import Protocol

from pipeline.words.session import LoginManager, SessionSpec, SessionType
from pipeline.words.wayland_log import windows_of
from pipeline.words.windows import Windows
from pipeline.words.x_windows import LARGEST, LIST, MANAGER, TITLES, ids_of, windows_since


class Display(Protocol):
    """A session's display.

    ``socket`` is a script that prints the name of what it listens at, once it does; ``manager`` one
    that prints something once windows are told of; ``listing`` prints lines about all of them.
    """

    socket: str
    manager: str
    listing: str

    def environment(self, socket: str) -> Mapping[str, str]:
        """List the variables by which a program finds it."""

    def has_news(self, log: str, before: str, /) -> str:
        """Write a condition: a program's log, or what ``listing`` prints, tells of a window."""

    def is_as_it_was(self, before: str, /) -> str:
        """Write a condition: the windows are those of which ``listing`` printed ``before``."""

    def windows(self, before: str, now: str, log: str, /) -> Windows:
        """Tell of a program's windows, by what ``listing`` printed and by the program's log."""


class Wayland:
    """Where ``WAYLAND_DEBUG`` is set, programs write what they tell the compositor."""

    def __init__(self, runtime: str) -> None:
        self.socket = f"for one in {runtime}/wayland-?; do [ -S $one ] && echo ${{one##*/}}; done"
        self.manager = "echo compositor"
        self.listing = ":"

    def environment(self, socket: str) -> Mapping[str, str]:
        return {"WAYLAND_DISPLAY": socket, "WAYLAND_DEBUG": "client"}

    def has_news(self, log: str, _before: str, /) -> str:
        return f"grep -qs ack_configure {log}"

    def is_as_it_was(self, _before: str, /) -> str:
        return "true"

    def windows(self, _before: str, _now: str, log: str, /) -> Windows:
        return windows_of(log)


class X:
    """The window manager keeps a list of windows on the root window; the newest is asked its title.

    A new window may get the number of one that is gone: before the next program starts, the list
    has to be as it was.
    """

    def __init__(self, authority: str, uid: str) -> None:
        self._authority = authority
        # A login screen may have a server, too, and the number 0.
        find = f"find /tmp/.X11-unix -user {uid} -type s -name 'X*' 2>/dev/null"
        self.socket = f"{find} | sed -n 's/.*X/:/p;q'"
        ask = f'DISPLAY="$({self.socket})" XAUTHORITY={authority} xprop'
        self.manager = f"{ask} -root {MANAGER} 2>/dev/null | grep '# 0x'"
        self._list = f"{ask} -root {LIST} 2>&1 | head -n 1 | head -c {LARGEST}"
        self.listing = (
            f'now=$({self._list}); echo "$now"; '
            f'{ask} -id "${{now##*[ ,]}}" {" ".join(TITLES)} 2>/dev/null | head -c {LARGEST}'
        )

    def environment(self, socket: str) -> Mapping[str, str]:
        return {"DISPLAY": socket, "XAUTHORITY": self._authority}

    def has_news(self, _log: str, before: str, /) -> str:
        return f"! {self.is_as_it_was(before)}"

    def is_as_it_was(self, before: str, /) -> str:
        return f'[ "$({self._list})" = {shlex.quote(_first(before))} ]'

    def windows(self, before: str, now: str, _log: str, /) -> Windows:
        listed, _, titles = now.partition("\n")
        return windows_since(ids_of(_first(before)), listed, titles)


def _first(lines: str) -> str:
    return lines.partition("\n")[0]


def display_of(spec: SessionSpec, uid: str) -> Display:
    """Choose what a session of that type is asked by."""
    runtime = f"/run/user/{uid}"
    if spec.type is SessionType.WAYLAND:
        return Wayland(runtime)
    place = runtime if spec.manager is LoginManager.GREETD else f"{runtime}/gdm"
    return X(f"{place}/Xauthority", uid)
