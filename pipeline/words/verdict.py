# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test said of a commit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.counting import count_of
from pipeline.words.refs import Commit

BUG = "bug"
"""The cause of what is neither the commit's fault nor this machine's, but ours."""


class Verdict(StrEnum):
    """``trouble`` is about our machines, never about the code under test."""

    PASSED = "passed"
    FAILED = "failed"
    FLAKY = "flaky"
    TROUBLE = "trouble"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class TestResult:
    """One test: ``message`` says in a line why it did not pass; ``cause`` sorts failed boots.

    It was run ``attempts`` times and failed ``failures`` times of these. ``is_new``: it only warns
    until it has passed often enough; ``known``: the known issue that its failure is of.
    """

    name: str
    verdict: Verdict
    seconds: float = 0.0
    message: str = ""
    cause: str = ""
    log: str = ""
    attempts: int = 1
    failures: int = 0
    is_new: bool = False
    known: str = ""

    __test__ = False


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a suite's machine had: bytes, processors, QEMU's and Python's seed, what ran it."""

    memory: int
    processors: int
    seed: int
    accelerator: str = ""
    disk: str = ""


@dataclass(frozen=True, kw_only=True)
class SuiteResult:
    """One suite on one booted commit; ``evidence`` is a path within the run's directory.

    ``attempts`` is how often it was run for this verdict. ``notes`` are told whatever the verdict:
    known issues, new tests. ``ran`` is what its machine had, to have the same again.
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
    notes: tuple[str, ...] = ()
    ran: Ran | None = None

    @property
    def flaky(self) -> int:
        """Count the tests that passed and failed, and count."""
        flaky = (one for one in self.tests if one.verdict is Verdict.FLAKY)
        return sum(not one.is_new and not one.known for one in flaky)

    @property
    def counts(self) -> str:
        """Say how many tests there were, and of which verdict where they differ; worst first."""
        verdicts = [one.verdict for one in self.tests]
        told = f": {verdict_counts(verdicts)}" if len({*verdicts}) > 1 else ""
        return count_of(len(verdicts), "test") + told


_WORST_FIRST = (Verdict.TROUBLE, Verdict.FAILED, Verdict.FLAKY, Verdict.PASSED, Verdict.SKIPPED)


def suite_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Sum up the tests of a suite: the worst of them; nothing that ran at all is trouble."""
    if not verdicts:
        return Verdict.TROUBLE
    return min(verdicts, key=_WORST_FIRST.index)


def verdict_counts(verdicts: Sequence[Verdict]) -> str:
    """Count verdicts in words, the worst first: ``1 failed, 3 passed``."""
    found = Counter(verdicts)
    return ", ".join(f"{found[one]} {one}" for one in _WORST_FIRST if found[one])
