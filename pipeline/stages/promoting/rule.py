# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one rule, in its one place.

``buildmaster`` never points to a commit without a recorded pass of its whole gate, for that very
checksum. ``decide`` asks before a ref moves, ``violations`` looks whether it holds. Neither moves
anything: that is ``move``'s business.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.ports.ledger import Ledger, PromotionRow, PromotionState, Sitting, VerdictRow
from pipeline.ports.ostree import Repo
from pipeline.stages.promoting.summary import served_refs
from pipeline.words.gate import Flakes, judge, settled
from pipeline.words.manifest import Need, Target
from pipeline.words.refs import Commit, RefName, buildmaster_ref, name_of_part
from pipeline.words.run import place_of
from pipeline.words.tree import Tree
from pipeline.words.verdict import Verdict
from pipeline.words.wish import TRY

TRIED = "it was only tried: a try is never promoted"
UNBOUND = "it is bound to other refs alone, and was made to be thrown away"
STALE = "its commit is not later than the promoted one, so clients would refuse it"
_Against = tuple[tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A tree that wants to be promoted, by its target's gate.

    ``hindrance`` says what is wrong with the commit itself; ``stale``: it is not later than what
    is promoted, by the times that clients compare.
    """

    tree: Tree
    target: Target
    hindrance: str = ""
    stale: bool = False


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What becomes of a candidate: ``begun`` (move it), ``held``, ``older``, or ``done`` already.

    ``reason`` says why not, ``notes`` what an advisory suite has to say.
    """

    candidate: Candidate
    state: PromotionState
    previous: Commit | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()


def decide(
    sitting: Sitting,
    candidates: Sequence[Candidate],
    *,
    run: str,
    osname: str,
    missing: Sequence[str] = (),
) -> tuple[Decision, ...]:
    """Decide on a promotion group and write it down: all of it moves, or nothing does.

    ``missing`` names trees of the group that the run does not have.
    """
    newest = [sitting.newest(osname, one.tree.name) for one in candidates]
    baselines = {one.tree.name: sitting.baselines(osname, one.tree.name) for one in candidates}
    against = [_against(sitting, one, baselines[one.tree.name]) for one in candidates]
    if sitting.kind_of(run) == TRY:
        against = [((TRIED, *reasons), notes) for reasons, notes in against]
    ahead = [row for row in newest if row and row.place > place_of(run)]
    state, together = PromotionState.BEGUN, ""
    if missing or any(reasons for reasons, _ in against):
        state, together = PromotionState.HELD, _together(candidates, against, missing)
    elif ahead:
        state = PromotionState.OLDER
        together = f"it passed, but the newer run {ahead[0].run} was promoted before"
    elif any(one.stale for one in candidates):
        state, together = PromotionState.HELD, STALE
    elif all(_is_done(one, row, run) for one, row in zip(candidates, newest, strict=True)):
        state = PromotionState.DONE
    decisions = tuple(
        Decision(
            candidate=one,
            state=state,
            previous=row.commit if row else None,
            # What was excused is noted where it moves: it passed, and why is to be found.
            reason="; ".join(reasons) or together or "; ".join(notes),
            notes=notes,
        )
        for one, row, (reasons, notes) in zip(candidates, newest, against, strict=True)
    )
    if state is not PromotionState.DONE:
        _write(sitting, decisions, baselines, run=run, osname=osname)
    return decisions


def _together(
    candidates: Sequence[Candidate], against: Sequence[_Against], missing: Sequence[str]
) -> str:
    """Say why a tree that has nothing against it is held: it moves with others or not at all."""
    held = [one.tree.name for one, (reasons, _) in zip(candidates, against, strict=True) if reasons]
    absent = [f"{name}, which moves with it, is not part of this run" for name in missing]
    return "; ".join([*absent, *(f"it moves only together with {name}" for name in held)])


def _is_done(candidate: Candidate, row: PromotionRow | None, run: str) -> bool:
    return (
        row is not None
        and (row.run, row.commit) == (run, candidate.tree.commit)
        and row.state is PromotionState.DONE
    )


def _against(sitting: Sitting, candidate: Candidate, baselines: frozenset[str]) -> _Against:
    """List what holds a candidate back, and what is only to be told."""
    rows = sitting.verdicts(candidate.tree.commit)
    result = judge(
        candidate.target.gate,
        {suite: row.verdict for suite, row in rows.items()},
        messages={suite: row.message for suite, row in rows.items()},
        flakes=Flakes(
            seen={suite: row.flaky for suite, row in rows.items()}, budget=candidate.target.flaky
        ),
        baselines=baselines,
    )
    hindrance = (candidate.hindrance,) if candidate.hindrance else ()
    return (*hindrance, *result.reasons), result.notes


def _write(
    sitting: Sitting,
    decisions: Sequence[Decision],
    baselines: Mapping[str, frozenset[str]],
    *,
    run: str,
    osname: str,
) -> None:
    batch = sitting.new_batch()
    for one in decisions:
        sitting.write(
            batch=batch,
            run=run,
            osname=osname,
            tree=one.candidate.tree.name,
            commit=one.candidate.tree.commit,
            previous=one.previous,
            state=one.state,
            # As it was judged: a suite that gets its baseline later was not required of this one.
            gate=settled(one.candidate.target.gate, baselines[one.candidate.tree.name]),
            flaky=one.candidate.target.flaky,
            reason=one.reason,
        )


def buildmaster_refs(repo: Repo) -> dict[RefName, Commit]:
    """List every ``buildmaster`` ref of a repository."""
    return {ref: at for ref, at in repo.refs().items() if _names(ref) is not None}


def violations(*, repo: Repo, archive: Repo, ledger: Ledger) -> list[str]:
    """Tell every place where the one rule does not hold, in words; an empty list is a clean bill.

    Looks at the refs of both repositories and at the summary, which is what clients see.
    """
    found = []
    served = {ref: at for ref, at in served_refs(archive).items() if _names(ref) is not None}
    shown = {
        f"{archive.path}/summary": (archive, served),
        str(repo.path): (repo, buildmaster_refs(repo)),
        str(archive.path): (archive, buildmaster_refs(archive)),
    }
    for place, (one, refs) in shown.items():
        for ref, commit in refs.items():
            why = why_not(ledger, ref, commit, repo=one)
            if why:
                found.append(f"{place}: {ref} is {commit}: {why}")
    return found


def why_not(ledger: Ledger, ref: RefName, commit: Commit, *, repo: Repo) -> str:
    """Say what is missing for a ref to point to a commit; nothing where the rule is kept."""
    if repo.has_metadata(commit) and ref not in repo.info(commit, thinned=True).bindings:
        return UNBOUND
    osname, tree = _names(ref) or ("", "")
    states = (PromotionState.BEGUN, PromotionState.DONE)
    moved = ledger.promotions(tree, commit=commit, states=states)
    mine = [row for row in moved if row.osname == osname]
    if not mine:
        return "no promotion of it is recorded"
    passed = {row.suite for row in ledger.attempts(commit) if _is_pass(row, mine[0])}
    required = {suite for suite, need in mine[0].gate.items() if need is Need.REQUIRED}
    lacking = sorted(required - passed)
    if lacking or not required:
        return f"no pass is recorded of {', '.join(lacking) or 'any suite'}"
    return ""


def _is_pass(row: VerdictRow, promotion: PromotionRow) -> bool:
    """Tell whether a verdict satisfied the gate that a promotion was judged by."""
    if row.verdict is Verdict.FLAKY:
        return Flakes(seen={row.suite: row.flaky}, budget=promotion.flaky).allow(row.suite)
    return row.verdict is Verdict.PASSED


def ref_of(row: PromotionRow) -> RefName:
    """Name the ref that a promotion moves."""
    return buildmaster_ref(row.osname, row.tree)


def _names(ref: RefName) -> tuple[str, str] | None:
    """Read osname and tree out of a ``buildmaster`` ref; None for another ref."""
    osname, _, rest = ref.partition("/")
    kind, _, tree = rest.partition("/")
    if kind != "buildmaster" or not tree:
        return None
    return name_of_part(osname), name_of_part(tree)
