# SPDX-License-Identifier: LGPL-2.1-or-later
"""Move ``buildmaster`` to the trees of a run whose gate passed, or say why not.

What was booted is what is shipped: the ref moves to the same checksum, no commit is made. Under one
lock the verdicts are read, the decision is written into the ledger and the refs are moved; whatever
a kill leaves half done is finished or undone by the ledger at the next start (``mend``).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.ports.gpg import Keyring
from pipeline.ports.ledger import Ledger, PromotionRow, PromotionState
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.workdir import Workdir
from pipeline.stages.promoting import rule
from pipeline.stages.promoting.artifacts import ArtifactsPublisher
from pipeline.stages.promoting.move import (
    Places,
    can_finish,
    carry_out,
    is_bound,
    publish_composed,
    show,
)
from pipeline.stages.promoting.published import Publisher
from pipeline.stages.promoting.resign import sign_again
from pipeline.stages.promoting.rule import Candidate, Decision, violations
from pipeline.stages.promoting.summary import retired_deltas
from pipeline.words.manifest import Manifest, Target
from pipeline.words.refs import Commit, RefName, buildmaster_ref, compose_ref
from pipeline.words.tree import Tree

__all__ = [
    "ArtifactsPublisher",
    "PromoteRequest",
    "PromoteResult",
    "mend",
    "promote",
    "retired_deltas",
    "sign_again",
    "violations",
]

_WAIT_S = 900.0


@dataclass(frozen=True, kw_only=True)
class PromoteRequest:
    """The trees of one run, all of them; the gates are the manifest's."""

    run: str
    osname: str
    manifest: Manifest
    trees: tuple[Tree, ...]


@dataclass(frozen=True, kw_only=True)
class PromoteResult:
    """Tree → commit that ``buildmaster`` points to now; tree → why it does not move.

    ``older`` passed, but a newer run was promoted before. ``notes`` block nothing.
    """

    promoted: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    older: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def promote(
    request: PromoteRequest,
    *,
    repo: Repo,
    archive: Repo,
    ledger: Ledger,
    keyring: Keyring,
    workdir: Workdir,
    log: Log,
) -> PromoteResult:
    """Promote what may be promoted; tells of every tree what became of it.

    The trees' verdicts must be in the ledger. Raises Trouble where a repository or the ledger
    cannot be written: what was decided then is finished by the next start.
    """
    keyring.ensure(f"{request.osname} (ostci)")
    places = Places(repo=repo, archive=archive, keyring=keyring, tmp=workdir.tmp)
    publisher = Publisher(ledger=ledger, keyring=keyring, into=workdir.published)
    with archive.locked(f"promotion of run {request.run}", wait_s=_WAIT_S), keyring.unlocked():
        _mend(places, ledger, publisher, log)
        publish_composed(places, _composed(request, repo))
        with ledger.deciding() as sitting:
            decisions = [
                decision
                for group, missing in _groups(request, repo)
                for decision in rule.decide(
                    sitting, group, run=request.run, osname=request.osname, missing=missing
                )
            ]
        begun = ledger.promotions(states=(PromotionState.BEGUN,))
        if begun:
            _finish(places, ledger, begun)
        else:
            show(places, {})
        publisher.publish(_rows_of(ledger, request))
    return _told(decisions, log)


def mend(
    *,
    repo: Repo,
    archive: Repo,
    ledger: Ledger,
    keyring: Keyring,
    workdir: Workdir,
    log: Log,
    wait_s: float = _WAIT_S,
) -> tuple[str, ...]:
    """Finish or undo what a killed promotion left; tells in words what was done.

    A ``buildmaster`` ref that points to what the ledger has no pass of is put back. Raises Held
    where somebody else promotes or mends for longer than ``wait_s``.
    """
    places = Places(repo=repo, archive=archive, keyring=keyring, tmp=workdir.tmp)
    publisher = Publisher(ledger=ledger, keyring=keyring, into=workdir.published)
    with archive.locked("mending of promotions", wait_s=wait_s):
        return _mend(places, ledger, publisher, log)


def _mend(places: Places, ledger: Ledger, publisher: Publisher, log: Log) -> tuple[str, ...]:
    done = []
    batches: dict[int, list[PromotionRow]] = defaultdict(list)
    for row in ledger.promotions(states=(PromotionState.BEGUN,)):
        batches[row.batch].append(row)
    for _, rows in sorted(batches.items()):
        places.keyring.ensure(f"{rows[0].osname} (ostci)")
        if can_finish(places, rows):
            _finish(places, ledger, rows)
            done.append(f"the promotion of run {rows[0].run} was finished")
        else:
            _undo(places, ledger, rows)
            why = _why_undone(places, rows)
            done.append(f"the promotion of run {rows[0].run} was undone: {why}")
        publisher.publish(rows)
    done += _put_back(places, ledger)
    if places.archive.refs() and (places.archive.path / "summary").is_file():
        show(places, {})
    for words in done:
        log.warning(words)
    return tuple(done)


def _why_undone(places: Places, rows: Sequence[PromotionRow]) -> str:
    both = (places.repo, places.archive)
    for row in rows:
        here = any(one.has_commit(row.commit) for one in both)
        if here and not is_bound(places, rule.ref_of(row), row.commit):
            return f"{row.commit[:12]} is not bound to {rule.ref_of(row)}"
    return "its commits are gone"


def _finish(places: Places, ledger: Ledger, rows: Sequence[PromotionRow]) -> None:
    carry_out(places, rows)
    with ledger.deciding() as sitting:
        sitting.settle(rows, PromotionState.DONE)


def _undo(places: Places, ledger: Ledger, rows: Sequence[PromotionRow]) -> None:
    why = f"before it was finished: {_why_undone(places, rows)}"
    for row in rows:
        _set_back(places, rule.ref_of(row), row.previous)
    show(places, {})
    with ledger.deciding() as sitting:
        sitting.settle(rows, PromotionState.UNDONE, why)


def _put_back(places: Places, ledger: Ledger) -> list[str]:
    """Move refs to where the ledger says that they are.

    A power cut may have lost one, or somebody may have moved one past the gate.
    """
    both = (places.archive, places.repo)
    shown = [(one, ref, at) for one in both for ref, at in rule.buildmaster_refs(one).items()]
    wrong = {ref: why for one, ref, at in shown if (why := rule.why_not(ledger, ref, at, repo=one))}
    promoted = ledger.promoted()
    if not promoted:
        # A lost ledger must not cost the testers their tree as well: then it is only told. What
        # was made to be thrown away is nobody's tree.
        for ref in [ref for ref, why in wrong.items() if why == rule.UNBOUND]:
            _set_back(places, ref, None)
        return [f"{ref} stands against the rule: {why}" for ref, why in sorted(wrong.items())]
    astray = [row for row in promoted if _is_astray(places, row)]
    if astray:
        carry_out(places, astray)
    known = {rule.ref_of(row) for row in astray}
    for ref in wrong.keys() - known:
        _set_back(places, ref, None)
    return [
        f"{ref} was not where the ledger says ({wrong.get(ref, 'it was lost')}); it is again"
        for ref in sorted({*wrong, *known})
    ]


def _is_astray(places: Places, row: PromotionRow) -> bool:
    """Tell whether a ref is not at its promoted commit though that is here."""
    ref = rule.ref_of(row)
    if not can_finish(places, [row]):
        return False
    lost = places.archive.resolve(ref) != row.commit
    return lost or (places.repo.resolve(ref) != row.commit and places.repo.has_commit(row.commit))


def _set_back(places: Places, ref: RefName, commit: Commit | None) -> None:
    for one in (places.repo, places.archive):
        if commit is not None and one.has_commit(commit):
            one.set_refs({ref: commit})
        elif one.resolve(ref) is not None:
            one.set_ref(ref, None)


# The request, sorted


def _composed(request: PromoteRequest, repo: Repo) -> list[tuple[RefName, Commit]]:
    refs = [(compose_ref(request.osname, tree.name), tree.commit) for tree in request.trees]
    return [
        (ref, commit)
        for ref, commit in refs
        if repo.has_commit(commit) and ref in repo.info(commit).bindings
    ]


def _groups(request: PromoteRequest, repo: Repo) -> list[tuple[list[Candidate], list[str]]]:
    """Sort trees by promotion group; tell what of each group the run lacks."""
    groups: dict[str, list[Candidate]] = defaultdict(list)
    for tree in request.trees:
        target = _target(request.manifest, tree.target)
        candidate = Candidate(
            tree=tree,
            target=target,
            hindrance=_hindrance(request, tree, repo),
            stale=_is_stale(request, tree, repo),
        )
        group = target.promotion_group if _is_listed(request.manifest, target) else target.name
        groups[group].append(candidate)
    arches = {tree.arch for tree in request.trees}
    here = {tree.name for tree in request.trees}
    missing: dict[str, list[str]] = defaultdict(list)
    for name, arch, target in request.manifest.trees():
        if arch in arches and name not in here:
            missing[target.promotion_group].append(name)
    return [(group, missing[name]) for name, group in groups.items()]


def _target(manifest: Manifest, name: str) -> Target:
    try:
        return manifest.target(name)
    except KeyError:
        from pipeline.words.targets import target_of

        return target_of(manifest, name)


def _is_listed(manifest: Manifest, target: Target) -> bool:
    """Tell whether a target is the manifest's own; what is derived moves for itself alone."""
    return any(one.name == target.name for one in manifest.targets)


def _hindrance(request: PromoteRequest, tree: Tree, repo: Repo) -> str:
    """Say what is against the commit itself, whatever its tests say."""
    if not repo.has_commit(tree.commit):
        return f"its commit {tree.commit} is not here"
    info = repo.info(tree.commit)
    ref = buildmaster_ref(request.osname, tree.name)
    if ref not in info.bindings:
        return f"its commit is not bound to {ref}: it was made to be thrown away"
    return ""


def _is_stale(request: PromoteRequest, tree: Tree, repo: Repo) -> bool:
    """Tell whether a client that has the promoted commit would take this for an older one."""
    here = repo.resolve(buildmaster_ref(request.osname, tree.name))
    if here is None or here == tree.commit or not repo.has_commit(here):
        return False
    return repo.has_commit(tree.commit) and repo.info(here).time >= repo.info(tree.commit).time


def _rows_of(ledger: Ledger, request: PromoteRequest) -> list[PromotionRow]:
    """Find the newest decision on each tree of a run."""
    names = {tree.name for tree in request.trees}
    newest: dict[str, PromotionRow] = {}
    for row in ledger.promotions(run=request.run):
        if row.tree in names:
            newest.setdefault(row.tree, row)
    return list(newest.values())


def _told(decisions: Sequence[Decision], log: Log) -> PromoteResult:
    promoted, held, older, notes = {}, {}, {}, {}
    for one in decisions:
        tree = one.candidate.tree
        if one.notes:
            notes[tree.name] = one.notes
        if one.state is PromotionState.HELD:
            held[tree.name] = one.reason
        elif one.state is PromotionState.OLDER:
            older[tree.name] = one.reason
        else:
            promoted[tree.name] = str(tree.commit)
        log.detail(f"{one.state}: {one.reason or 'its gate passed'}", about=tree.name)
        for words in one.notes:
            log.fact(words, about=tree.name)
    return PromoteResult(promoted=promoted, held=held, older=older, notes=notes)
