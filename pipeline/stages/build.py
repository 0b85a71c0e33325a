# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build: from a snapshot to artifacts.

What is there already, by key, is kept; the rest is compiled within walls, and each result split
into parts that are committed. A component that fails does not stop those that are independent of
it: the result lists all that became of all. Interrupted passes through.
"""

import contextlib
from pathlib import Path

from pipeline.ports.artifacts import Artifacts
from pipeline.ports.base_facts import earlier_names, read_base_facts
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.building.buildroot import Buildroots
from pipeline.stages.building.one import Builder
from pipeline.stages.building.request import (
    BuildRequest,
    BuildResult,
    BuiltComponent,
    Outcome,
    result_of,
)
from pipeline.stages.building.schedule import Schedule
from pipeline.stages.building.used import Providers
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Failed, Trouble
from pipeline.words.plan import Planner
from pipeline.words.refs import Revision

__all__ = ["BuildRequest", "BuildResult", "BuiltComponent", "Outcome", "build"]

_MOST_COMMITS = 20


def build(
    request: BuildRequest,
    *,
    repo: Repo,
    artifacts: Artifacts,
    mirrors: Mirrors,
    cache: Path,
    tmp: Path,
    log: Log,
) -> BuildResult:
    """Build what a snapshot needs built, and say what became of each component.

    Raises nothing for a component that failed (``BuildResult.error`` tells), Interrupted when
    stopped, and Trouble where not even a beginning can be made.
    """
    base = read_base_facts(repo, request.base, cache=cache)
    history = _History(request, mirrors)
    planner = Planner(
        request.snapshot,
        request.arch,
        base,
        past=artifacts,
        force=request.force,
        noarch=request.noarch,
        count_commits=history.count,
        earlier_base_names=lambda digest: earlier_names(cache, digest),
    )
    buildroots = Buildroots(repo, cache, tmp, log=log)
    builder = Builder(
        request,
        repo=repo,
        artifacts=artifacts,
        mirrors=mirrors,
        buildroots=buildroots,
        providers=Providers(repo, base, cache),
        cache=cache,
        tmp=tmp,
        log=log,
    )
    schedule = Schedule(
        request,
        planner,
        past=artifacts,
        build=builder.build,
        new_commits=history.since,
        locks=cache / "locks",
        log=log,
    )
    components = schedule.go()
    _keep_current(request, components, artifacts)
    return result_of(request.arch, components)


def _keep_current(
    request: BuildRequest, components: tuple[BuiltComponent, ...], artifacts: Artifacts
) -> None:
    """Let the components' refs lead to what was kept; what was built has them already."""
    kept = []
    for one in components:
        is_ours = request.only is None or one.component in request.only
        if is_ours and one.outcome is Outcome.KEPT and one.key is not None:
            artifact = artifacts.by_key(one.key)
            if artifact is not None:
                kept.append(artifact)
    artifacts.set_current(kept, osname=request.snapshot.manifest.osname)


class _History:
    """What git knows between two builds of a component; nothing where a mirror is gone."""

    def __init__(self, request: BuildRequest, mirrors: Mirrors) -> None:
        self._request = request
        self._mirrors = mirrors

    def count(self, component: str, old: Revision, new: Revision) -> int | None:
        """Count the git commits between two revisions."""
        with contextlib.suppress(Failed, Trouble):  # it only gives the number
            source = self._request.snapshot.manifest.component(component).source
            return len(self._mirrors.log_between(source, old, new))
        return None

    def since(self, component: str, latest: Artifact | None) -> tuple[str, ...]:
        """List the git commits since an artifact, newest first, with their subjects."""
        pin = self._request.snapshot.pins.get(component)
        if latest is None or pin is None or pin.local or latest.revision == pin.revision:
            return ()
        with contextlib.suppress(Failed, Trouble):  # a rewritten branch has no commits between
            source = self._request.snapshot.manifest.component(component).source
            found = self._mirrors.log_between(source, latest.revision, pin.revision)
            return tuple(f"{one.revision[:10]} {one.subject}" for one in found[:_MOST_COMMITS])
        return ()
