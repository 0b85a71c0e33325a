# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which failures of a suite count: not those of known issues, nor of tests that are new.

As kola's ``warn`` and openQA's soft failures: the test's own verdict stays ``failed`` and is told,
the suite's is made of the others. Three things keep that from opening a gate that should be shut:

- A new test is one that the tree promoted last did not pass. Where nothing was promoted with this
  suite, all tests count.
- Where a test that passed there is no more, no new one is excused: it may be the same under
  another name.
- A suite of which nothing that counts has passed gets no excuse at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date

from pipeline.words.history import Past, counts, in_a_row, lost
from pipeline.words.known_issue import KnownIssue, matching
from pipeline.words.verdict import SuiteResult, TestResult, Verdict, suite_verdict

_BAD = (Verdict.FAILED, Verdict.FLAKY)
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Background:
    """What is known beside a suite's own result.

    ``history`` and ``baseline`` (what the tree promoted last came to) are by the tests' names;
    ``passes`` is how often in a row a new test has to pass; ``journal`` is the guest's.
    """

    history: Mapping[str, Sequence[Past]] = field(default_factory=dict)
    baseline: Mapping[str, Verdict] = field(default_factory=dict)
    passes: int = 0
    issues: tuple[KnownIssue, ...] = ()
    today: date = date.max
    journal: str = ""


def stand(result: SuiteResult, background: Background) -> SuiteResult:
    """Say of each test whether it counts, and sum the suite up by those that do."""
    notes: list[str] = []
    gone = lost(background.baseline, frozenset(one.name for one in result.tests))
    tests = tuple(
        _known(_aged(one, result, background, gone), result, background, notes)
        for one in result.tests
    )
    if gone and any(one.verdict in _BAD and _is_young(one, result, background) for one in tests):
        notes.append(f"new tests are not excused: {_listed(gone)} passed before and did not run")
    result = replace(result, tests=tests)
    excused = [one for one in tests if _is_excused(one)]
    notes += [_told_new(one, result, background) for one in excused if not one.known]
    left = [one for one in tests if not _is_excused(one)]
    if not tests or result.verdict is Verdict.TROUBLE:
        return replace(result, notes=_once(result.notes, notes))
    well = (Verdict.PASSED, Verdict.FLAKY)
    if excused and not any(one.verdict in well and not one.is_new for one in left):
        notes.append("nothing that counts has passed, so that no failure is excused")
        left, excused = list(tests), []
    verdict = suite_verdict([one.verdict for one in left])
    first = next((one for one in tests if one.verdict in _BAD), None)
    cause, message = result.cause, result.message
    if first is not None and (verdict is not result.verdict or first in excused):
        bad = next((one for one in left if one.verdict in _BAD), None)
        cause = bad.cause if bad else ""
        message = f"{bad.name}: {bad.message}" if bad else _summed_up(excused)
    return replace(
        result,
        verdict=verdict,
        cause=cause,
        message=message,
        notes=_once(result.notes, notes),
    )


def _once(before: Sequence[str], notes: Sequence[str]) -> tuple[str, ...]:
    # What a worker elsewhere has said already is judged here once more.
    return tuple(dict.fromkeys((*before, *notes)))


def _is_excused(test: TestResult) -> bool:
    return test.verdict in _BAD and (test.is_new or bool(test.known))


def _is_young(test: TestResult, result: SuiteResult, background: Background) -> bool:
    """Tell whether a test would be new if nothing had been lost."""
    if not background.baseline:
        return False
    return not counts(
        background.history.get(test.name, ()),
        commit=result.commit,
        in_baseline=background.baseline.get(test.name),
        passes=background.passes,
    )


def _aged(
    test: TestResult, result: SuiteResult, background: Background, gone: Sequence[str]
) -> TestResult:
    young = _is_young(test, result, background)
    # Excused or not: what has not passed often enough does not count as having counted.
    return replace(test, is_new=young and not (gone and test.verdict in _BAD))


def _known(
    test: TestResult, result: SuiteResult, background: Background, notes: list[str]
) -> TestResult:
    if test.verdict not in _BAD:
        return test
    suite = result.suite.partition("/")[0]
    text = f"{test.message}\n{test.log}"
    found = matching(background.issues, suite, test.name, text, background.journal)
    if found is None:
        return test
    if found.until < background.today:
        notes.append(
            f"{test.name}: the known issue {found.name} ({found.link}) is to be over since "
            f"{found.until}, so that it counts"
        )
        return test
    notes.append(f"{test.name} {test.verdict}: known issue {found.name} ({found.link})")
    return replace(test, known=found.name)


def _told_new(test: TestResult, result: SuiteResult, background: Background) -> str:
    passed = in_a_row(background.history.get(test.name, ()), commit=result.commit)
    return (
        f"{test.name} {test.verdict}: it is new and only warns, after {passed} passes in a row "
        f"of {background.passes}: {test.message}"
    )


def _summed_up(excused: Sequence[TestResult]) -> str:
    known = [one.name for one in excused if one.known]
    new = [one.name for one in excused if not one.known]
    parts = []
    if known:
        parts.append(f"not well for known issues: {_listed(known)}")
    if new:
        parts.append(f"new and not well: {_listed(new)}")
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
