# SPDX-License-Identifier: LGPL-2.1-or-later
"""The stage ``build`` of a run: of all components, or of single ones beside others.

What single ones came to is kept in the run's directory, a file a component; ``build`` of the whole
takes it from there.
"""

import json
from collections.abc import Mapping, Sequence

from pipeline.cli.passage import Passage
from pipeline.cli.plan_command import buildroot_variant
from pipeline.ports.workdir import RunDir
from pipeline.stages import base as base_stage
from pipeline.stages import build as build_stage
from pipeline.words.errors import BadInput
from pipeline.words.records import from_json
from pipeline.words.refs import Commit

SOURCES = "sources"
"""The file of a run on a worker that names sources in its repository: component → commit."""


def build(passage: Passage, *, force: frozenset[str] = frozenset(), retry: bool = False) -> None:
    """Build what is not there; raises the worst of the failures, after all that can was built.

    What this run has built by name is taken as it ended, also where it failed, unless ``retry``.
    """
    with passage.stage("build"):
        there = read_built(passage.run)
        earlier = {} if retry else there
        force |= wished(passage, there)
        result = _build(passage, force=force, earlier=earlier)
        passage.write("build", result)
        passage.tell(_build_summary(result))
        raise_failed(passage, result)


def build_named(
    passage: Passage, names: Sequence[str], *, force: frozenset[str] = frozenset()
) -> None:
    """Build single components, beside others that build others of the same run.

    What they need is there, or is built first. Each result is kept for ``build``. Raises the worst
    of the failures.
    """
    with passage.house.log.step(f"build {' '.join(names)}"):
        # Whoever names a component wants it tried again; what it needs has had its turn.
        earlier = {
            name: one
            for name, one in read_built(passage.run).items()
            if name not in names or one.outcome is build_stage.Outcome.BUILT
        }
        force |= wished(passage, earlier)
        result = _build(passage, force=force, earlier=earlier, only=frozenset(names))
        for one in result.components:
            is_news = one.outcome in (build_stage.Outcome.BUILT, build_stage.Outcome.FAILED)
            if is_news or one.component in names:
                note_built(passage, one)
        passage.house.log.fact(_build_summary(result))
        raise_failed(passage, result)


def note_built(passage: Passage, one: build_stage.BuiltComponent) -> None:
    """Keep what became of a component that was built by name."""
    passage.run.built.mkdir(exist_ok=True)
    passage.merge(f"built/{one.component}", build_stage.BuiltComponent, lambda old: _news(old, one))


def wished(passage: Passage, there: Mapping[str, build_stage.BuiltComponent]) -> frozenset[str]:
    """Tell what a person wants built in any case and this run has not built yet."""
    return frozenset(
        name
        for name in passage.wish.rebuild
        if name not in there or there[name].outcome is not build_stage.Outcome.BUILT
    )


def _build(
    passage: Passage,
    *,
    force: frozenset[str],
    earlier: Mapping[str, build_stage.BuiltComponent],
    only: frozenset[str] | None = None,
) -> build_stage.BuildResult:
    house, manifest = passage.house, passage.manifest
    for name in sorted(force | (only or frozenset())):
        if name not in {component.name for component in manifest.components}:
            raise BadInput(f"the manifest has no component {name!r}", hint="ostci show")
    base = passage.read("base", base_stage.BaseResult)
    request = build_stage.BuildRequest(
        snapshot=passage.snapshot,
        arch=house.arch,
        base=base.variants[buildroot_variant(manifest.base)],
        run=passage.run.version,
        into=passage.run.builds,
        jobs=house.settings.jobs,
        force=force,
        only=only,
        earlier=earlier,
        sources=_sources(passage.run),
        tried=passage.trial is not None,
    )
    return build_stage.build(
        request,
        repo=house.repo,
        artifacts=house.artifacts,
        mirrors=house.mirrors,
        cache=house.workdir.cache,
        tmp=house.tmp,
        log=house.log,
    )


def _sources(run: RunDir) -> dict[str, Commit]:
    """Read which sources a worker has as commits; ``fetch`` brought them."""
    path = run.file(SOURCES)
    return json.loads(path.read_bytes()) if path.is_file() else {}


def _news(
    old: build_stage.BuiltComponent | None, new: build_stage.BuiltComponent
) -> build_stage.BuiltComponent:
    """Keep that the run built a component, whoever in it then found that it is there."""
    is_same = old is not None and old.outcome is build_stage.Outcome.BUILT and old.key == new.key
    return old if old is not None and is_same else new


def read_built(run: RunDir) -> dict[str, build_stage.BuiltComponent]:
    """Read what became of the components that a run has built by name."""
    found = {}
    for path in sorted(run.built.glob("*.json")):
        one = from_json(build_stage.BuiltComponent, path.read_bytes(), where=str(path))
        found[one.component] = one
    return found


def raise_failed(passage: Passage, result: build_stage.BuildResult) -> None:
    """Raise what a build ended with, where it did not pass."""
    error = result.error()
    if error is not None:
        kept = [one.component for one in result.components if one.failed_ref]
        if kept:
            error.hint = f"enter the build that failed: {passage.enter(kept[0])}"
        raise error


def _build_summary(result: build_stage.BuildResult) -> str:
    told = [f"{len(result.built)} built", f"{len(result.kept)} kept"]
    for word, names in (("failed", result.failed), ("blocked", result.blocked)):
        told += [f"{len(names)} {word} ({', '.join(names)})"] if names else []
    return ", ".join(told)
