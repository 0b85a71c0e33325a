# SPDX-License-Identifier: LGPL-2.1-or-later
"""Installed tests: what a ``.test`` file says, and what came of running one.

The format is that of gnome-desktop-testing (wiki.gnome.org/Initiatives/GnomeGoals/InstalledTests):
a key file with the group ``Test`` and the keys ``Type``, ``Exec`` and ``Output``.
"""

import configparser
import contextlib
import re
import shlex
import signal
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.words.tap import Point, parse_tap
from pipeline.words.verdict import Verdict

PLACE = "usr/share/installed-tests"
SUITE = "installed"
TIMEOUT_S = 300
"""What one test may take on a host with KVM, as gnome-desktop-testing-runner has it."""
LARGEST = 64 * 1024
"""Bytes of a ``.test`` file."""
SKIPPED = 77
_KILLED = (124, 137)
_TYPES = ("session", "session-exclusive")
_NAMED = 5
_WRONG = re.compile(
    r"^(?!ok\b).*\b(error|fatal|fail(ed|ure)?|assert\w*|abort\w*|not ok)\b", re.IGNORECASE
)
_BESIDE = re.compile(r"^\++ |\bgpg-connect-agent\b")
"""What is no reason: a shell's trace, and what ostree's tests tidy up by."""


@dataclass(frozen=True, kw_only=True)
class InstalledTest:
    """One ``.test`` file; ``name`` is its path below the place of all of them.

    ``problem`` says why it cannot be run. ``is_expected_to_fail`` is the manifest's word.
    """

    name: str
    argv: tuple[str, ...] = ()
    is_tap: bool = False
    is_exclusive: bool = False
    is_expected_to_fail: bool = False
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of a test; ``message`` says why in a line, also of what passed unexpectedly."""

    verdict: Verdict
    message: str = ""


def parse_test(name: str, data: bytes, *, is_expected_to_fail: bool = False) -> InstalledTest:
    """Read a ``.test`` file; what is wrong with it is its ``problem``, with the line."""
    try:
        argv, is_tap, is_exclusive = _parse(data)
    except _Malformed as error:
        return InstalledTest(name=name, problem=str(error), is_expected_to_fail=is_expected_to_fail)
    return InstalledTest(
        name=name,
        argv=argv,
        is_tap=is_tap,
        is_exclusive=is_exclusive,
        is_expected_to_fail=is_expected_to_fail,
    )


class _Malformed(Exception):
    pass


def _parse(data: bytes) -> tuple[tuple[str, ...], bool, bool]:
    if len(data) > LARGEST:
        raise _Malformed(f"larger than {LARGEST} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise _Malformed(f"line {line}: not UTF-8") from error
    reader = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#",), empty_lines_in_values=False
    )
    reader.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        reader.read_string(text)
    except configparser.MissingSectionHeaderError as error:
        raise _Malformed(f"line {error.lineno}: outside of any [GROUP]") from error
    except configparser.ParsingError as error:
        raise _Malformed(f"line {error.errors[0][0]}: neither [GROUP] nor KEY=VALUE") from error
    except configparser.Error as error:
        line = getattr(error, "lineno", None) or 1
        raise _Malformed(f"line {line}: {error.message.splitlines()[0]}") from error
    if not reader.has_section("Test"):
        raise _Malformed("it has no group [Test]")
    test = reader["Test"]
    kind, output = test.get("Type", "session"), test.get("Output", "")
    if kind not in _TYPES:
        raise _Malformed(f"{_line(text, 'Type')}: Type={kind} is none of {', '.join(_TYPES)}")
    if output not in ("", "TAP"):
        raise _Malformed(f"{_line(text, 'Output')}: Output={output} is not known, only TAP")
    try:
        argv = tuple(shlex.split(test.get("Exec", "")))
    except ValueError as error:
        raise _Malformed(f"{_line(text, 'Exec')}: {error}") from error
    if not argv or "\0" in "".join(argv):
        raise _Malformed("it has no Exec=, the command to run")
    return argv, output == "TAP", kind == "session-exclusive"


def _line(text: str, key: str) -> str:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.partition("=")[0].strip() == key:
            return f"line {number}"
    return "line 1"


def judge_test(
    test: InstalledTest, code: int, output: str, errors: str, *, seconds: float
) -> Judged:
    """Say what an ended test comes to, by its exit code and what it wrote.

    ``seconds`` is how long it was given at most.
    """
    found = _judge_tap(code, output, errors) if test.is_tap else _judge_code(code, output, errors)
    if code in _KILLED and found.verdict is Verdict.FAILED:
        found = _failed(f"did not end within {seconds:.0f} s, or was killed")
    if not test.is_expected_to_fail:
        return found
    if found.verdict is Verdict.FAILED:
        return Judged(verdict=Verdict.SKIPPED, message=f"known to fail: {found.message}")
    if found.verdict is Verdict.PASSED:
        return Judged(verdict=Verdict.PASSED, message="passed, though it is listed as failing")
    return found


def _judge_code(code: int, output: str, errors: str) -> Judged:
    if code == SKIPPED:
        return Judged(verdict=Verdict.SKIPPED, message=_last(output, errors))
    if code:
        return _failed(_ended(code, output, errors))
    # Most of ostree's write TAP and do not say so; one that skipped all has not passed.
    tap = parse_tap(output)
    if tap.skipped is not None and not tap.points:
        return Judged(verdict=Verdict.SKIPPED, message=tap.skipped)
    return Judged(verdict=Verdict.PASSED)


def _judge_tap(code: int, output: str, errors: str) -> Judged:
    tap = parse_tap(output)
    if tap.is_empty:
        # Several of GLib's say ``Output=TAP`` and write none; gnome-desktop-testing-runner goes by
        # the exit code alone.
        return _judge_code(code, output, errors)
    if tap.bailed is not None:
        return _failed(f"gave up: {tap.bailed or 'it does not say why'}")
    if tap.failures:
        return _failed(_list(_names(tap.failures), tap.planned))
    if code == SKIPPED:
        # By exit code and by TAP at once, in any mixture; the exit code is of the whole.
        why = tap.skipped or _reasons(tap.points) or _last(output, errors)
        return Judged(verdict=Verdict.SKIPPED, message=why)
    if code:
        return _failed(_ended(code, output, errors))
    if tap.skipped is not None:
        return Judged(verdict=Verdict.SKIPPED, message=tap.skipped)
    if tap.problem:
        return _failed(f"its TAP is malformed: {tap.problem}")
    if tap.points and all(point.directive == "skip" for point in tap.points):
        return Judged(verdict=Verdict.SKIPPED, message=_reasons(tap.points))
    done = _names([point for point in tap.points if point.ok and point.directive == "todo"])
    told = f"passed, though still to be done: {', '.join(done[:_NAMED])}" if done else ""
    return Judged(verdict=Verdict.PASSED, message=told)


def _names(points: Sequence[Point]) -> list[str]:
    return [point.name or str(point.number) for point in points]


def _reasons(points: Sequence[Point]) -> str:
    reasons = sorted({point.reason for point in points if point.directive == "skip"} - {""})
    return "; ".join(reasons[:_NAMED])


def _failed(message: str) -> Judged:
    return Judged(verdict=Verdict.FAILED, message=message)


def _list(names: list[str], planned: int | None) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    of = f" of {planned}" if planned else ""
    return f"{len(names)}{of} failed: {', '.join(names[:_NAMED])}{more}"


def _ended(code: int, output: str, errors: str) -> str:
    said = _telling(output, errors)
    how = f"ended with exit code {code}"
    if code > 128:
        with contextlib.suppress(ValueError):
            how = f"was killed by {signal.Signals(code - 128).name}"
    return f"{how}: {said}" if said else how


def _telling(output: str, errors: str) -> str:
    """Find the line that tells why: the last that speaks of an error, or else the last."""
    lines = [line for line in _lines(output, errors) if not _BESIDE.search(line)]
    wrong = [line for line in lines if _WRONG.search(line)]
    return (wrong or lines or _lines(output, errors) or [""])[-1]


def _last(output: str, errors: str) -> str:
    return (_lines(output, errors) or [""])[-1]


def _lines(output: str, errors: str) -> list[str]:
    lines = (line.strip()[:200] for line in f"{output}\n{errors}".splitlines())
    return [line for line in lines if line]
