# SPDX-License-Identifier: LGPL-2.1-or-later
"""External tests: executables of a component's repository, and what their headers say.

A header is a block of comments among the first lines, after kola's ``## kola:``:

    #!/bin/sh
    ## ostci:
    ##   timeout: 60
    ##   reboots: 1

Each line below it is a key and words. What is wrong with one is that test's ``problem``, with its
line. Repositories are hostile: names, sizes and numbers are bounded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.words.findings import did_you_mean
from pipeline.words.installed import InstalledTest

PLACE = "tests/vm"
SUITE = "externals"
LARGEST = 1024**2
"""Bytes of a file; one that is larger cannot be a test's."""
MOST_BYTES = 8 * 1024**2
"""Bytes of all files of a component together."""
MOST_FILES = 200
TIMEOUT_S = 300
"""What a test may take on a host with KVM, unless its header says another time."""
LONGEST_S = 3600
MOST_REBOOTS = 10
KEYS = (
    "timeout",
    "needs",
    "needs-packages",
    "targets",
    "tags",
    "reboots",
    "output",
    "expected-to-fail",
)
_LOOKED_AT = 16 * 1024
_MOST_WORDS = 50
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_WORD = re.compile(r"[A-Za-z0-9@._+:/][A-Za-z0-9@._+:/-]{0,99}")
_START = re.compile(rb"(##?)[ \t]*ostci:[ \t]*")
_KEY = re.compile(r"([a-z-]{1,40}):(?:[ \t]+(.*))?")
_NUMBER = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """One file of the folder at a component's revision."""

    name: str
    data: bytes
    is_program: bool = False


@dataclass(frozen=True, kw_only=True)
class ExternalTest:
    """One executable; ``name`` is ``COMPONENT/FILE``.

    ``timeout_s`` is what one boot of it may take. It is skipped where ``needs`` (programs) or
    ``packages`` (of dpkg) are not in the tree. ``problem`` says why it cannot be run;
    ``expected_to_fail`` why it is known not to pass.
    """

    name: str
    component: str
    file: str
    timeout_s: int = TIMEOUT_S
    needs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    reboots: int = 0
    is_tap: bool = False
    expected_to_fail: str = ""
    problem: str = ""

    @property
    def as_installed(self) -> InstalledTest:
        """The same for who judges what came of it."""
        return InstalledTest(
            name=self.name, is_tap=self.is_tap, is_expected_to_fail=bool(self.expected_to_fail)
        )


@dataclass(frozen=True, kw_only=True)
class Externals:
    """What a component brings: its tests, and all files that lie beside them."""

    component: str
    revision: str
    tests: tuple[ExternalTest, ...] = ()
    files: tuple[SourceFile, ...] = ()


def read_externals(component: str, revision: str, files: Sequence[SourceFile]) -> Externals:
    """Find the tests among the files of a folder; the others are data of theirs."""
    files = sorted(files, key=lambda one: one.name)
    tests = tuple(parse_external(component, one) for one in files if one.is_program)
    kept = tuple(one for one in files if not _problem_of(one))
    size = sum(len(one.data) for one in kept)
    if len(files) > MOST_FILES or size > MOST_BYTES:
        told = f"{PLACE} has more than {MOST_FILES} files or {MOST_BYTES} bytes"
        tests = (
            ExternalTest(name=f"{component}/{PLACE}", component=component, file="", problem=told),
        )
        kept = ()
    return Externals(component=component, revision=revision, tests=tests, files=kept)


def parse_external(component: str, file: SourceFile) -> ExternalTest:
    """Read an executable's header; what is wrong with it is its ``problem``, with the line."""
    safe = file.name if _FILE.fullmatch(file.name) else ascii(file.name)[1:60]
    name = f"{component}/{re.sub('[^A-Za-z0-9._+-]', '_', safe)}"
    test = ExternalTest(name=name, component=component, file=file.name)
    problem = _problem_of(file)
    if problem:
        return replace(test, problem=problem)
    try:
        return _parse(test, file.data[:_LOOKED_AT])
    except _Malformed as error:
        return replace(test, problem=str(error))


def wanted(externals: Sequence[Externals], *, target: str, only: str) -> tuple[Externals, ...]:
    """Choose the tests for a target: all, those of a component, one, or those with a ``@TAG``."""

    def is_chosen(test: ExternalTest) -> bool:
        if test.targets and target not in test.targets and target.split("+")[0] not in test.targets:
            return False
        if only.startswith("@"):
            return only[1:] in test.tags
        return not only or f"{test.name}/".startswith(f"{only}/")

    chosen = (replace(one, tests=tuple(filter(is_chosen, one.tests))) for one in externals)
    return tuple(one for one in chosen if one.tests)


class _Malformed(Exception):
    pass


def _problem_of(file: SourceFile) -> str:
    if not _FILE.fullmatch(file.name):
        return f"{ascii(file.name)[:80]} is no name of a test: letters, digits, . _ + -"
    return f"larger than {LARGEST} bytes" if len(file.data) > LARGEST else ""


def _parse(test: ExternalTest, data: bytes) -> ExternalTest:
    mark = b""
    seen: dict[str, int] = {}
    for number, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.rstrip(b"\r")
        if not line.startswith(b"#"):
            break
        start = _START.fullmatch(line)
        if start is not None:
            if mark or seen:
                raise _Malformed(f"line {number}: a second header")
            mark = start[1]
            continue
        if not mark:
            continue
        if not line.startswith(mark + b"  ") or line.startswith(mark + b"#"):
            mark = b""  # the comment goes on with something else
            seen.setdefault("", number)
            continue
        test = _keyed(test, line[len(mark) :], number, seen)
    return test


def _keyed(test: ExternalTest, line: bytes, number: int, seen: dict[str, int]) -> ExternalTest:
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise _Malformed(f"line {number}: not UTF-8") from error
    found = _KEY.fullmatch(text)
    if found is None:
        raise _Malformed(f"line {number}: not KEY: WORDS: {ascii(text)[:60]}")
    key, value = found[1], (found[2] or "").strip()
    if key not in KEYS:
        hint = did_you_mean(key, KEYS) or f"there are: {', '.join(KEYS)}"
        raise _Malformed(f"line {number}: unknown key {key}, {hint}")
    if key in seen:
        raise _Malformed(f"line {number}: {key} stands in line {seen[key]} already")
    seen[key] = number
    if not value:
        raise _Malformed(f"line {number}: {key} has no value")
    return _with(test, key, value, number)


def _with(test: ExternalTest, key: str, value: str, number: int) -> ExternalTest:
    if key == "timeout":
        return replace(test, timeout_s=_count(value, key, number, 1, LONGEST_S))
    if key == "reboots":
        return replace(test, reboots=_count(value, key, number, 0, MOST_REBOOTS))
    if key == "output":
        if value not in ("tap", "exit-code"):
            raise _Malformed(
                f"line {number}: output: {ascii(value)[:40]} is neither tap nor exit-code"
            )
        return replace(test, is_tap=value == "tap")
    if key == "expected-to-fail":
        return replace(test, expected_to_fail=value[:300])
    words = tuple(value.replace(",", " ").split())
    for word in words:
        if not _WORD.fullmatch(word):
            raise _Malformed(f"line {number}: {ascii(word)[:60]} cannot stand in {key}")
    if not 0 < len(words) <= _MOST_WORDS:
        raise _Malformed(f"line {number}: {key} wants 1 to {_MOST_WORDS} words")
    if key == "needs":
        return replace(test, needs=words)
    if key == "needs-packages":
        return replace(test, packages=words)
    return replace(test, targets=words) if key == "targets" else replace(test, tags=words)


def _count(value: str, key: str, number: int, least: int, most: int) -> int:
    if not _NUMBER.fullmatch(value) or not least <= int(value) <= most:
        told = f"{ascii(value)[:40]} is no number from {least} to {most}"
        raise _Malformed(f"line {number}: {key}: {told}")
    return int(value)
