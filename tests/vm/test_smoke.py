# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smoke suite on real machines: a good guest passes, each seeded fault is told by its cause.

Every fault ends its boot early: the deadline of a boot here is over three minutes under TCG.
"""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pipeline.ports import image, process
from pipeline.ports.log import Level, Line, ListSink, Log, plain_text
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.errors import BadInput
from pipeline.words.manifest import KnownMessage, Target
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests import guests, machines
from tests.guests import TARGET, commit_guest, fault, guest_disk, guest_request, with_smoke

pytestmark = pytest.mark.vm
EARLY_S = 150.0
"""Of a deadline of 200 s under TCG; on a quiet machine most take under ten."""


def run(request: TestRequest, tmp: Path, log: Log) -> SuiteResult:
    return run_suite(request, cache=tmp / "cache", tmp=tmp / "tmp", log=log)


def named(result: SuiteResult, name: str) -> TestResult:
    return next(one for one in result.tests if one.name == name)


def test_a_good_guest_passes_and_leaves_its_evidence(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    result = run(guest_request({}, tmp_path / "test/x86_64-guest/smoke", log=log), tmp_path, log)
    assert (result.verdict, result.message) == (Verdict.PASSED, "")
    assert result.evidence == "test/x86_64-guest/smoke"
    assert 0 < result.numbers["boot_s"] < 100
    skipped = [one for one in result.tests if one.verdict is Verdict.SKIPPED]
    assert skipped == []
    evidence = tmp_path / result.evidence
    assert b"Linux version" in (evidence / "console.txt").read_bytes()
    assert b"f77379a8490b408bbe5f6940505a777b" in (evidence / "journal.json").read_bytes()
    assert "systemd[1]: Reached target multi-user.target." in (evidence / "journal.txt").read_text()
    assert (evidence / "screenshot-final.png").read_bytes().startswith(b"\x89PNG")
    assert 'tests="10"' in (evidence / "junit.xml").read_text()
    assert (evidence / "timings.json").is_file()
    assert "machine: boot …" in sink.texts(Level.FACT)


def test_a_disk_that_grew_out_of_another_boots_the_new_tree(tmp_path: Path, log: Log) -> None:
    guest_disk(commit_guest({}, log=log), log=log)
    script = """late() {
    link=$(sed "s/.*ostree=\\([^ ]*\\).*/\\1/" /proc/cmdline)
    tell "this is $(cat /usr/lib/guest/new) of $(readlink /sysroot$link)"
}"""
    layer = {**fault(script), "/usr/lib/guest/new": "the new tree"}
    request = guest_request(layer, tmp_path / "evidence", log=log)
    assert image.below(Path(request.disk.path))
    result = run(request, tmp_path, log)
    assert (result.verdict, result.message) == (Verdict.PASSED, "")
    told = (tmp_path / "evidence/journal.txt").read_text()
    deployed = f"../../../deploy/guest/deploy/{request.tree.commit}.0"
    assert f"this is the new tree of {deployed}" in told


def test_the_tiny_sample_passes(tmp_path: Path, log: Log) -> None:
    made = machines.tiny_disk(log)
    request = TestRequest(
        run=machines.VERSION,
        tree=made.tree,
        target=made.target,
        disk=made.disk,
        suite="smoke",
        into=tmp_path / "evidence",
    )
    result = run(request, tmp_path, log)
    assert (result.verdict, result.message) == (Verdict.PASSED, "")


@dataclass(frozen=True, kw_only=True)
class Fault:
    layer: Mapping[str, str | None]
    cause: str
    message: str
    target: Target = TARGET


FAULTS = {
    "a kernel that panics": Fault(
        layer=fault("early() { echo c >/proc/sysrq-trigger; }"),
        cause="panic",
        message="Kernel panic - not syncing: sysrq triggered crash",
    ),
    "a tree without init": Fault(
        layer={"/usr/sbin/init": None},
        cause="no-init",
        message="the tree has no init: /sbin/init is missing",
    ),
    "an init that exits": Fault(
        layer=fault("early() { exit 3; }"),
        cause="init-died",
        message="Attempted to kill init! exitcode=0x00000300",
    ),
    "an initramfs that does not find its root": Fault(
        layer={},
        cause="initramfs",
        message="root LABEL=elsewhere did not appear within 1 s",
        target=replace(TARGET, kernel_options=("root=LABEL=elsewhere", "rootdelay=1")),
    ),
    "a guest that powers off": Fault(
        layer=fault("services() { poweroff -f; }"),
        cause="powered-off",
        message="the guest powered off before the boot was done",
    ),
    "a guest that resets": Fault(
        layer=fault("services() { reboot -f; }"),
        cause="reboot-loop",
        message="the guest reset itself before the boot was done",
    ),
    "a guest that hangs": Fault(
        layer=fault("services() { sleep 10000; }"),
        cause="hang",
        message="the last was: systemd: Journal started",
        target=with_smoke(deadline_s=7),
    ),
    "a unit that fails": Fault(
        layer=fault("services() { unit_failed broken.service exit-code; }"),
        cause="failed-unit",
        message="broken.service: Failed with result 'exit-code'.",
    ),
    "a unit that the target needs and that fails": Fault(
        layer=fault(
            "services() { unit_failed broken.service exit-code; "
            "start_failed broken.service failed; start_failed $UNIT dependency; sleep 1000; }"
        ),
        cause="target-missed",
        message="multi-user.target was not reached (dependency); first: broken.service: Failed",
    ),
    "a start-up that finishes without the target": Fault(
        layer=fault("target() { :; }"),
        cause="target-missed",
        message="the start-up finished, but multi-user.target was not reached",
    ),
    "a unit that fails soon after the boot is done": Fault(
        layer=fault("late() { sleep 1; unit_failed late.service exit-code; }"),
        cause="failed-unit",
        message="late.service: Failed with result 'exit-code'.",
        target=with_smoke(settle_s=15),
    ),
    "a unit that does not start in time": Fault(
        layer=fault("services() { unit_failed slow.service timeout; }"),
        cause="start-timeout",
        message="slow.service: Failed with result 'timeout'.",
    ),
    "a program that crashes": Fault(
        layer=fault("services() { unit_failed crasher.service core-dump; }"),
        cause="core-dump",
        message="crasher.service: Failed with result 'core-dump'.",
    ),
    "a program that takes all memory": Fault(
        layer=fault("services() { tail /dev/zero; sleep 1; }"),
        cause="oom-kill",
        message="Out of memory: Killed process",
    ),
    "an error message": Fault(
        layer=fault("services() { speaker=hello pid=77 tell 'no teapot' 3; }"),
        cause="error-message",
        message="hello: no teapot",
    ),
    "a forbidden message": Fault(
        layer=fault('services() { tell hm 6 \'"MESSAGE_ID":"0123456789abcdef"\'; }'),
        cause="forbidden-message",
        message="a session died: systemd: hm",
        target=with_smoke(forbidden={"0123456789abcdef": "a session died"}),
    ),
    "a required message that does not come": Fault(
        layer={},
        cause="missing-message",
        message="a greeting (fedcba9876543210)",
        target=with_smoke(required={"fedcba9876543210": "a greeting"}, deadline_s=7),
    ),
    "emergency mode": Fault(
        layer=fault("services() { echo 'You are in emergency mode. Press ^D' >/dev/console; }"),
        cause="emergency",
        message="You are in emergency mode",
    ),
    "a flooded console": Fault(
        layer=fault("services() { yes 0123456789abcdef0123456789abcdef >/dev/console; }"),
        cause="flood",
        message="bytes to its console",
        target=with_smoke(deadline_s=20),
    ),
    "a flooded journal": Fault(
        layer=fault("services() { head -c 200000000 /dev/zero | tr '\\0' a >&4; }"),
        cause="flood",
        message="bytes to its journal",
    ),
    "garbage on the shell's port": Fault(
        layer=fault("shell() { cat /dev/urandom >/dev/vport0p2; }"),
        cause="no-shell",
        message="the guest's shell port gives garbage",
    ),
    "no shell": Fault(
        layer=fault("shell() { :; }"),
        cause="no-shell",
        message="the guest's shell does not answer",
    ),
    "a guest that is another commit": Fault(
        layer=fault(
            "early() { [ -e /moved ] || { mkdir /run/new; mount -t tmpfs new /run/new; "
            "cp -a /bin /sbin /lib /lib64 /usr /etc /run/new; cd /run/new; mkdir dev proc sys run; "
            "for name in dev proc sys; do mount --bind /$name $name; done; touch moved; "
            "exec 4>&-; exec chroot . /sbin/init; }; }"
        ),
        cause="wrong-commit",
        message="the guest's root is no deployment: / is mounted there",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_the_boot_early_with_its_cause(name: str, tmp_path: Path, log: Log) -> None:
    seeded = FAULTS[name]
    request = guest_request(seeded.layer, tmp_path / "evidence", log=log, target=seeded.target)
    result = run(request, tmp_path, log)
    assert result.verdict is Verdict.FAILED
    assert (result.cause, seeded.message in result.message) == (seeded.cause, True), result.message
    assert result.seconds < EARLY_S
    failed = [one for one in result.tests if one.verdict is Verdict.FAILED]
    assert seeded.cause in {one.cause for one in failed}
    assert (tmp_path / "evidence/screenshot-final.png").is_file()


def test_a_known_message_is_no_failure(tmp_path: Path, log: Log) -> None:
    layer = fault(
        "services() { speaker=hello pid=77 tell 'no teapot' 3; "
        "unit_failed teapot.service exit-code; }"
    )
    known = (
        KnownMessage(pattern="^hello: no teapot$", reason="nobody drinks tea"),
        KnownMessage(pattern="^systemd: teapot.service: Failed", reason="nor will"),
    )
    request = guest_request(layer, tmp_path / "evidence", log=log, target=with_smoke(known=known))
    assert run(request, tmp_path, log).verdict is Verdict.PASSED


def test_a_disk_of_another_commit_is_told(tmp_path: Path, log: Log) -> None:
    request = guest_request({}, tmp_path / "evidence", log=log)
    other = guests.commit_guest(fault("late() { :; }"), log=log)
    # The records agree with each other; what lies on the disk is not what they say.
    tree, disk = replace(request.tree, commit=other), replace(request.disk, commit=other)
    result = run(replace(request, tree=tree, disk=disk), tmp_path, log)
    assert result.cause == "wrong-commit"
    assert result.message.endswith(f"not {other}")


class OnText:
    """Call something once when the log says something."""

    def __init__(self, text: str, then: Callable[[], None]) -> None:
        self.text = text
        self.then: Callable[[], None] | None = then

    def write(self, line: Line) -> None:
        if self.then is not None and self.text in plain_text(line):
            then, self.then = self.then, None
            then()


def kill_qemu() -> None:
    for pid, _ in process.descendants(os.getpid()):
        if Path(f"/proc/{pid}/comm").read_text().startswith("qemu-system"):
            os.kill(pid, signal.SIGKILL)


def test_a_qemu_that_is_killed_is_trouble_and_no_failure_of_the_guest(
    tmp_path: Path, log: Log
) -> None:
    layer = fault("services() { sleep 1000; }")
    request = guest_request(layer, tmp_path / "evidence", log=log)
    with log.also(OnText("machine: boot", kill_qemu)):
        result = run(request, tmp_path, log)
    assert (result.verdict, result.cause) == (Verdict.TROUBLE, "trouble")
    assert result.message == "machine: QEMU was killed, or died of its own"


def kill_pytest() -> None:
    for pid, _ in process.descendants(os.getpid()):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"vmtests" in words and b"unshare" not in words[0]:
            os.kill(pid, signal.SIGKILL)


def test_a_suite_that_is_killed_is_trouble_and_leaves_no_machine(tmp_path: Path, log: Log) -> None:
    request = guest_request(fault("services() { sleep 1000; }"), tmp_path / "evidence", log=log)
    with log.also(OnText("machine: boot", kill_pytest)):
        result = run(request, tmp_path, log)
    assert result.verdict is Verdict.TROUBLE
    assert "or was killed" in result.message
    running = [Path(f"/proc/{pid}/comm").read_text() for pid, _ in process.descendants(os.getpid())]
    assert not [name for name in running if name.startswith("qemu")]


def test_one_test_can_be_repeated_alone_and_does_not_pass_for_its_suite(
    tmp_path: Path, log: Log
) -> None:
    request = replace(
        guest_request({}, tmp_path / "evidence", log=log), suite="smoke/test_no_unit_failed"
    )
    result = run(request, tmp_path, log)
    assert [(one.name, one.verdict) for one in result.tests] == [
        ("test_no_unit_failed", Verdict.PASSED)
    ]
    assert result.suite == "smoke/test_no_unit_failed"


def test_a_suite_or_test_that_is_not_there_is_bad_input(tmp_path: Path, log: Log) -> None:
    request = guest_request({}, tmp_path / "evidence", log=log)
    with pytest.raises(BadInput, match="there is no suite smok") as caught:
        run(replace(request, suite="smok"), tmp_path, log)
    assert caught.value.hint == "did you mean smoke?"
    with pytest.raises(BadInput, match="suite smoke has no test test_none"):
        run(replace(request, suite="smoke/test_none"), tmp_path, log)


def test_a_process_that_breaks_down_is_our_bug(
    tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = guest_request({}, tmp_path / "evidence", log=log)
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with pytest.raises(RuntimeError, match="pytest ended with 1 in suite smoke"):
        run(request, tmp_path, log)
