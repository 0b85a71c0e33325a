# SPDX-License-Identifier: LGPL-2.1-or-later
"""Faults of the small guest's boot: a step of its init is spoilt, or an option of its kernel."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.words.manifest import Target
from pipeline.words.symptoms import Cause
from tests.crash import CRASHES_IN_SH
from tests.guests import TARGET, fault, with_smoke


class On(StrEnum):
    """Which system is spoilt."""

    GUEST = "guest"
    TINY = "tiny"
    DEBIAN = "debian"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What is spoilt, and what the smoke suite has to say of it.

    ``layer`` is put over the tree: a path's new content, or None for a path that is taken out
    (not on Debian). ``target`` is the guest's, ``options`` and ``smoke`` are the other two's.
    """

    name: str
    cause: Cause
    message: str
    on: On = On.GUEST
    layer: Mapping[str, str | bytes | None] = field(default_factory=dict)
    target: Target = TARGET
    options: tuple[str, ...] = ()
    smoke: Mapping[str, object] = field(default_factory=dict)
    quick: bool = False


def _kernel(*options: str) -> Target:
    return replace(TARGET, kernel_options=options)


GUEST = (
    Fault(
        name="a kernel that panics",
        layer=fault("early() { echo c >/proc/sysrq-trigger; }"),
        cause=Cause.PANIC,
        message="Kernel panic - not syncing: sysrq triggered crash",
        quick=True,
    ),
    Fault(
        name="a tree without init",
        layer={"/usr/sbin/init": None},
        cause=Cause.NO_INIT,
        message="the tree has no init: /sbin/init is missing",
        quick=True,
    ),
    Fault(
        name="an init that is no program",
        layer={"/usr/sbin/init": "this is no program\n"},
        cause=Cause.INIT_DIED,
        message="Attempted to kill init!",
    ),
    Fault(
        name="an init that the kernel's options name and that is not there",
        target=_kernel("init=/usr/sbin/other"),
        cause=Cause.NO_INIT,
        message="the tree has no init: /usr/sbin/other is missing",
    ),
    Fault(
        name="an init that exits",
        layer=fault("early() { exit 3; }"),
        cause=Cause.INIT_DIED,
        message="Attempted to kill init! exitcode=0x00000300",
        quick=True,
    ),
    Fault(
        name="an init that crashes",
        layer=fault(f"early() {{ {CRASHES_IN_SH} exec /run/crashes; }}"),
        cause=Cause.INIT_DIED,
        message="Attempted to kill init! exitcode=0x0000000b",
    ),
    Fault(
        name="an initramfs that does not find its root",
        target=_kernel("root=LABEL=elsewhere", "rootdelay=1"),
        cause=Cause.INITRAMFS,
        message="root LABEL=elsewhere did not appear within 1 s",
        quick=True,
    ),
    Fault(
        name="a disk whose driver does not load",
        target=_kernel(
            "initcall_blacklist=virtio_blk_init", "module_blacklist=virtio_blk", "rootdelay=1"
        ),
        cause=Cause.INITRAMFS,
        message="root LABEL=ostci did not appear within 1 s",
    ),
    Fault(
        name="a root of another type",
        target=_kernel("rootfstype=xfs"),
        cause=Cause.INITRAMFS,
        message="cannot be mounted as xfs",
    ),
    Fault(
        name="a guest that powers off",
        layer=fault("services() { poweroff -f; }"),
        cause=Cause.POWERED_OFF,
        message="the guest powered off before the boot was done",
        quick=True,
    ),
    Fault(
        name="a guest that halts and stays there",
        layer=fault("services() { halt -f; }"),
        cause=Cause.POWERED_OFF,
        message="reboot: System halted",
        quick=True,
    ),
    Fault(
        name="a guest that powers off when its boot is done",
        layer=fault("late() { sleep 1; poweroff -f; }"),
        target=with_smoke(settle_s=15),
        cause=Cause.POWERED_OFF,
        message="the guest powered off before the boot was done",
    ),
    Fault(
        name="a guest that resets",
        layer=fault("services() { reboot -f; }"),
        cause=Cause.REBOOT_LOOP,
        message="the guest reset itself before the boot was done",
        quick=True,
    ),
    Fault(
        name="a guest that hangs",
        layer=fault("services() { sleep 10000; }"),
        target=with_smoke(deadline_s=7),
        cause=Cause.HANG,
        message="the last was: systemd: Journal started",
    ),
    Fault(
        name="a boot that hangs just before its end",
        layer=fault(
            "target() { while :; do echo 'A start job is running for the last thing (9s / no "
            "limit)' >/dev/console; sleep 1; done; }"
        ),
        target=with_smoke(deadline_s=7),
        cause=Cause.HANG,
        message="while it waits for the last thing; the last was: systemd: Started hello.service.",
    ),
    Fault(
        name="a guest that never says it is done",
        layer=fault("target() { while :; do tell 'still working'; sleep 1; done; }"),
        target=with_smoke(deadline_s=2),
        cause=Cause.DEADLINE,
        message="multi-user.target was not reached within",
    ),
    Fault(
        name="a guest that sets its clock back by years and hangs",
        layer=fault("services() { date -s 2000-01-01 >/dev/null; sleep 10000; }"),
        target=with_smoke(deadline_s=7),
        cause=Cause.HANG,
        message="the last was: systemd: Journal started",
    ),
    Fault(
        name="a tree without a journal",
        layer=fault("exec 4>/dev/null"),
        target=with_smoke(deadline_s=7),
        cause=Cause.HANG,
        message="and its journal never came",
    ),
    Fault(
        name="a guest that finds no port of the host",
        target=replace(
            with_smoke(deadline_s=15), kernel_options=("module_blacklist=virtio_console",)
        ),
        cause=Cause.HANG,
        message="and its journal never came",
    ),
    Fault(
        name="a unit that fails",
        layer=fault("services() { unit_failed broken.service exit-code; }"),
        cause=Cause.FAILED_UNIT,
        message="broken.service: Failed with result 'exit-code'.",
        quick=True,
    ),
    Fault(
        name="a unit that the target needs and that fails",
        layer=fault(
            "services() { unit_failed broken.service exit-code; "
            "start_failed broken.service failed; start_failed $UNIT dependency; sleep 1000; }"
        ),
        cause=Cause.TARGET_MISSED,
        message="multi-user.target was not reached (dependency); first: broken.service: Failed",
        quick=True,
    ),
    Fault(
        name="a start-up that finishes without the target",
        layer=fault("target() { :; }"),
        cause=Cause.TARGET_MISSED,
        message="the start-up finished, but multi-user.target was not reached",
    ),
    Fault(
        name="a unit that fails soon after the boot is done",
        layer=fault("late() { sleep 1; unit_failed late.service exit-code; }"),
        target=with_smoke(settle_s=15),
        cause=Cause.FAILED_UNIT,
        message="late.service: Failed with result 'exit-code'.",
    ),
    Fault(
        name="a unit that does not start in time",
        layer=fault("services() { unit_failed slow.service timeout; }"),
        cause=Cause.START_TIMEOUT,
        message="slow.service: Failed with result 'timeout'.",
    ),
    Fault(
        name="a program that dumps core under systemd",
        layer=fault("services() { unit_failed crasher.service core-dump; }"),
        cause=Cause.CORE_DUMP,
        message="crasher.service: Failed with result 'core-dump'.",
    ),
    Fault(
        name="a program that crashes",
        layer=fault(f"services() {{ {CRASHES_IN_SH} /run/crashes; }}"),
        cause=Cause.CORE_DUMP,
        message="segfault at 0",
        quick=True,
    ),
    Fault(
        name="a program that takes all memory",
        layer=fault("services() { tail /dev/zero; sleep 1; }"),
        cause=Cause.OOM_KILL,
        message="Out of memory: Killed process",
    ),
    Fault(
        name="an error message",
        layer=fault("services() { speaker=hello pid=77 tell 'no teapot' 3; }"),
        cause=Cause.ERROR_MESSAGE,
        message="hello: no teapot",
    ),
    Fault(
        name="a kernel that says it has a bug",
        layer=fault("services() { echo '<1>BUG: unable to handle a page' >/dev/kmsg; sleep 1; }"),
        cause=Cause.OOPS,
        message="BUG: unable to handle a page",
    ),
    Fault(
        name="a file system that is damaged",
        layer=fault(
            "services() { dd if=/dev/zero of=/dev/vda bs=1M seek=1 count=80; sync; "
            "echo 3 >/proc/sys/vm/drop_caches; ls -lR /sysroot; sleep 2; }"
        ),
        cause=Cause.OOPS,
        message="EXT4-fs error (device vda)",
    ),
    Fault(
        name="a forbidden message",
        layer=fault('services() { tell hm 6 \'"MESSAGE_ID":"0123456789abcdef"\'; }'),
        target=with_smoke(forbidden={"0123456789abcdef": "a session died"}),
        cause=Cause.FORBIDDEN,
        message="a session died: systemd: hm",
    ),
    Fault(
        name="a unit that may not start",
        target=with_smoke(forbidden_units=("hello.service",)),
        cause=Cause.FORBIDDEN,
        message="hello.service was started",
        quick=True,
    ),
    Fault(
        name="a forbidden line on the console",
        layer=fault("services() { echo 'the password is 1234' >/dev/console; sleep 1; }"),
        target=with_smoke(forbidden_console={r"\bpassword\b": "a secret"}),
        cause=Cause.FORBIDDEN,
        message="a secret: the password is 1234",
    ),
    Fault(
        name="a required message that does not come",
        target=with_smoke(required={"fedcba9876543210": "a greeting"}, deadline_s=7),
        cause=Cause.MISSING,
        message="a greeting (fedcba9876543210)",
    ),
    Fault(
        name="a required unit that does not start",
        target=with_smoke(required_units=("hello.service", "other.service"), deadline_s=7),
        cause=Cause.MISSING,
        message="a unit that has to start (other.service)",
    ),
    Fault(
        name="emergency mode",
        layer=fault(
            "services() { echo 'You are in emergency mode. Press ^D' >/dev/console; sleep 9; }"
        ),
        cause=Cause.EMERGENCY,
        message="You are in emergency mode",
    ),
    Fault(
        name="a flooded console",
        layer=fault("services() { yes 0123456789abcdef0123456789abcdef >/dev/console; }"),
        cause=Cause.FLOOD,
        message="bytes to its console",
    ),
    Fault(
        name="a flooded journal",
        layer=fault("services() { head -c 1073741824 /dev/zero | tr '\\0' a >&4; }"),
        cause=Cause.FLOOD,
        message="bytes to its journal",
    ),
    Fault(
        name="garbage on the shell's port",
        layer=fault("shell() { cat /dev/urandom >/dev/vport0p2; }"),
        cause=Cause.NO_SHELL,
        message="the guest's shell port gives garbage",
        quick=True,
    ),
    Fault(
        name="no shell",
        layer=fault("shell() { :; }"),
        cause=Cause.NO_SHELL,
        message="the guest's shell does not answer",
    ),
    Fault(
        name="a guest that is another commit",
        layer=fault(
            "early() { [ -e /moved ] || { mkdir /run/new; mount -t tmpfs new /run/new; "
            "cp -a /bin /sbin /lib /lib64 /usr /etc /run/new; cd /run/new; mkdir dev proc sys run; "
            "for name in dev proc sys; do mount --bind /$name $name; done; touch moved; "
            "exec 4>&-; exec chroot . /sbin/init; }; }"
        ),
        cause=Cause.WRONG_COMMIT,
        message="the guest's root is no deployment: / is mounted there",
    ),
)
