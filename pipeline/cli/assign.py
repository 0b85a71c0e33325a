# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci assign``: write down what a remote worker needs for one job of a run.

The source is checked out here, with its patches and submodules, and committed: a worker needs no
git server and sees exactly what a build here would. No ref leads to that commit; a prune that
takes it makes the worker's pull fail, and the job is assigned again.
"""

import argparse
import base64
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.cli.assigned import Assignment, Job, job_of
from pipeline.cli.baseline import promoted_last
from pipeline.cli.beside import beside_file, elsewhere
from pipeline.cli.building import read_built, wished
from pipeline.cli.externals import externals_file, given_externals
from pipeline.cli.holds import held_run
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.plan_command import buildroot_variant
from pipeline.cli.repair import locked
from pipeline.cli.results import Trees
from pipeline.cli.terminal import live
from pipeline.ports.base_facts import earlier_names, read_base_facts
from pipeline.ports.checkout import check_out
from pipeline.ports.files import remove_tree
from pipeline.stages.base import BaseResult
from pipeline.stages.build import Outcome
from pipeline.words.artifact import Artifact
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.fitness import Pool
from pipeline.words.plan import Kind, Planner
from pipeline.words.records import to_json
from pipeline.words.refs import Commit


def do_assign(options: argparse.Namespace) -> int:
    """Write the assignment of a job."""
    house, sink = open_with_sink(options)
    job = job_of(options)
    what = f"ostci assign {job} --run {options.run}"
    run = house.workdir.run(options.run)
    with (
        live(sink),
        locked(house, what, wait_s=options.wait or 0.0, part=True),
        held_run(house, run, what, wait_s=options.wait or 0.0, shared=True),
    ):
        passage = Passage(house, run)
        house.manifest = passage.manifest
        made = _build(passage, job) if job.verb == "build" else _test(passage, job, options.pool)
        run.file(job.file).parent.mkdir(exist_ok=True)
        passage.write(job.file, made)
        house.log.fact("nothing is to be done: it is there" if made.done else f"assigned: {job}")
    if options.json:
        sys.stdout.write(to_json(made))
    return EXIT_PASSED


def planner_of(passage: Passage, *, trusted: str = "") -> Planner:
    """Make the planner that decides on components of a run, as a build of it does.

    Of a ``trusted`` component an artifact may be kept though its source is a working copy.
    """
    house, snapshot = passage.house, passage.snapshot
    if trusted:
        pin = replace(snapshot.pins[trusted], local=False)
        snapshot = replace(snapshot, pins={**snapshot.pins, trusted: pin})
    base = passage.read("base", BaseResult).variants[buildroot_variant(passage.manifest.base)]
    cache = house.workdir.cache
    return Planner(
        snapshot,
        house.arch,
        read_base_facts(house.repo, base, cache=cache),
        past=house.artifacts,
        earlier_base_names=lambda digest: earlier_names(cache, digest),
    )


def settle(planner: Planner, artifacts: Mapping[str, Artifact]) -> None:
    """Say what is in the buildroot of a component, in the order of the plan."""
    for name in planner.order:
        if name in artifacts:
            planner.settle(name, artifacts[name])


def _build(passage: Passage, job: Job) -> Assignment:
    house, (name,) = passage.house, job.what
    planner = planner_of(passage)
    if name not in planner.names or name not in passage.snapshot.pins:
        raise BadInput(f"the run has no component {name!r}", hint=passage.command("plan"))
    artifacts = _buildroot(passage, planner, name)
    decision = planner.decide(name)
    base = passage.read("base", BaseResult).variants[buildroot_variant(passage.manifest.base)]
    if decision.kind is Kind.KEEP and name not in wished(passage, read_built(passage.run)):
        return Assignment(run=passage.run.version, job=job, done=True)
    if decision.recipe is None:
        raise Trouble(f"{name} cannot be built yet: {'; '.join(decision.reasons)}")
    return Assignment(
        run=passage.run.version,
        job=job,
        files=("snapshot", "base", *_wishes(passage)),
        base=base,
        recipe=decision.recipe,
        source=commit_source(house, passage, name),
        artifacts=artifacts,
    )


def _buildroot(passage: Passage, planner: Planner, name: str) -> dict[str, Artifact]:
    """Settle all that a component is built in, as the schedule of a build does."""
    past = passage.house.artifacts
    built = read_built(passage.run)
    found: dict[str, Artifact] = {}
    wanted = set(planner.closure(name))
    for one in planner.order:
        if one not in wanted:
            continue
        decision = planner.decide(one)
        earlier = built.get(one)
        artifact = decision.artifact
        if artifact is None and earlier is not None and earlier.outcome is Outcome.BUILT:
            artifact = past.by_key(earlier.key) if earlier.key else None
        if artifact is None or (decision.kind is not Kind.KEEP and earlier is None):
            # What failed may be stood in for by its last good one; a build there decides anew.
            latest = past.latest(one, decision.arch)
            if latest is not None:
                planner.assume(one, latest)
                found[one] = latest
            continue
        planner.settle(one, artifact)
        found[one] = artifact
    return found


def commit_source(house: House, passage: Passage, name: str) -> Commit:
    """Commit the source of a component as it is built; tells the commit."""
    component = passage.manifest.component(name)
    place = Path(house.tmp) / f"source-{name}"
    remove_tree(place)
    place.mkdir(parents=True)
    try:
        check_out(component, passage.snapshot, place, mirrors=house.mirrors, log=house.log)
        return house.repo.commit_dir(place, subject=f"source of {name}")
    finally:
        remove_tree(place)


def _wishes(passage: Passage) -> tuple[str, ...]:
    """Name the files that tell what is tried, and what a person asked for."""
    return tuple(name for name in ("try", "wish") if passage.run.file(name).is_file())


def _test(passage: Passage, job: Job, pool: str) -> Assignment:
    name, suite = job.what
    trees = passage.read("trees", Trees, before="compose").trees
    tree = next((one for one in trees if one.name == name), None)
    if tree is None:
        raise BadInput(f"the run has no tree {name}", hint=passage.command("compose"))
    known, besides = elsewhere(passage, tree, suite)
    files = ["snapshot", "trees", *_wishes(passage)]
    if known is not None:
        passage.run.file(beside_file(name)).parent.mkdir(exist_ok=True)
        passage.write(beside_file(name), known)
        files.append(beside_file(name))
    given = given_externals(passage, tree, suite)
    if given is not None:
        passage.run.file(externals_file(name)).parent.mkdir(exist_ok=True)
        passage.write(externals_file(name), given)
        files.append(externals_file(name))
    return Assignment(
        run=passage.run.version,
        job=job,
        files=tuple(files),
        tree=tree,
        besides=tuple(besides),
        key=base64.b64encode(passage.house.keyring.export()).decode(),
        # That the push is not to blame nobody believes whom the master does not.
        baseline=promoted_last(passage, tree) if pool == Pool.PUSH else None,
    )
