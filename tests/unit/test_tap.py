# SPDX-License-Identifier: LGPL-2.1-or-later
"""TAP as test programs write it, well and badly."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from pipeline.words.tap import Point, parse_tap


def test_a_plain_stream() -> None:
    found = parse_tap("TAP version 13\n1..3\nok 1 - opens\nnot ok 2 reads # what follows\nok 3\n")
    assert found.points == (
        Point(number=1, ok=True, name="opens"),
        Point(number=2, ok=False, name="reads # what follows"),
        Point(number=3, ok=True),
    )
    assert found.problem == ""
    assert [point.number for point in found.failures] == [2]


def test_what_is_no_tap_and_what_is_indented_is_passed_over() -> None:
    text = (
        "noise\n# Start of gdatetime tests\nokay\nok/1\n"
        "ok 1 /gdatetime/now\n  ---\n  ok: 2\n  ...\n"
        "    ok 1 - a subtest\n    1..1\nok 2\r\n# End\n1..2\n"
    )
    found = parse_tap(text)
    assert [point.name for point in found.points] == ["/gdatetime/now", ""]
    assert (found.planned, found.problem) == (2, "")


@pytest.mark.parametrize(
    ("line", "directive", "reason", "fails"),
    [
        ("ok 1 - a # SKIP no bus", "skip", "no bus", False),
        ("ok 1 - a # skipped: no bus", "skip", "no bus", False),
        ("not ok 1 - a # TODO not written", "todo", "not written", False),
        ("ok 1 - a # todo", "todo", "", False),
        ("not ok 1 - a \\# skip me", "", "", True),
    ],
)
def test_directives(line: str, directive: str, reason: str, fails: bool) -> None:
    (point,) = parse_tap(f"1..1\n{line}\n").points
    assert (point.directive, point.reason, point.is_failure) == (directive, reason, fails)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ok 1\n", "no plan (1..N) came, of 1 tests"),
        ("", "no plan (1..N) came, of 0 tests"),
        ("1..2\nok 1\n", "2 tests were planned, 1 came"),
        ("1..1\nok 1\nok 2\n", "1 tests were planned, 2 came"),
        ("1..2\nok 1\nok 3\n", "line 3: test 3 where 2 is due"),
        ("1..2\nok 1\nok 1\n", "line 3: test 1 where 2 is due"),
        ("1..1\n1..1\nok 1\n", "line 2: a second plan, '1..1'"),
    ],
)
def test_numbers_that_do_not_agree_are_a_problem_with_its_line(text: str, problem: str) -> None:
    assert parse_tap(text).problem == problem


def test_all_skipped_and_given_up() -> None:
    assert parse_tap("1..0 # SKIP needs a display\n").skipped == "needs a display"
    assert parse_tap("1..0\n").skipped == ""
    bailed = parse_tap("1..9\nok 1\nBail out! no disk left\nok 2\n")
    assert (bailed.bailed, len(bailed.points)) == ("no disk left", 1)


@given(some.text(alphabet="ok nt1.2#BSTai!-\n\\\r\0é", max_size=200))
def test_nothing_breaks_it(text: str) -> None:
    found = parse_tap(text)
    assert len(found.points) <= text.count("ok")
    if not found.problem and found.bailed is None:
        assert found.planned == len(found.points)


@given(some.lists(some.booleans(), max_size=30))
def test_what_was_written_is_read(written: list[bool]) -> None:
    lines = [f"{'ok' if ok else 'not ok'} {n} - t{n}" for n, ok in enumerate(written, start=1)]
    found = parse_tap("\n".join([f"1..{len(written)}", *lines, ""]))
    assert [point.ok for point in found.points] == written
    assert found.problem == ""
