# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test said of a commit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.refs import Commit


class Verdict(StrEnum):
    """``trouble`` is about our machines, never about the code under test."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    TROUBLE = "trouble"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """One test: ``message`` says in a line why it did not pass; ``cause`` sorts failed boots."""

    name: str
    verdict: Verdict
    seconds: float = 0.0
    message: str = ""
    cause: str = ""
    log: str = ""

    __test__ = False


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """One suite on one booted commit; ``evidence`` is a path within the run's directory.

    ``attempts`` is how often it was run for this verdict.
    """

    suite: str
    tree: str
    commit: Commit
    verdict: Verdict
    tests: tuple[TestResult, ...] = ()
    seconds: float = 0.0
    message: str = ""
    cause: str = ""
    evidence: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
    """Measurements, such as ``boot_s``."""
    attempts: int = 1


_WORST_FIRST = (Verdict.TROUBLE, Verdict.FAILED, Verdict.FLAKY, Verdict.PASSED, Verdict.SKIPPED)


def suite_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Sum up the tests of a suite: the worst of them; nothing that ran at all is trouble."""
    if not verdicts:
        return Verdict.TROUBLE
    return min(verdicts, key=_WORST_FIRST.index)
