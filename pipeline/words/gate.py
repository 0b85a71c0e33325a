# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which verdicts a commit needs before ``buildmaster`` may move to it.

Knows nothing of who asks, where verdicts are kept, or what else a promotion needs.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.words.manifest import Need
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
) -> GateResult:
    """Judge a commit by its newest verdicts, suite by suite in the order of the gate.

    Only ``passed`` satisfies a required suite. A gate that requires nothing lets nothing pass:
    there would be no recorded pass of it. ``messages`` says in a line why a suite did not pass.
    """
    told = messages or {}
    reasons: list[str] = []
    notes: list[str] = []
    for suite, need in gate.items():
        words = _words(suite, verdicts.get(suite), told.get(suite, ""))
        if words:
            (reasons if need is Need.REQUIRED else notes).append(words)
    if Need.REQUIRED not in gate.values():
        reasons.append(NOTHING_REQUIRED)
    return GateResult(passed=not reasons, reasons=tuple(reasons), notes=tuple(notes))


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
