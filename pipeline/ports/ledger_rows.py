# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the ledger answers with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.manifest import Need
from pipeline.words.refs import Commit
from pipeline.words.verdict import Verdict


class PromotionState(StrEnum):
    """How far a promotion got.

    ``begun`` is also what a killed one leaves, until the next start finishes or undoes it.
    ``held`` and ``older`` moved nothing: the gate did not pass, or a newer run was there already.
    """

    BEGUN = "begun"
    DONE = "done"
    UNDONE = "undone"
    HELD = "held"
    OLDER = "older"


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """A run; ``ended`` is None for one that has no ending yet."""

    version: str
    osname: str
    started: float
    ended: float | None
    ending: str
    message: str
    snapshot: str | None
    kind: str = ""
    """``try`` for one that nothing is promoted of."""


@dataclass(frozen=True, kw_only=True)
class VerdictRow:
    """One attempt at a suite on a commit; ``evidence`` is a path within the run's directory."""

    commit: Commit
    suite: str
    attempt: int
    run: str
    tree: str
    verdict: Verdict
    cause: str
    message: str
    seconds: float
    evidence: str
    recorded: float
    flaky: int = 0
    """How many of its tests passed and failed, and count."""


@dataclass(frozen=True, kw_only=True)
class TreeRow:
    """A tree of a run; ``component`` and ``revision`` are set where one was asked for."""

    run: str
    tree: str
    commit: Commit
    content: str
    snapshot: str
    recorded: float
    component: str = ""
    revision: str = ""
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    promoted: bool = False


@dataclass(frozen=True, kw_only=True)
class PromotionRow:
    """One target's part in a promotion; all rows of one ``batch`` move together."""

    id: int
    batch: int
    run: str
    place: int
    osname: str
    tree: str
    commit: Commit
    previous: Commit | None
    state: PromotionState
    gate: Mapping[str, Need]
    flaky: Mapping[str, int]
    """The budgets of flaky tests that it was judged by."""
    reason: str
    began: float
    ended: float | None
