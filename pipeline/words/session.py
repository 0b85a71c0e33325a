# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graphical session of a tree: who is logged in to what, and the files that have it so.

The login manager is the tree's own: greetd, told by its configuration below ``/etc``
(https://man.sr.ht/~kennylevinsen/greetd/). What a session is, the tree says in
``/usr/share/wayland-sessions``. ``fixture`` has the files that every tree gets.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

SUITE = "session"
PLACE = "usr/share/wayland-sessions"
TYPE = "wayland"
"""The type of a session, as logind has it; whoever starts X sessions is not known here."""
GREETER = "ostci-greeter"
"""What the greeter of a timed login calls itself in the journal."""


class Login(StrEnum):
    """How somebody gets in: at once when the machine is up, or past a greeter after a time."""

    AUTOMATIC = "automatic"
    TIMED = "timed"


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """``name`` is a file of ``PLACE`` without its ending; ``user`` is made by the fixture.

    ``delay_s`` is how long the greeter of a timed login waits for somebody. ``deadline_s`` is what
    the session may take from then on, on a host with KVM.
    """

    name: str
    user: str = "testuser"
    login: Login = Login.AUTOMATIC
    delay_s: int = 10
    deadline_s: int = 60


def settings_of(session: SessionSpec) -> Mapping[str, str]:
    """Write the files below ``/etc`` that log the user in: path → text."""
    return {
        "/etc/greetd/config.toml": _greetd(session),
        "/etc/ostci-guest/session.conf": "".join(
            f"{name}={value}\n"
            for name, value in (
                ("SESSION_USER", session.user),
                ("SESSION_NAME", session.name),
                ("SESSION_DELAY", str(session.delay_s)),
            )
        ),
        # The login's PAM stack reads it before logind is told of the session, and of its type.
        "/etc/security/pam_env.conf": "".join(
            f"{name} DEFAULT={value}\n"
            for name, value in (
                ("XDG_SESSION_TYPE", TYPE),
                ("XDG_SESSION_DESKTOP", session.name),
                ("XDG_CURRENT_DESKTOP", session.name),
            )
        ),
    }


def _greetd(session: SessionSpec) -> str:
    """Write greetd's settings; after an automatic login there is a greeter."""
    lines = ["[terminal]", "vt = 7", "", "[default_session]"]
    if session.login is Login.TIMED:
        lines += ['command = "/etc/ostci-guest/greeter"', 'user = "_greetd"']
    else:
        lines += ['command = "/usr/sbin/agreety --cmd /bin/sh"', 'user = "_greetd"']
        lines += ["", "[initial_session]", 'command = "/etc/ostci-guest/session"']
        lines += [f'user = "{session.user}"']
    return "\n".join([*lines, ""])
