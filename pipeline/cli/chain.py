# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stages of a run as the command line gives them: each from what the ones before it left.

``build`` and ``compose`` are in ``building`` and ``composing``.

A function here reads results from the run's directory, asks its stage, writes the result there
and into the ledger, and raises what the stage came to. It decides nothing that a stage should.

Under a master each is a process of its own: it imports no other's stage, which takes a while.
"""

import contextvars
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.cli.house import House
from pipeline.cli.passage import Passage, raise_worst
from pipeline.cli.plan_command import buildroot_variant, plan_of
from pipeline.cli.results import Disks, Judged, Resolved, Trees
from pipeline.ports.files import write_text
from pipeline.stages import base as base_stage
from pipeline.words.alike import told_once
from pipeline.words.counting import count_of
from pipeline.words.errors import BadInput, Ending, Failed
from pipeline.words.gate import Flakes, GateResult, excused_suites
from pipeline.words.gate import judge as judge_gate
from pipeline.words.manifest import Manifest, Need, Source, Target
from pipeline.words.plan_text import as_plain, summary
from pipeline.words.refs import Revision, buildmaster_ref
from pipeline.words.snapshot import Snapshot
from pipeline.words.targets import target_of
from pipeline.words.tree import Disk, Tree

T = TypeVar("T")
U = TypeVar("U")


def base(passage: Passage, *, refresh: bool = False, offline: bool = False) -> None:
    """Import the base in every variant that the manifest's targets and builds need."""
    house = passage.house
    manifest = house.manifest
    with passage.stage("base"):
        request = replace(base_request(house), offline=offline)
        age = 0.0 if refresh else base_stage.MAX_AGE_S
        cache = base_stage.shared_cache() or house.workdir.cache
        result = base_stage.have_base(
            request, repo=house.repo, cache=cache, log=house.log, max_age_s=age
        )
        passage.write("base", result)
        pin, how = result.pin, "was here" if result.cached else "imported"
        passage.tell(f"{manifest.base.name} {pin.key[:12]} {how}, {len(pin.packages)} packages")


def base_request(house: House) -> base_stage.BaseRequest:
    """Ask for the manifest's base, in every variant that its targets and builds need."""
    manifest = house.manifest
    return base_stage.BaseRequest(
        base=manifest.base,
        osname=manifest.osname,
        arch=house.arch,
        variants=_variants(manifest, house.arch),
    )


def _variants(manifest: Manifest, arch: str) -> tuple[tuple[str, ...], ...]:
    wanted = {tuple(buildroot_variant(manifest.base).split("+")): None}
    for _, own, target in manifest.trees():
        if own == arch:
            wanted[target.packages] = None
    return tuple(wanted)


def resolve(
    passage: Passage,
    *,
    fetch: frozenset[str] | None,
    overrides: Mapping[str, Path],
    known: Snapshot | None = None,
    at: Mapping[Source, Revision] | None = None,
    offline: bool = False,
) -> None:
    """Pin every source; raises the worst of what could not be, after all were tried."""
    from pipeline.stages import resolve as resolve_stage

    house = passage.house
    with passage.stage("resolve"):
        names = {component.name for component in house.manifest.components}
        names |= {resolve_stage.PATCHES}
        for name in [*(fetch or ()), *overrides]:
            if name not in names:
                raise BadInput(f"the manifest has no component {name!r}", hint="ostci show")
        request = resolve_stage.ResolveRequest(
            manifest=house.manifest,
            base=passage.read("base", base_stage.BaseResult).pin,
            fetch=fetch,
            overrides=overrides,
            known=known,
            at=at or {},
            jobs=max(4, house.settings.jobs * 2),
            offline=offline,
        )
        result = resolve_stage.resolve(request, mirrors=house.mirrors, log=house.log)
        failures = {name: str(error) for name, error in result.failures.items()}
        settle(passage, result.snapshot, failures=failures, overrides=overrides)
        raise_several(result.failures, "could not be resolved")


def settle(
    passage: Passage,
    snapshot: Snapshot,
    *,
    failures: Mapping[str, str],
    overrides: Mapping[str, Path],
) -> None:
    """Let a snapshot be that of the run: the result of its stage ``resolve``."""
    house = passage.house
    passage.write("snapshot", snapshot)
    overridden = {name: str(path) for name, path in overrides.items()}
    passage.write("resolve", Resolved(failures=failures, overrides=overridden))
    house.ledger.record_snapshot(passage.run.version, snapshot.digest)
    if passage.trial is None:
        house.ledger.tickets.renew(passage.run.version, house.manifest.osname)
    passage.note_snapshot(snapshot.digest)
    passage.tell(f"snapshot {snapshot.digest[:12]}, {count_of(len(snapshot.pins), 'pin')}")


def plan(passage: Passage) -> None:
    """Write down what a build is expected to do, and why."""
    house = passage.house
    with passage.stage("plan"):
        found = plan_of(house.workdir, passage.run.version, log=house.log)
        write_text(passage.run.file("plan"), json.dumps(as_plain(found), indent=2) + "\n")
        for decision in found.decisions:
            reasons = "; ".join(decision.reasons)
            house.log.detail(f"{decision.kind}: {reasons}", about=decision.component)
        passage.tell(summary(found))


def disk(
    passage: Passage,
    *,
    targets: Sequence[str] = (),
    full: bool = False,
    beside: Path | None = None,
) -> None:
    """Make a disk of every tree, or of the targets' that were named; ``full`` takes no layer.

    ``beside`` is another's directory of disks on this machine, to be copied from.
    """
    house = passage.house
    with passage.stage("disk", *targets):
        manifest = passage.manifest
        key = house.clients_key()

        def make(tree: Tree) -> Disk:
            with house.log.step("disk", about=tree.name):
                target = target_of(manifest, tree.target)
                return disk_of(passage, tree, target, key, full=full, beside=beside)

        trees = trees_of(passage, targets)
        disks = side_by_side(make, trees, jobs=house.settings.jobs)
        made = {tree.name: disk for tree, disk in zip(trees, disks, strict=True)}
        passage.merge("disks", Disks, lambda old: _with_disks(old if targets else None, made))
        passage.tell(count_of(len(made), "disk"))


def _with_disks(earlier: Disks | None, made: Mapping[str, Disk]) -> Disks:
    """Keep the disks of other trees, which another process may have made at the same time."""
    return Disks(disks={**(earlier.disks if earlier else {}), **made})


def disk_of(
    passage: Passage,
    tree: Tree,
    target: Target,
    key: bytes,
    *,
    full: bool = False,
    beside: Path | None = None,
) -> Disk:
    """Have a tree's disk: the one that is there, or a new one."""
    from pipeline.stages import disk as disk_stage

    house, manifest = passage.house, passage.manifest
    request = disk_stage.DiskRequest(
        osname=manifest.osname,
        ref=buildmaster_ref(manifest.osname, tree.name),
        commit=tree.commit,
        target=target,
        arch=tree.arch,
        url=manifest.repo,
        key=key,
    )
    return disk_stage.make_disk(
        request,
        repo=house.workdir.repo,
        disks=house.workdir.disks,
        log=house.log,
        full=full,
        beside=beside,
    )


def trees_of(passage: Passage, names: Sequence[str]) -> tuple[Tree, ...]:
    trees = passage.read("trees", Trees, before="compose").trees
    if not names:
        return trees
    found = tuple(tree for tree in trees if tree.name in names or tree.target in names)
    if not found:
        known = ", ".join(tree.name for tree in trees)
        raise BadInput(f"the run has no tree {' or '.join(names)}", hint=f"it has {known}")
    return found


def judge(passage: Passage) -> None:
    """Tell what the gate makes of a try's verdicts; raises Failed where it would hold the trees."""
    house = passage.house
    with passage.stage("judge"):
        results = {tree.name: _judged(passage, tree) for tree in trees_of(passage, ())}
        passage.write("judge", Judged(trees=results))
        passage.tell(
            ", ".join(
                f"{name} {'passed' if one.passed else 'held'}" for name, one in results.items()
            )
        )
        for name, one in results.items():
            for note in one.notes:
                house.log.fact(note, about=name)
        held = {name: "; ".join(one.reasons) for name, one in results.items() if not one.passed}
        if held:
            what = f"it would not be promoted: {told_once(held)}"
            raise Failed(what, hint=evidence_of(passage))


def _judged(passage: Passage, tree: Tree) -> GateResult:
    from pipeline.cli.beside import promoted_before

    target = target_of(passage.manifest, tree.target)
    rows = {row.suite: row for row in passage.house.ledger.attempts(tree.commit)}
    # Who names suites asks about these alone, whatever the gate thinks of them.
    named = passage.wish.suites
    gate = dict.fromkeys(named, Need.REQUIRED) if named else target.gate
    verdicts = {suite: row.verdict for suite, row in rows.items()}
    causes = {suite: row.cause for suite, row in rows.items()}
    is_first = not [one for one in promoted_before(passage, tree.name) if one != tree.commit]
    return judge_gate(
        gate,
        verdicts,
        messages={suite: row.message for suite, row in rows.items()},
        flakes=Flakes(seen={suite: row.flaky for suite, row in rows.items()}, budget=target.flaky),
        baselines=passage.house.ledger.tests.baselines(passage.manifest.osname, tree.name),
        excused=excused_suites(verdicts, causes, is_first=is_first),
    )


def promote(passage: Passage) -> None:
    """Move ``buildmaster`` if the gate passed; raises Failed where it did not."""
    from pipeline.stages import promote as promote_stage

    house = passage.house
    with passage.stage("promote"):
        request = promote_stage.PromoteRequest(
            run=passage.run.version,
            osname=passage.manifest.osname,
            manifest=passage.manifest,
            trees=trees_of(passage, ()),
        )
        result = promote_stage.promote(
            request,
            repo=house.repo,
            archive=house.archive,
            ledger=house.ledger,
            keyring=house.keyring,
            workdir=house.workdir,
            log=house.log,
        )
        passage.write("promote", result)
        passage.note_promoted(result.promoted)
        if house.settings.artifacts and result.promoted:
            from pipeline.cli.publishing import publish_artifacts

            publish_artifacts(passage)
        for tree, reason in result.held.items():
            house.log.warning(f"held back: {reason}", about=tree)
        told = [f"{tree} {commit[:12]}" for tree, commit in result.promoted.items()]
        passage.tell(", ".join(told) or "nothing promoted")
        if result.held:
            raise Failed(f"not promoted: {told_once(result.held)}", hint=evidence_of(passage))


def evidence_of(passage: Passage) -> str:
    return f"the evidence is in {passage.run.path / 'test'}"


def side_by_side(work: Callable[[T], U], items: Sequence[T], *, jobs: int) -> list[U]:
    """Do the same work on several items at once; raises the first failure, after all have ended."""
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = [pool.submit(contextvars.copy_context().run, work, item) for item in items]
    return [future.result() for future in futures]


def raise_several(failures: Mapping[str, Ending], what: str) -> None:
    """Raise one ending for several, of the worst kind, that names each."""
    if not failures:
        return
    try:
        raise_worst(list(failures.values()))
    except Ending as decided:
        told = told_once({name: error.what for name, error in failures.items()})
        if isinstance(decided, BadInput):
            raise BadInput(
                f"{what}: {told}", hint=decided.hint, problems=decided.problems
            ) from None
        raise type(decided)(f"{what}: {told}", hint=decided.hint) from None
