# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which verdicts a commit needs before ``buildmaster`` may move to it.

Knows nothing of who asks, where verdicts are kept, or what else a promotion needs.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

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


def judge(
    gate: Mapping[str, Need],
    verdicts: Mapping[str, Verdict],
    *,
    messages: Mapping[str, str] | None = None,
    excused: Collection[str] = (),
) -> GateResult:
    """Judge a commit by its newest verdicts, suite by suite in the order of the gate.

    Only ``passed`` satisfies a required suite, except that one of ``excused`` may have been
    skipped: see ``excused_suites``. A gate that requires nothing lets nothing pass, nor does one
    of which nothing passed: there would be no recorded pass of it. ``messages`` says in a line why
    a suite did not pass.
    """
    told = messages or {}
    reasons: list[str] = []
    notes: list[str] = []
    for suite, need in gate.items():
        words = _words(suite, verdicts.get(suite), told.get(suite, ""))
        is_excused = suite in excused and verdicts.get(suite) is Verdict.SKIPPED
        if words:
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


def _words(suite: str, verdict: Verdict | None, message: str) -> str:
    """Say what stands against a suite; nothing for one that passed."""
    if verdict is Verdict.PASSED:
        return ""
    text = f"{suite} {'has no verdict yet' if verdict is None else _WORDS[verdict]}"
    first = message.strip().partition("\n")[0]
    return f"{text}: {first}" if first else text
