# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which verdicts a commit needs before ``buildmaster`` may move to it.

Knows nothing of who asks, where verdicts are kept, or what else a promotion needs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pipeline.words.manifest import Need
from pipeline.words.suite import FROM_PROMOTED, NO_BASELINE
from pipeline.words.verdict import Verdict

NOTHING_REQUIRED = "its gate requires no suite, so nothing has tested it"


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """What a gate says: ``reasons`` hold the commit back, ``notes`` are told and block nothing."""

    passed: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Flakes:
    """How many flaky tests each suite had, and how many it may have."""

    seen: Mapping[str, int] = field(default_factory=dict)
    budget: Mapping[str, int] = field(default_factory=dict)

    def allow(self, suite: str) -> bool:
        """Tell whether a suite that is flaky is so within its budget; a count has to be known."""
        return 0 < self.seen.get(suite, 0) <= self.budget.get(suite, 0)


def settled(gate: Mapping[str, Need], baselines: Collection[str]) -> dict[str, Need]:
    """Make of ``once-baseline`` what it is now; ``baselines`` are suites that have one."""
    later = {True: Need.REQUIRED, False: Need.ADVISORY}
    return {
        suite: later[suite in baselines] if need is Need.ONCE_BASELINE else need
        for suite, need in gate.items()
    }


def suites_of_gate(gate: Mapping[str, Need], *, is_nightly: bool) -> tuple[str, ...]:
    """List the suites that a run has for a gate: all of them in the run of the night."""
    return tuple(suite for suite, need in gate.items() if is_nightly or need is not Need.NIGHTLY)


def fails_run(need: Need | None, *, is_nightly: bool) -> bool:
    """Tell whether a run fails with a suite of which its settled gate wants this."""
    return need is Need.REQUIRED or (is_nightly and need is Need.NIGHTLY)


def judge(
    gate: Mapping[str, Need],
    verdicts: Mapping[str, Verdict],
    *,
    messages: Mapping[str, str] | None = None,
    flakes: Flakes = Flakes(),
    baselines: Collection[str] = (),
    excused: Collection[str] = (),
) -> GateResult:
    """Judge a commit by its newest verdicts, suite by suite in the order of the gate.

    Only ``passed`` satisfies a required suite, or ``flaky`` within its budget, except that one of
    ``excused`` may have been skipped: see ``excused_suites``. A gate that requires nothing lets
    nothing pass, nor does one of which nothing passed: there would be no recorded pass of it.
    ``messages`` says in a line why a suite did not pass, or what was excused in it. ``baselines``
    are suites that have one.
    """
    told = messages or {}
    gate = {
        suite: need
        for suite, need in settled(gate, baselines).items()
        if need is not Need.NIGHTLY or suite in verdicts
    }
    reasons: list[str] = []
    notes: list[str] = []
    for suite, need in gate.items():
        verdict, message = verdicts.get(suite), told.get(suite, "")
        words = _words(suite, verdict, message)
        noted = _excused(suite, verdict, message, flakes)
        is_excused = suite in excused and verdict is Verdict.SKIPPED
        if noted:
            notes.append(noted)
        elif words:
            (notes if is_excused or need is not Need.REQUIRED else reasons).append(words)
    required = {suite for suite, need in gate.items() if need is Need.REQUIRED}
    if not required - {suite for suite in excused if verdicts.get(suite) is Verdict.SKIPPED}:
        reasons.append(NOTHING_REQUIRED)
    return GateResult(passed=not reasons, reasons=tuple(reasons), notes=tuple(notes))


def excused_suites(
    verdicts: Mapping[str, Verdict], causes: Mapping[str, str], *, is_first: bool
) -> frozenset[str]:
    """Name the suites that were skipped because nothing was promoted yet that they could start at.

    Only where that still holds (``is_first``: no other commit of this tree was ever promoted), and
    only by the cause that is recorded for it.
    """
    if not is_first:
        return frozenset()
    return frozenset(
        suite
        for suite, verdict in verdicts.items()
        if verdict is Verdict.SKIPPED
        and causes.get(suite) == NO_BASELINE
        and suite in FROM_PROMOTED
    )


_WORDS = {
    Verdict.FAILED: "failed",
    Verdict.FLAKY: "is flaky: it passed and failed",
    Verdict.SKIPPED: "was skipped",
    Verdict.TROUBLE: "had trouble with our machines",
}


def _excused(suite: str, verdict: Verdict | None, message: str, flakes: Flakes) -> str:
    """Say what was not well in a suite that satisfies the gate; nothing for another."""
    first = message.strip().partition("\n")[0]
    if verdict is Verdict.FLAKY and flakes.allow(suite):
        of = f"{flakes.seen[suite]} flaky, {flakes.budget[suite]} allowed"
        return f"{suite} passed with {of}: {first}" if first else f"{suite} passed with {of}"
    return f"{suite} passed: {first}" if verdict is Verdict.PASSED and first else ""


def _words(suite: str, verdict: Verdict | None, message: str) -> str:
    """Say what stands against a suite; nothing for one that passed."""
    if verdict is Verdict.PASSED:
        return ""
    text = f"{suite} {'has no verdict yet' if verdict is None else _WORDS[verdict]}"
    first = message.strip().partition("\n")[0]
    return f"{text}: {first}" if first else text
