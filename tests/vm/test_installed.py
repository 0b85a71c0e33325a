# SPDX-License-Identifier: LGPL-2.1-or-later
"""The suite of installed tests on a real machine: each file of the tree has a result of its own."""

import gzip
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports.log import Level, ListSink, Log
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.errors import BadInput
from pipeline.words.verdict import SuiteResult, Verdict
from tests.guests import fault, guest_repo, guest_request

pytestmark = pytest.mark.vm
PLACE = "/usr/share/installed-tests"
PROGRAMS = "/usr/libexec/installed-tests"


def a_test(name: str, script: str, *more: str) -> dict[str, str | None]:
    """Make the two files of an installed test."""
    lines = ["[Test]", "Type=session", f"Exec={PROGRAMS}/{name} 'a b'", *more]
    return {
        f"{PLACE}/{name}.test": "\n".join([*lines, ""]),
        f"{PROGRAMS}/{name}": f"#!/bin/sh\n{script}\n",
    }


LAYER = {
    **a_test("guest/plain", 'test "$1" = "a b" && test "$HOME" = "$PWD" && : >out'),
    **a_test("guest/crashes", "mkdir deep; cd deep; sh -c 'kill -SEGV $$'"),
    **a_test("guest/fails", "echo no core >core.c; echo it broke >&2; exit 3"),
    **a_test("guest/skips", "test -f .testtmp && test -x $SHELL && echo no bus && exit 77"),
    **a_test("guest/tap", "echo 1..2; echo ok 1; echo not ok 2 - reads", "Output=TAP"),
    **a_test("guest/later", "exit 1"),
    **a_test("guest/zpanics", "echo c >/proc/sysrq-trigger; sleep 100"),
    **a_test("guest/zzafter", "test ! -e /var/tmp/installed-test.*/out"),
    f"{PLACE}/guest/malformed.test": "[Test]\nExec=a 'b\n",
    f"{PLACE}/guest/readme.txt": "no test",
}


def request_of(layer: dict[str, str | None], tmp: Path, log: Log) -> TestRequest:
    found = guest_request(layer, tmp / "evidence", log=log)
    known = ("usr/share/installed-tests/guest/later.test",)
    return replace(found, suite="installed", repo=guest_repo(log), known_failing=known)


def run(request: TestRequest, tmp: Path, log: Log) -> SuiteResult:
    return run_suite(request, cache=tmp / "cache", tmp=tmp / "tmp", log=log)


def test_each_installed_test_has_its_own_result(tmp_path: Path, log: Log, sink: ListSink) -> None:
    result = run(request_of(LAYER, tmp_path, log), tmp_path, log)
    found = {one.name: (one.verdict, one.message) for one in result.tests}
    assert found == {
        "guest/crashes.test": (
            Verdict.FAILED,
            "was killed by SIGSEGV: Segmentation fault (core dumped)",
        ),
        "guest/fails.test": (Verdict.FAILED, "ended with exit code 3: it broke"),
        "guest/later.test": (Verdict.SKIPPED, "known to fail: ended with exit code 1"),
        "guest/malformed.test": (
            Verdict.FAILED,
            "guest/malformed.test is malformed: line 2: No closing quotation",
        ),
        "guest/plain.test": (Verdict.PASSED, ""),
        "guest/skips.test": (Verdict.SKIPPED, "no bus"),
        "guest/tap.test": (Verdict.FAILED, "1 of 2 failed: reads"),
        "guest/zpanics.test": (
            Verdict.FAILED,
            "Kernel panic - not syncing: sysrq triggered crash",
        ),
        "guest/zzafter.test": (Verdict.PASSED, ""),
    }
    assert (result.verdict, result.suite) == (Verdict.FAILED, "installed")
    report = ET.parse(tmp_path / "evidence" / "junit.xml").getroot()
    cases = {one.get("name"): one for one in report.iter("testcase")}
    assert len(cases) == len(result.tests)
    failure = cases["test_installed[guest/tap.test]"].find("failure")
    assert failure is not None and failure.text is not None
    assert failure.get("message") == "1 of 2 failed: reads"
    assert "not ok 2 - reads" in failure.text and "Traceback" not in failure.text
    for one in result.tests:
        assert float(cases[f"test_installed[{one.name}]"].get("time", "0")) <= one.seconds + 1.0
    # What it wrote is told where it failed; what another machine's console said, is not.
    facts = [line.strip() for line in sink.texts(Level.FACT)]
    told = next(at for at, line in enumerate(facts) if "guest/tap.test failed (test)" in line)
    assert facts[told + 1 : told + 4] == ["1..2", "ok 1", "not ok 2 - reads"]
    assert "to repeat just this test" in facts[told + 4]
    [skipped] = (tmp_path / "evidence" / "tests").glob("guest-skips*/log.txt")
    assert "skipped: no bus" in skipped.read_text() and "FAILED" not in skipped.read_text()
    assert "not ok 2 - reads" in next(one.log for one in result.tests if "tap" in one.name)
    [core] = (tmp_path / "evidence" / "tests").glob("*/core.gz")
    assert core.parent.name.startswith("guest-crashes")
    assert gzip.decompress(core.read_bytes())[:18].startswith(b"\x7fELF\x02\x01\x01")
    assert f"it dumped core: {core}, " in next(
        one.log for one in result.tests if "crash" in one.name
    )


def test_what_breaks_meanwhile_fails_the_test_that_was_running(tmp_path: Path, log: Log) -> None:
    until = "while [ ! -e /var/tmp/{} ]; do sleep 0.1; done"
    failing = "unit_failed x.service core-dump; echo >/var/tmp/told"
    layer = {
        **fault(f"late() {{ {until.format('go')}; {failing}; }}"),
        **a_test("guest/breaks", f"echo >/var/tmp/go; {until.format('told')}"),
        **a_test("guest/well", "exit 0"),
    }
    result = run(request_of(layer, tmp_path, log), tmp_path, log)
    found = {one.name: (one.verdict, one.message) for one in result.tests}
    assert found == {
        "guest/breaks.test": (
            Verdict.FAILED,
            "while it ran: x.service: Failed with result 'core-dump'.",
        ),
        "guest/well.test": (Verdict.PASSED, ""),
    }


def test_what_a_boot_shows_is_not_held_against_the_test_after_it(tmp_path: Path, log: Log) -> None:
    # Its failed unit is there again after the panic of the first test.
    layer = {
        **fault("services() { unit_failed x.service exit-code; }"),
        **a_test("guest/panics", "echo c >/proc/sysrq-trigger; sleep 100"),
        **a_test("guest/well", "exit 0"),
    }
    result = run(request_of(layer, tmp_path, log), tmp_path, log)
    assert {one.name: one.verdict for one in result.tests} == {
        "guest/panics.test": Verdict.FAILED,
        "guest/well.test": Verdict.PASSED,
    }


def test_a_tree_that_does_not_boot_fails_once_and_skips_the_rest(tmp_path: Path, log: Log) -> None:
    layer = {
        **fault("early() { echo c >/proc/sysrq-trigger; }"),
        **a_test("guest/one", "exit 0"),
        **a_test("guest/two", "exit 0"),
    }
    result = run(request_of(layer, tmp_path, log), tmp_path, log)
    assert [(one.verdict, one.cause) for one in result.tests] == [
        (Verdict.FAILED, "panic"),
        (Verdict.SKIPPED, ""),
    ]


def test_one_of_them_is_run_alone_and_one_that_is_not_there_is_told(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    request = request_of(LAYER, tmp_path, log)
    one = run(replace(request, suite="installed/guest/fails.test"), tmp_path, log)
    assert [test.name for test in one.tests] == ["guest/fails.test"]
    assert one.suite == "installed/guest/fails.test"
    assert any(
        "to repeat just this test: ostci test" in line
        and line.endswith("installed/guest/fails.test")
        for line in sink.texts()
    )
    with pytest.raises(BadInput, match=r"has no installed test guest/fail\.test") as caught:
        run(replace(request, suite="installed/guest/fail.test"), tmp_path, log)
    assert caught.value.hint == "did you mean installed/guest/fails.test?"


def test_a_tree_without_any_is_skipped_and_nothing_is_booted(
    tmp_path: Path, log: Log, sink: ListSink
) -> None:
    result = run(request_of({}, tmp_path, log), tmp_path, log)
    assert (result.verdict, result.message) == (
        Verdict.SKIPPED,
        "x86_64-guest has no installed tests",
    )
    assert not any("boot" in line for line in sink.texts())


def test_what_comes_to_something_else_after_a_boot_than_in_a_fork_is_our_bug(
    tmp_path: Path, log: Log
) -> None:
    layer = {
        **a_test("guest/aleaves", "touch /var/tmp/left"),
        **a_test("guest/fails", "exit 3"),
        **a_test("guest/left", "test ! -e /var/tmp/left"),
        **a_test("guest/passes", "true"),
        # What a checkpoint leaves in its machine for those who wake it.
        **a_test("guest/zforks", "test -e /run/ostci-shell/wake"),
    }
    result = run(replace(request_of(layer, tmp_path, log), suite="pairs"), tmp_path, log)
    found = {one.name: (one.verdict, one.message) for one in result.tests}
    told = "passed in a fork, failed after a boot: ended with exit code 1"
    assert found == {
        "installed/guest/aleaves.test": (Verdict.PASSED, ""),
        "installed/guest/fails.test": (Verdict.PASSED, ""),
        "installed/guest/left.test": (Verdict.FLAKY, f"once {told}"),
        "installed/guest/passes.test": (Verdict.PASSED, ""),
        "installed/guest/zforks.test": (Verdict.TROUBLE, f"twice {told}"),
    }
    assert (result.verdict, result.cause) == (Verdict.TROUBLE, "bug")
    assert result.message == f"installed/guest/zforks.test: twice {told}"
    places = {path.parent.name for path in (tmp_path / "evidence").glob("**/junit.xml")}
    assert places == {"in-forks", "after-a-boot"}
    assert (tmp_path / "evidence/installed/again/after-a-boot/log.txt").is_file()
