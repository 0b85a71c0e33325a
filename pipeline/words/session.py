# SPDX-License-Identifier: LGPL-2.1-or-later
"""The graphical session of a tree: who is logged in to what, and the files that have it so.

The login manager is the tree's own, told by its configuration below ``/etc``: greetd
(https://man.sr.ht/~kennylevinsen/greetd/), for which the fixture starts the session, or GDM
(https://help.gnome.org/admin/gdm/), which does that itself. What a session is, the tree says in
``/usr/share/wayland-sessions`` or ``/usr/share/xsessions``. ``fixture`` has the files that every
tree gets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

SUITE = "session"
SPEAKER = "ostci-session"
"""What the session's own program calls itself in the journal."""
SERVER = "ostci-xorg"
"""Likewise the X server that is started for it."""
GREETER = "ostci-greeter"
"""What the greeter of a timed login calls itself in the journal."""

_LONGEST_WORD = 200


class LoginManager(StrEnum):
    """What shows the login screen, or nobody any, and begins sessions."""

    GREETD = "greetd"
    GDM = "gdm"

    @property
    def programs(self) -> tuple[str, ...]:
        """Its names as a program: Debian has one of its own for GDM."""
        return ("greetd",) if self is LoginManager.GREETD else ("gdm", "gdm3")

    @property
    def units(self) -> tuple[str, ...]:
        """Likewise as a service."""
        return tuple(f"{name}.service" for name in self.programs)

    @property
    def accounts(self) -> tuple[str, ...]:
        """Whose session its login screen is, as logind tells of it; none for greetd's."""
        return () if self is LoginManager.GREETD else ("gdm", "Debian-gdm")


class Login(StrEnum):
    """How somebody gets in: at once when the machine is up, or past a greeter after a time."""

    AUTOMATIC = "automatic"
    TIMED = "timed"


class SessionType(StrEnum):
    """What a session is drawn by, as logind calls it: a compositor, or an X server of its own."""

    WAYLAND = "wayland"
    X11 = "x11"

    @property
    def place(self) -> str:
        """Where the tree tells of its sessions of that type."""
        return f"usr/share/{'wayland-' if self is SessionType.WAYLAND else 'x'}sessions"


@dataclass(frozen=True, kw_only=True)
class SessionSpec:
    """``name`` is a file of its type's place, without the ending; its ``user`` the fixture makes.

    ``delay_s`` is how long the greeter of a timed login waits for somebody. ``deadline_s`` is what
    the session may take from then on, on a host with KVM.
    """

    name: str
    type: SessionType = SessionType.WAYLAND
    manager: LoginManager = LoginManager.GREETD
    user: str = "testuser"
    login: Login = Login.AUTOMATIC
    delay_s: int = 10
    deadline_s: int = 60


def settings_of(session: SessionSpec) -> Mapping[str, str]:
    """Write the files below ``/etc`` that log the user in: path → text."""
    conf = (
        ("SESSION_MANAGER", session.manager),
        ("SESSION_USER", session.user),
        ("SESSION_NAME", session.name),
        ("SESSION_TYPE", session.type),
        ("SESSION_PLACE", f"/{session.type.place}"),
        ("SESSION_DELAY", str(session.delay_s)),
    )
    own = _of_greetd if session.manager is LoginManager.GREETD else _of_gdm
    return {
        "/etc/ostci-guest/session.conf": "".join(f"{name}={value}\n" for name, value in conf),
        **own(session),
    }


def _of_greetd(session: SessionSpec) -> Mapping[str, str]:
    return {
        "/etc/greetd/config.toml": _greetd(session),
        # The login's PAM stack reads it before logind is told of the session, and of its type.
        "/etc/security/pam_env.conf": "".join(
            f"{name} DEFAULT={value}\n"
            for name, value in (
                ("XDG_SESSION_TYPE", session.type),
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


def _of_gdm(session: SessionSpec) -> Mapping[str, str]:
    """Write GDM's settings, to where it looks for them and to where it does on Debian.

    Which session it begins, AccountsService tells it: that is below ``/var``, and the script that
    makes the user says it there. Where Wayland is off, it is the one of that name on X.
    """
    if session.login is Login.TIMED:
        how = "Timed"
        delay = [f"TimedLoginDelay={session.delay_s}"]
    else:
        how, delay = "Automatic", []
    lines = ["[daemon]", f"{how}LoginEnable=true", f"{how}Login={session.user}", *delay]
    lines += [f"WaylandEnable={str(session.type is SessionType.WAYLAND).lower()}"]
    text = "\n".join([*lines, "", "[debug]", "Enable=true", ""])
    return {"/etc/gdm/custom.conf": text, "/etc/gdm3/daemon.conf": text}


def last_word(said: Sequence[str]) -> str:
    """Pick what was said last of why it ended; of an X server its error, not what follows that.

    Xorg says ``Fatal server error:``, then what it was, and then where to ask and who was asked.
    """
    for place, line in enumerate(said):
        if _without_mark(line) == "Fatal server error:":
            told = (_without_mark(one) for one in said[place + 1 :])
            return next((one for one in told if one), "")[:_LONGEST_WORD]
    return said[-1][:_LONGEST_WORD] if said else ""


def _without_mark(line: str) -> str:
    """Take Xorg's mark of an error off a line, which may also be at its end."""
    return line.strip().removeprefix("(EE)").removesuffix("(EE)").strip()
