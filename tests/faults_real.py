# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults of real systems' boots: a file of tiny's tree or of Debian's base is spoilt."""

from dataclasses import replace

from pipeline.words.symptoms import Cause
from tests.crash import CRASHES
from tests.faults_guest import Fault, On


def _unit(text: str, wanted_by: str = "multi-user.target.wants") -> dict[str, str | bytes | None]:
    """Add a unit to Debian that the target wants, or requires."""
    where = "usr/lib/systemd/system"
    return {
        f"{where}/spoilt.service": f"[Unit]\nDescription=Spoilt\n{text}",
        f"{where}/{wanted_by}/spoilt.service": "-> ../spoilt.service",
    }


def _service(line: str) -> dict[str, str | bytes | None]:
    """Add a service to tiny, which has dash and busybox, and no links to the latter."""
    return {"usr/lib/tiny/services/spoilt.service": f"{line}\n"}


_ONCE = "[Service]\nType=oneshot\n"
_SYSTEMD = "/usr/lib/systemd/systemd"
_TINY = (
    Fault(
        name="a component's program that is not there",
        layer={"usr/bin/greeting": None},
        cause=Cause.TARGET_MISSED,  # the target requires it
        message="(dependency); first: greeting.service: Failed with result 'exit-code'",
    ),
    Fault(
        name="a service that the target requires and that ends badly",
        layer=_service("oneshot required /bin/busybox false"),
        cause=Cause.TARGET_MISSED,
        message="(dependency); first: spoilt.service: Failed with result 'exit-code' (exit code 1)",
    ),
    Fault(
        name="a service whose program crashes",
        layer={**_service("oneshot wanted /usr/bin/crashes"), "usr/bin/crashes": CRASHES},
        cause=Cause.CORE_DUMP,
        message="segfault at 0",
    ),
    Fault(
        name="a service whose file is malformed",
        layer=_service("now and then"),
        cause=Cause.ERROR_MESSAGE,
        message="spoilt.service: not a line such as: simple wanted /bin/it",
    ),
    Fault(
        name="a service that never comes to its end",
        layer=_service("oneshot required /bin/busybox sleep 100000"),
        smoke={"deadline_s": 7},
        cause=Cause.HANG,
        message="the last was: ",
    ),
    Fault(
        name="a service that fills the journal",
        layer=_service("oneshot required /bin/busybox yes " + "0123456789abcdef" * 20),
        cause=Cause.FLOOD,
        message="messages from spoilt.service",
    ),
    Fault(
        name="a tree without a shell",
        layer={"usr/bin/sh": None, "usr/bin/dash": None},
        cause=Cause.NO_SHELL,
        message="the guest's shell does not answer",
    ),
    Fault(
        name="an init that is no longer executable",
        layer={"usr/sbin/init": "nothing\n"},
        cause=Cause.NO_INIT,
        message="the tree has no init: /sbin/init is missing or cannot be run",
    ),
)
_DEBIAN = (
    Fault(
        name="a systemd that is no program",
        layer={_SYSTEMD: "nothing\n"},
        cause=Cause.NO_INIT,
        message="the tree has no init",
    ),
    Fault(
        name="a C library that is not one",
        layer={"usr/lib/x86_64-linux-gnu/libc.so.6": "nothing\n"},
        cause=Cause.INIT_DIED,
        message="Attempted to kill init!",
    ),
    Fault(
        name="a unit that the target requires and whose program is not there",
        layer=_unit(f"{_ONCE}ExecStart=/usr/bin/none\n", "multi-user.target.requires")
        | {"usr/lib/systemd/system/multi-user.target.d/after.conf": "[Unit]\nAfter=spoilt.service"},
        cause=Cause.TARGET_MISSED,
        message="multi-user.target was not reached (dependency); first: ",
    ),
    Fault(
        name="a unit that fails under systemd",
        layer=_unit(f"{_ONCE}ExecStart=/bin/false\n"),
        cause=Cause.FAILED_UNIT,
        message="spoilt.service: Failed with result 'exit-code'.",
    ),
    Fault(
        name="a unit whose program crashes under systemd",
        layer=_unit("[Service]\nExecStart=/usr/bin/crashes\n") | {"usr/bin/crashes": CRASHES},
        cause=Cause.CORE_DUMP,
        message="",
    ),
    Fault(
        name="a unit that systemd waits for in vain",
        layer=_unit(f"{_ONCE}TimeoutStartSec=3\nExecStart=/bin/sleep 1000\n"),
        cause=Cause.START_TIMEOUT,
        message="spoilt.service: Failed with result 'timeout'.",
    ),
    Fault(
        name="a unit that is killed for its memory",
        layer=_unit(
            "[Service]\nMemoryMax=20M\nMemorySwapMax=0\nExecStart=/usr/bin/tail /dev/zero\n"
        ),
        cause=Cause.OOM_KILL,
        message="",
    ),
    Fault(
        name="a unit that reboots the machine",
        layer=_unit(f"{_ONCE}ExecStart=/usr/bin/systemctl reboot --force --force\n"),
        cause=Cause.REBOOT_LOOP,
        message="the guest reset itself",
    ),
    Fault(
        name="a file system in fstab that is not there",
        layer={"usr/etc/fstab": "/dev/none /srv ext4 x-systemd.device-timeout=2 0 2\n"},
        cause=Cause.EMERGENCY,
        message="emergency",
    ),
    Fault(
        name="a kernel that is told to go to rescue mode",
        options=("systemd.unit=rescue.target",),
        cause=Cause.EMERGENCY,
        message="rescue",
    ),
)


def _placed(faults: tuple[Fault, ...], on: On) -> tuple[Fault, ...]:
    return tuple(replace(one, on=on) for one in faults)


TINY = _placed(_TINY, On.TINY)
DEBIAN = _placed(_DEBIAN, On.DEBIAN)
