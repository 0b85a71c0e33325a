# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fixture: what a test needs in a guest, as files of the deployment's ``/etc``.

One list, so that a test can subtract it by exact path from what differs in a guest's ``/etc``.
A tree never holds any of it. Long texts are files beside the disk stage, named here by
``source``. What of it a guest without systemd uses is its init's choice: the shell answers there
too when it is started as ``/etc/ostci-guest/shell``.
"""

from dataclasses import dataclass

from pipeline.words.manifest import KnownMessage
from pipeline.words.session import SessionSpec, settings_of

JOURNAL_PORT = "org.ostci.journal.0"
SHELL_PORT = "org.ostci.shell.0"
"""Names of the virtio-serial ports that a machine has."""


@dataclass(frozen=True, kw_only=True)
class FixtureFile:
    """One file: exactly one of ``source``, ``content`` and ``symlink`` says what is in it."""

    path: str
    """Absolute, below ``/etc``."""
    mode: int = 0o644
    source: str = ""
    content: str = ""
    symlink: str = ""


_UNITS = "/etc/systemd/system"


def _service(name: str, port: str) -> tuple[FixtureFile, ...]:
    """A unit that starts as soon as its port is there.

    Ports come when the kernel gets to know of them, in the initramfs or later: what finds none at
    ``sysinit`` ends quietly, and is started by the device.
    """
    device = f"dev-virtio\\x2dports-{port}.device"
    return (
        FixtureFile(path=f"{_UNITS}/{name}", source=name),
        FixtureFile(path=f"{_UNITS}/sysinit.target.wants/{name}", symlink=f"../{name}"),
        FixtureFile(path=f"{_UNITS}/{device}.wants/{name}", symlink=f"../{name}"),
    )


FIXTURE = (
    *_service("ostci-journal.service", JOURNAL_PORT),
    *_service("ostci-shell.service", SHELL_PORT),
    FixtureFile(path="/etc/ostci-guest/find-port", mode=0o755, source="find-port.sh"),
    FixtureFile(path="/etc/ostci-guest/journal", mode=0o755, source="journal.sh"),
    FixtureFile(path="/etc/ostci-guest/shell", mode=0o755, source="shell.sh"),
    # What a test waits for must not be dropped because a component talks too much.
    FixtureFile(
        path="/etc/systemd/journald.conf.d/ostci.conf",
        content="[Journal]\nRateLimitIntervalSec=0\nRateLimitBurst=0\n",
    ),
    FixtureFile(
        path=f"{_UNITS}/serial-getty@ttyS0.service.d/ostci-autologin.conf",
        content="[Service]\nExecStart=\n"
        "ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 - $TERM\n",
    ),
)


def fixture_of(session: SessionSpec | None) -> tuple[FixtureFile, ...]:
    """List the fixture of a tree: what every one gets, and what logs somebody in to a session."""
    if session is None:
        return FIXTURE
    return (
        *FIXTURE,
        FixtureFile(path="/etc/ostci-guest/greeter", mode=0o755, source="greeter.sh"),
        FixtureFile(path="/etc/ostci-guest/session", mode=0o755, source="session.sh"),
        FixtureFile(path="/etc/ostci-guest/user", mode=0o755, source="user.sh"),
        FixtureFile(path=f"{_UNITS}/ostci-user.service", source="ostci-user.service"),
        FixtureFile(
            path=f"{_UNITS}/graphical.target.wants/ostci-user.service",
            symlink="../ostci-user.service",
        ),
        *(FixtureFile(path=path, content=text) for path, text in settings_of(session).items()),
    )


FIXTURE_KNOWN = (
    KnownMessage(
        pattern=r"^login: pam_env\(login:session\): Unable to open env file: /etc/default/locale",
        reason="the fixture's login at the console reads what many trees do not have",
    ),
)
"""Error messages that come of the fixture itself."""


def fixture_paths(session: SessionSpec | None = None) -> tuple[str, ...]:
    """List every path that the fixture adds to a deployment, and the directories it makes."""
    paths = {entry.path for entry in fixture_of(session)}
    made = {path.rpartition("/")[0] for path in paths}
    return tuple(sorted(paths | (made - {_UNITS})))
