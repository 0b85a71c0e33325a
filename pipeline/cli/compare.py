# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci compare``: build again here what a remote worker built, and compare the two.

Equal inputs make equal commits, so whatever differs was either changed by the worker or is not
reproducible. Nothing that is built here is kept: what was there stays as it is.
"""

import argparse
from collections.abc import Iterable

from pipeline.cli.holds import held_run
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.plan_command import buildroot_variant
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.ports.artifacts import Artifacts
from pipeline.ports.worker_book import WorkerBook
from pipeline.stages import build as build_stage
from pipeline.stages.base import BaseResult
from pipeline.words.artifact import Artifact
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.records import from_json


class Unrecorded(Artifacts):
    """Artifacts that can be read, of which no new one is remembered."""

    def record(self, artifact: Artifact, *, osname: str) -> Artifact:  # noqa: ARG002
        """Give it back as it is, on no ref."""
        return artifact

    def set_current(self, artifacts: Iterable[Artifact], *, osname: str) -> None:
        """Leave the components' refs where they are."""


def do_compare(options: argparse.Namespace) -> int:
    """Build a component without keeping it; a worker that made another one is set aside."""
    house, sink = open_with_sink(options)
    name, worker = options.component, options.worker
    run = house.workdir.run(options.run)
    what, wait_s = f"ostci compare {name}", options.wait or 0.0
    with (
        live(sink),
        locked(house, what, wait_s=wait_s, part=True),
        held_run(house, run, what, wait_s=wait_s, shared=True),
    ):
        passage = Passage(house, run)
        house.manifest = passage.manifest
        path = run.file(f"built/{name}")
        if not path.is_file():
            raise BadInput(f"{name} was not built in run {run.version}")
        theirs = from_json(build_stage.BuiltComponent, path.read_bytes(), where=str(path))
        ours = _build(passage, name)
        if dict(theirs.commits) == dict(ours.commits):
            house.log.fact(f"{name}: what {worker} built is what is built here")
            return EXIT_PASSED
        differ = sorted(
            part
            for part in theirs.commits.keys() | ours.commits.keys()
            if theirs.commits.get(part) != ours.commits.get(part)
        )
        told = ", ".join(f"{part} {theirs.commits.get(part, 'nothing')[:12]}" for part in differ)
        reason = f"{name} in run {run.version} is another one when it is built here: {told}"
        WorkerBook(house.workdir).set_aside(worker, reason)
        raise Trouble(
            f"worker {worker} is set aside: {reason}",
            hint=f"see what it made: {house.command('workers', worker)}",
        )


def _build(passage: Passage, name: str) -> build_stage.BuiltComponent:
    house = passage.house
    base = passage.read("base", BaseResult).variants[buildroot_variant(passage.manifest.base)]
    request = build_stage.BuildRequest(
        snapshot=passage.snapshot,
        arch=house.arch,
        base=base,
        run=passage.run.version,
        into=house.tmp / "compared",
        jobs=house.settings.jobs,
        force=frozenset({name}),
        only=frozenset({name}),
    )
    result = build_stage.build(
        request,
        repo=house.repo,
        artifacts=Unrecorded(house.repo, house.workdir.cache / "artifacts.sqlite"),
        mirrors=house.mirrors,
        cache=house.workdir.cache,
        tmp=house.tmp,
        log=house.log,
    )
    found = next(one for one in result.components if one.component == name)
    if found.outcome is not build_stage.Outcome.BUILT:
        raise Trouble(f"{name} cannot be built here to be compared: {found.message}")
    return found
