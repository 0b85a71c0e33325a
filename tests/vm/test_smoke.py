# SPDX-License-Identifier: LGPL-2.1-or-later
"""The smoke suite on real machines: a good guest passes, each seeded fault is told by its cause.

Every fault ends its boot early: the deadline of a boot here is over three minutes under TCG.
"""

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import image, process
from pipeline.ports.log import Level, Line, ListSink, Log, plain_text
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.errors import BadInput
from pipeline.words.manifest import KnownMessage
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests import faults, guests, machines
from tests.guests import commit_guest, fault, guest_disk, guest_request, with_smoke

pytestmark = pytest.mark.vm
EARLY = 0.75
"""Of the deadline; on a quiet machine most take a twentieth."""


def run(request: TestRequest, tmp: Path, log: Log) -> SuiteResult:
    return run_suite(request, cache=tmp / "cache", tmp=tmp / "tmp", log=log)


def deadline_s(result: SuiteResult) -> float:
    """Tell how long a boot of the small guest may take here."""
    return guests.TARGET.smoke.deadline_s * result.numbers["speed"]


def named(result: SuiteResult, name: str) -> TestResult:
    return next(one for one in result.tests if one.name == name)


def test_a_good_guest_passes_and_leaves_its_evidence(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    result = run(guest_request({}, tmp_path / "test/x86_64-guest/smoke", log=log), tmp_path, log)
    assert (result.verdict, result.message) == (Verdict.PASSED, "")
    assert result.evidence == "test/x86_64-guest/smoke"
    assert 0 < result.numbers["boot_s"] < deadline_s(result)
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


@pytest.mark.parametrize("one", faults.QUICK, ids=lambda one: one.name)
def test_a_fault_ends_the_boot_early_with_its_cause(
    one: faults.Fault, tmp_path: Path, log: Log
) -> None:
    result = faults.boot(one, tmp_path, log=log)
    assert faults.wrong_with(one, result) == ""
    assert result.seconds < deadline_s(result) * EARLY
    failed = [test for test in result.tests if test.verdict is Verdict.FAILED]
    assert one.cause in {test.cause for test in failed}
    assert (tmp_path / "evidence/screenshot-final.png").is_file()


def test_there_are_fifty_faults_and_none_twice() -> None:
    assert len(faults.FAULTS) >= 50
    assert len({one.name for one in faults.FAULTS}) == len(faults.FAULTS)
    assert len(faults.QUICK) == 12


def test_of_a_guest_that_told_nobody_the_kernels_log_is_read(tmp_path: Path, log: Log) -> None:
    (one,) = (one for one in faults.FAULTS if one.name == "a tree without a journal")
    result = faults.boot(one, tmp_path, log=log)
    assert faults.wrong_with(one, result) == ""
    found = (tmp_path / "evidence/kernel-log.txt").read_text()
    assert "Linux version " in found and "Run /init as init process" in found
    assert (tmp_path / "evidence/registers.txt").read_text().count("\nRIP=") == 2, "asked twice"
    failed = next(test for test in result.tests if test.verdict is Verdict.FAILED)
    assert "what its kernel said last, read from its memory (kernel-log.txt):" in failed.log


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


def running_below() -> list[tuple[int, list[bytes]]]:
    """List what runs below this process, as number and words."""
    found = []
    for pid, _ in process.descendants(os.getpid()):
        with suppress(FileNotFoundError, ProcessLookupError):
            found.append((pid, Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")))
    return found


def kill_qemu() -> None:
    for pid, words in running_below():
        if b"qemu-system" in words[0]:
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
    for pid, words in running_below():
        if b"vmtests" in words and b"unshare" not in words[0]:
            os.kill(pid, signal.SIGKILL)


def test_a_suite_that_is_killed_is_trouble_and_leaves_no_machine(tmp_path: Path, log: Log) -> None:
    request = guest_request(fault("services() { sleep 1000; }"), tmp_path / "evidence", log=log)
    with log.also(OnText("machine: boot", kill_pytest)):
        result = run(request, tmp_path, log)
    assert result.verdict is Verdict.TROUBLE
    assert "or was killed" in result.message
    assert not [words for _, words in running_below() if b"qemu-system" in words[0]]


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
