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
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from pipeline.cli.house import House
from pipeline.cli.passage import Passage, raise_worst
from pipeline.cli.plan_command import buildroot_variant, plan_of
from pipeline.cli.results import Disks, Judged, Resolved, Tests, Trees
from pipeline.ports.files import lock, write_text
from pipeline.stages import base as base_stage
from pipeline.words.alike import told_once
from pipeline.words.errors import BadInput, Ending, Failed, Trouble
from pipeline.words.gate import Flakes, GateResult, excused_suites
from pipeline.words.gate import judge as judge_gate
from pipeline.words.manifest import Manifest, Need, Source, Target
from pipeline.words.plan_text import as_plain, summary
from pipeline.words.refs import Commit, Revision, buildmaster_ref
from pipeline.words.snapshot import Snapshot
from pipeline.words.suite import MEMORY
from pipeline.words.targets import target_of
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import SuiteResult, Verdict

_SUITE_S = 3600.0
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
    passage.tell(f"snapshot {snapshot.digest[:12]}, {len(snapshot.pins)} pins")


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


def disk(passage: Passage, *, targets: Sequence[str] = (), full: bool = False) -> None:
    """Make a disk of every tree, or of the targets' that were named; ``full`` takes no layer."""
    house = passage.house
    with passage.stage("disk", *targets):
        manifest = passage.manifest
        key = house.clients_key()

        def make(tree: Tree) -> Disk:
            with house.log.step("disk", about=tree.name):
                return disk_of(passage, tree, target_of(manifest, tree.target), key, full=full)

        trees = _trees(passage, targets)
        disks = side_by_side(make, trees, jobs=house.settings.jobs)
        made = {tree.name: disk for tree, disk in zip(trees, disks, strict=True)}
        passage.merge("disks", Disks, lambda old: _with_disks(old if targets else None, made))
        passage.tell(f"{len(made)} disk{'' if len(made) == 1 else 's'}")


def _with_disks(earlier: Disks | None, made: Mapping[str, Disk]) -> Disks:
    """Keep the disks of other trees, which another process may have made at the same time."""
    return Disks(disks={**(earlier.disks if earlier else {}), **made})


def disk_of(passage: Passage, tree: Tree, target: Target, key: bytes, *, full: bool) -> Disk:
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
        request, repo=house.workdir.repo, disks=house.workdir.disks, log=house.log, full=full
    )


def _trees(passage: Passage, names: Sequence[str]) -> tuple[Tree, ...]:
    trees = passage.read("trees", Trees, before="compose").trees
    if not names:
        return trees
    found = tuple(tree for tree in trees if tree.name in names or tree.target in names)
    if not found:
        known = ", ".join(tree.name for tree in trees)
        raise BadInput(f"the run has no tree {' or '.join(names)}", hint=f"it has {known}")
    return found


def test(passage: Passage, *, trees: Sequence[str] = (), suite: str | None = None) -> None:
    """Boot trees and run suites on them; raises the worst verdict after all were heard.

    All trees of the run by default, and all suites that their gates want.
    """
    from pipeline.cli.attempts import Attempts
    from pipeline.cli.background import judged, known_issues, repeats_of
    from pipeline.cli.beside import beside_of
    from pipeline.cli.externals import externals_of
    from pipeline.cli.figures import tell_growth
    from pipeline.cli.screens import compare_screens
    from pipeline.stages import test as test_stage

    house = passage.house
    with passage.stage("test", *part_of_test(trees, suite)):
        disks = passage.read("disks", Disks, before="disk").disks
        issues = known_issues(passage)
        attempts = Attempts(
            cache=house.workdir.cache,
            tmp=house.tmp,
            log=house.log,
            promoted=lambda tree: _promoted_disk(passage, tree),
            repeats=lambda result: repeats_of(passage, result),
            judge=lambda result: judged(passage, result, issues),
        )

        def made(tree: Tree, target: Target) -> Disk:
            return disk_of(passage, tree, target, house.clients_key(), full=False)

        heard = []
        for tree in _trees(passage, trees):
            target = target_of(passage.manifest, tree.target)
            for name in (suite,) if suite else suites_of(passage, target):
                request = test_stage.TestRequest(
                    run=passage.run.version,
                    tree=tree,
                    target=target,
                    disk=_need_disk(passage, disks, tree),
                    suite=name,
                    into=passage.run.test(tree.name, name),
                    machines=house.settings.machines,
                    repo=house.workdir.repo,
                    known_failing=passage.manifest.installed_tests_xfail,
                    externals=externals_of(passage, target, name),
                    reproduce=passage.house.command("reproduce", passage.run.version, tree.name),
                    failures_s=house.settings.keep_machines_h * 3600.0,
                    leaves_checkpoint=name == "smoke" and any(one != name for one in target.gate),
                    beside=beside_of(passage, tree, name, disk_of=made),
                )
                with _one_at_a_time(passage, tree, name), house.log.step(name, about=tree.name):
                    result = attempts.hear(request)
                    compare_screens(passage, result, _promoted_commit(passage, tree.name))
                house.ledger.record_suite(passage.run.version, result)
                house.log.fact(_heard(result), about=tree.name)
                tell_growth(house, passage.manifest.osname, result)
                heard.append(result)
        passage.merge("tests", Tests, lambda old: _with_earlier(old, heard))
        passage.tell(", ".join(f"{one.tree} {one.suite} {one.verdict}" for one in heard))
        raise_several(
            {
                f"{one.tree} {one.suite}": error
                for one in heard
                if (error := _as_error(passage, one))
            },
            "did not pass",
        )


def _promoted_disk(passage: Passage, tree: Tree) -> tuple[Tree, Disk] | None:
    """Find the tree that was promoted last, and have a disk of it; None without another one."""
    from pipeline.cli.baseline import find_baseline

    promoted = find_baseline(passage, tree)
    if promoted is None:
        return None
    target = target_of(passage.manifest, tree.target)
    key = passage.house.clients_key()
    return promoted, disk_of(passage, promoted, target, key, full=False)


def _promoted_commit(passage: Passage, tree: str) -> Commit | None:
    taken = passage.taken_tree(tree)
    ref = buildmaster_ref(passage.manifest.osname, tree)
    return taken if taken is not None else passage.house.repo.resolve(ref)


def hear(passage: Passage, result: SuiteResult) -> None:
    """Record what a suite said that ran elsewhere, as a stage of the run; raises as ``test``."""
    from pipeline.cli.background import judged, known_issues
    from pipeline.cli.screens import compare_screens

    part = part_of_test([result.tree], result.suite)
    with passage.stage("test", *part, took_s=result.seconds):
        result = judged(passage, result, known_issues(passage))
        passage.house.ledger.record_suite(passage.run.version, result)
        passage.merge("tests", Tests, lambda old: _with_earlier(old, [result]))
        passage.tell(f"{result.tree} {_heard(result)}")
        compare_screens(passage, result, _promoted_commit(passage, result.tree))
        if result.suite == MEMORY:
            from pipeline.cli.figures import tell_growth

            tell_growth(passage.house, passage.manifest.osname, result)
        error = _as_error(passage, result)
        if error is not None:
            raise_several({f"{result.tree} {result.suite}": error}, "did not pass")


def suites_of(passage: Passage, target: Target) -> tuple[str, ...]:
    """Tell which suites a run has for a target: those that a person named, else its gate's."""
    return passage.wish.suites or tuple(target.gate)


def judge(passage: Passage) -> None:
    """Tell what the gate makes of a try's verdicts; raises Failed where it would hold the trees."""
    house = passage.house
    with passage.stage("judge"):
        results = {tree.name: _judged(passage, tree) for tree in _trees(passage, ())}
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
            raise Failed(what, hint=_evidence(passage))


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


def part_of_test(trees: Sequence[str], suite: str | None) -> tuple[str, ...]:
    """Write which part of a test is meant, as the command line has it; the whole is empty."""
    if not suite:
        return tuple(trees)
    return (*trees, suite) if trees else ("--suite", suite)


def _heard(result: SuiteResult) -> str:
    why = f": {result.message}" if result.message else ""
    return f"{result.suite} {result.verdict} in {result.seconds:.0f} s{why}"


def _one_at_a_time(passage: Passage, tree: Tree, suite: str) -> AbstractContextManager[None]:
    """Keep others from the evidence of a suite on a tree, which is of one attempt alone."""
    what = f"{suite.partition('/')[0]} on {tree.name}"
    path = passage.run.path / f".test-{tree.name}-{suite.partition('/')[0]}.lock"
    return lock(path, what=what, wait_s=_SUITE_S)


def _need_disk(passage: Passage, disks: Mapping[str, Disk], tree: Tree) -> Disk:
    """Find a tree's disk; one of what the run composed before under the same name is none."""
    found = disks.get(tree.name)
    if found is None or found.commit != tree.commit:
        hint = passage.command("disk", tree.name)
        of = f"{tree.name} {tree.commit[:12]}"
        raise BadInput(f"run {passage.run.version} has no disk of {of} yet", hint=hint)
    return found


def _with_earlier(earlier: Tests | None, heard: Sequence[SuiteResult]) -> Tests:
    """Keep what the run heard of other trees and suites before."""
    new = {(one.tree, one.suite) for one in heard}
    suites = earlier.suites if earlier else ()
    kept = [one for one in suites if (one.tree, one.suite) not in new]
    return Tests(suites=(*kept, *heard))


def _as_error(passage: Passage, result: SuiteResult) -> Ending | None:
    if result.verdict is Verdict.TROUBLE:
        return Trouble(result.message or "the machine was in trouble")
    target = target_of(passage.manifest, result.tree.partition("-")[2])
    flakes = Flakes(seen={result.suite: result.flaky}, budget=target.flaky)
    if result.verdict is Verdict.FLAKY and flakes.allow(result.suite):
        return None
    if result.verdict in (Verdict.FAILED, Verdict.FLAKY):
        return Failed(result.message or str(result.verdict))
    return None


def promote(passage: Passage) -> None:
    """Move ``buildmaster`` if the gate passed; raises Failed where it did not."""
    from pipeline.stages import promote as promote_stage

    house = passage.house
    with passage.stage("promote"):
        request = promote_stage.PromoteRequest(
            run=passage.run.version,
            osname=passage.manifest.osname,
            manifest=passage.manifest,
            trees=_trees(passage, ()),
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
            raise Failed(f"not promoted: {told_once(result.held)}", hint=_evidence(passage))


def _evidence(passage: Passage) -> str:
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
