# SPDX-License-Identifier: LGPL-2.1-or-later
"""``.test`` files, and what comes of running one."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.installed import LARGEST, InstalledTest, judge_test, parse_test
from pipeline.words.verdict import Verdict

PLAIN = InstalledTest(name="a.test", argv=("a",))
TAP = InstalledTest(name="a.test", argv=("a",), is_tap=True)


def test_a_file_as_glib_installs_it() -> None:
    text = (
        b"[Test]\nType=session\n"
        b"Exec=/usr/libexec/installed-tests/glib/array 'a b' --tap\nOutput=TAP\n"
    )
    assert parse_test("glib/array.test", text) == InstalledTest(
        name="glib/array.test",
        argv=("/usr/libexec/installed-tests/glib/array", "a b", "--tap"),
        is_tap=True,
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "it has no group [Test]"),
        (b"Exec=a\n", "line 1: outside of any [GROUP]"),
        (b"[Test]\nType=session\n", "it has no Exec=, the command to run"),
        (b"[Test]\nExec=\n", "it has no Exec=, the command to run"),
        (b"# c\n[Test]\nExec=a 'b\n", "line 3: No closing quotation"),
        (b"[Test]\nnonsense\nExec=a\n", "line 2: neither [GROUP] nor KEY=VALUE"),
        (b"[Test]\nExec=a\nType=hardware\n", "line 3: Type=hardware is none of session, "),
        (b"[Test]\nOutput=XML\nExec=a\n", "line 2: Output=XML is not known, only TAP"),
        (b"[Test]\nExec=\xff\n", "line 2: not UTF-8"),
        (b"[Test]\nExec=a\nExec=b\n", "line 3: "),
        (b"#" * (LARGEST + 1), f"larger than {LARGEST} bytes"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(text: bytes, problem: str) -> None:
    found = parse_test("a.test", text)
    assert found.problem.startswith(problem), found.problem
    assert found.argv == ()


@given(some.binary(max_size=300) | some.text(alphabet="[Test]\nEx=c'\"#; ", max_size=100))
def test_nothing_breaks_it(data: bytes | str) -> None:
    found = parse_test("a.test", data if isinstance(data, bytes) else data.encode())
    assert bool(found.problem) != bool(found.argv)


@pytest.mark.parametrize(
    ("test", "code", "output", "errors", "verdict", "message"),
    [
        (PLAIN, 0, "", "", Verdict.PASSED, ""),
        (PLAIN, 1, "ok 1 no error\n", "gone\n", Verdict.FAILED, "ended with exit code 1: gone"),
        (
            *(PLAIN, 1, "ok 1 fails as it should\n"),
            "error: no such ref\n+ assert_not_reached a\nx: line 9: gpg-connect-agent: not found\n",
            *(Verdict.FAILED, "ended with exit code 1: error: no such ref"),
        ),
        (PLAIN, 1, "", "+ false\n", Verdict.FAILED, "ended with exit code 1: + false"),
        (PLAIN, 77, "no bus\n", "", Verdict.SKIPPED, "no bus"),
        (PLAIN, 0, "label: ok\n1..0 # SKIP no SELinux\n", "", Verdict.SKIPPED, "no SELinux"),
        (PLAIN, 0, "1..1\nnot ok 1\n", "", Verdict.PASSED, ""),
        (PLAIN, 3, "x\n", "it broke\n", Verdict.FAILED, "ended with exit code 3: it broke"),
        (PLAIN, 139, "", "", Verdict.FAILED, "was killed by SIGSEGV"),
        (PLAIN, 137, "", "", Verdict.FAILED, "did not end within 300 s, or was killed"),
        (TAP, 0, "1..1\nok 1\n", "", Verdict.PASSED, ""),
        (TAP, 1, "1..2\nok 1\nnot ok 2 - b\n", "", Verdict.FAILED, "1 of 2 failed: b"),
        (TAP, 0, "1..2\nok 1\nnot ok 2 - b\n", "", Verdict.FAILED, "1 of 2 failed: b"),
        (TAP, 1, "1..1\nok 1\n", "late\n", Verdict.FAILED, "ended with exit code 1: late"),
        (TAP, 134, "1..2\nok 1\n", "", Verdict.FAILED, "was killed by SIGABRT: ok 1"),
        (TAP, 0, "1..2\nok 1\n", "", Verdict.FAILED, "its TAP is malformed: 2 tests were planned"),
        (TAP, 0, "1..0 # SKIP no display\n", "", Verdict.SKIPPED, "no display"),
        (TAP, 0, "1..1\nok 1 # SKIP no bus\n", "", Verdict.SKIPPED, "no bus"),
        (TAP, 77, "", "no net\n", Verdict.SKIPPED, "no net"),
        (TAP, 77, "1..0 # SKIP no net\n", "", Verdict.SKIPPED, "no net"),
        # GLib's gdbus-threading, whole.
        (TAP, 77, "ok 1 # SKIP too unreliable\n", "", Verdict.SKIPPED, "too unreliable"),
        (TAP, 77, "not ok 1 - reads\n1..1\n", "", Verdict.FAILED, "1 of 1 failed: reads"),
        (TAP, 0, "noise\n", "", Verdict.PASSED, ""),
        (TAP, 2, "", "", Verdict.FAILED, "ended with exit code 2"),
        (TAP, 0, "1..1\nBail out! no disk\n", "", Verdict.FAILED, "gave up: no disk"),
        (TAP, 0, "1..1\nok 1 - a # TODO\n", "", Verdict.PASSED, "passed, though still to be done"),
    ],
)
def test_what_an_ended_test_comes_to(
    test: InstalledTest, code: int, output: str, errors: str, verdict: Verdict, message: str
) -> None:
    found = judge_test(test, code, output, errors, seconds=300)
    assert (found.verdict, found.message.startswith(message)) == (verdict, True), found
    assert bool(message) == bool(found.message)


def test_many_failures_are_counted_and_a_few_are_named() -> None:
    output = "1..9\n" + "".join(f"not ok {n} - t{n}\n" for n in range(1, 10))
    found = judge_test(TAP, 1, output, "", seconds=300)
    assert found.message == "9 of 9 failed: t1, t2, t3, t4, t5 and 4 more"


def test_what_is_expected_to_fail_is_run_and_told_when_it_passes() -> None:
    test = InstalledTest(name="a.test", argv=("a",), is_expected_to_fail=True)
    failed = judge_test(test, 1, "", "", seconds=300)
    assert (failed.verdict, failed.message) == (
        Verdict.SKIPPED,
        "known to fail: ended with exit code 1",
    )
    passed = judge_test(test, 0, "", "", seconds=300)
    assert (passed.verdict, passed.message) == (
        Verdict.PASSED,
        "passed, though it is listed as failing",
    )
