# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the ledger's history of a test decides: how often it is repeated, and whether it counts.

A history is of one test of one suite on one tree's line, newest first.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.words.refs import Commit
from pipeline.words.verdict import Verdict

MOST_REPEATS = 5
"""Of a test that flakes a lot: what is beyond this tells nothing that is worth a boot."""
HOPELESS = 3
"""A test that failed always on so many commits in a row is not repeated."""
KEPT = 200
"""How many results of a test are kept."""
LOOKED_AT = 50
"""How many of them decide."""
_DOUBT = 0.01
"""How likely a test that flakes may still be taken for one that fails."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What a test came to once; ``failures`` of ``attempts`` were not well."""

    commit: Commit
    verdict: Verdict
    attempts: int = 1
    failures: int = 0
    is_new: bool = False


def repeats(history: Sequence[Past]) -> int:
    """Tell how often a test that has just failed is repeated, unless it passes before that.

    Once where it never flaked. One that does is repeated until the odds that chance alone fails
    it every time, by its own record, are below one in a hundred, but no more than five times. Not
    at all where it has failed always on the last three commits: one more failure says nothing.
    """
    seen = [one for one in history if one.verdict in _DECIDED][:LOOKED_AT]
    streak: dict[Commit, None] = {}
    for one in seen:
        if one.verdict is not Verdict.FAILED:
            break
        streak[one.commit] = None
    if len(streak) >= HOPELESS:
        return 0
    if not any(one.verdict is Verdict.FLAKY for one in seen):
        return 1
    # What failed always was broken, which is not chance and says nothing of it.
    chance = [one for one in seen if one.verdict is not Verdict.FAILED]
    failures = sum(max(one.failures, one.verdict is Verdict.FLAKY) for one in chance)
    attempts = sum(max(one.attempts, 1) for one in chance)
    odds = min(failures / attempts, 0.99)
    wanted = math.ceil(math.log(_DOUBT) / math.log(odds))
    return max(1, min(wanted, MOST_REPEATS))


def counts(
    history: Sequence[Past], *, commit: Commit, in_baseline: Verdict | None, passes: int
) -> bool:
    """Tell whether a test counts: it passed in the baseline, counted before, or passed enough.

    Enough are ``passes`` in a row on as many other commits than this one. ``in_baseline`` is what
    it came to on the tree that was promoted last.
    """
    if passes <= 0 or in_baseline is Verdict.PASSED:
        return True
    return any(not one.is_new for one in history) or in_a_row(history, commit=commit) >= passes


def in_a_row(history: Sequence[Past], *, commit: Commit) -> int:
    """Count the other commits on which a test has passed since it last did not."""
    found: set[Commit] = set()
    for one in history:
        if one.commit == commit or one.verdict not in _DECIDED:
            continue
        if one.verdict is not Verdict.PASSED:
            break
        found.add(one.commit)
    return len(found)


def lost(baseline: Mapping[str, Verdict], names: frozenset[str]) -> tuple[str, ...]:
    """List the tests that passed in the baseline and are no more."""
    gone = (name for name, verdict in baseline.items() if verdict is Verdict.PASSED)
    return tuple(sorted(name for name in gone if name not in names))


_DECIDED = (Verdict.PASSED, Verdict.FAILED, Verdict.FLAKY)
