# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fixture: what a test needs in a guest, as files of the deployment's ``/etc``.

One list, so that a test can subtract it by exact path from what differs in a guest's ``/etc``.
A tree never holds any of it. Long texts are files beside the disk stage, named here by
``source``. What of it a guest without systemd uses is its init's choice: the shell answers there
too when it is started as ``/etc/ostci-guest/shell``.
"""

from dataclasses import dataclass

from pipeline.words.manifest import KnownMessage
from pipeline.words.session import LoginManager, SessionSpec, settings_of

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
    # The kernel's command line has no word for devices, as it has for units: without KVM, on a busy
    # host, the serial console may be there later than after systemd's minute and a half.
    FixtureFile(
        path="/etc/systemd/system.conf.d/ostci.conf",
        content="[Manager]\nDefaultDeviceTimeoutSec=15min\n",
    ),
    FixtureFile(
        path=f"{_UNITS}/serial-getty@ttyS0.service.d/ostci-autologin.conf",
        content="[Service]\nExecStart=\n"
        "ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 - $TERM\n",
    ),
)


BOOT_COUNT = "ostci-boot-count.service"
_COUNTER = FixtureFile(path="/etc/ostci-guest/boot-count", mode=0o755, source="boot-count.sh")


def fixture_of(
    unit: str, boot_tries: int, session: SessionSpec | None = None
) -> tuple[FixtureFile, ...]:
    """List the fixture of a target: what every one gets, and what it asks for.

    That is what counts boots where it is to have ``boot_tries``, and what logs somebody in to a
    ``session``. ``unit`` is what it boots to: a boot that reached it is good.
    """
    counting = _counting(unit or "multi-user.target", boot_tries) if boot_tries else ()
    return (*FIXTURE, *counting, *(_logging_in(session) if session else ()))


def _counting(after: str, boot_tries: int) -> tuple[FixtureFile, ...]:
    content = f"""\
[Unit]
Description=Bless a good boot, and count those of new trees
DefaultDependencies=no
Requires=boot-complete.target
After={after} boot-complete.target local-fs.target
Conflicts=shutdown.target
Before=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/etc/ostci-guest/boot-count bless
ExecStop=/etc/ostci-guest/boot-count arm {boot_tries}
"""
    return (
        _COUNTER,
        FixtureFile(path=f"{_UNITS}/{BOOT_COUNT}", content=content),
        FixtureFile(path=f"{_UNITS}/{after}.wants/{BOOT_COUNT}", symlink=f"../{BOOT_COUNT}"),
    )


_STARTED_BY_GREETD = (
    FixtureFile(path="/etc/ostci-guest/greeter", mode=0o755, source="greeter.sh"),
    FixtureFile(path="/etc/ostci-guest/session", mode=0o755, source="session.sh"),
)


def _logging_in(session: SessionSpec) -> tuple[FixtureFile, ...]:
    return (
        *(_STARTED_BY_GREETD if session.manager is LoginManager.GREETD else ()),
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
        pattern=r"^(?:login|greetd|gdm-[a-z-]+\]): pam_env\([a-z-]+:session\): "
        r"Unable to open env file: /etc/default/locale",
        reason="the fixture's logins read what many trees do not have",
    ),
    KnownMessage(
        pattern=r"^gdm-[a-z-]+\]: gkr-pam: couldn't unlock the login keyring",
        reason="the fixture's logins have no password, by which a keyring could be opened",
    ),
)
"""Error messages that come of the fixture itself."""


def fixture_paths(
    unit: str = "", boot_tries: int = 0, session: SessionSpec | None = None
) -> tuple[str, ...]:
    """List every path that the fixture adds to a deployment, and the directories it makes."""
    paths = {entry.path for entry in fixture_of(unit, boot_tries, session)}
    made = {path.rpartition("/")[0] for path in paths}
    return tuple(sorted(paths | (made - {_UNITS})))
