# SPDX-License-Identifier: LGPL-2.1-or-later
"""Build one component: buildroot, source, sandbox, parts, commits, artifact.

What is decided on stands in ``words/plan``, when it is done in ``schedule``.
"""

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.ports import process, sandbox, trees
from pipeline.ports.artifacts import Artifacts, commit_metadata
from pipeline.ports.checkout import check_out, check_out_commit
from pipeline.ports.files import full_disk, no_space, remove_tree, write_text
from pipeline.ports.git import Mirrors
from pipeline.ports.interface import interface
from pipeline.ports.log import Log
from pipeline.ports.opens import Opens
from pipeline.ports.ostree import Repo
from pipeline.ports.sandbox import Walls
from pipeline.stages.building import script
from pipeline.stages.building.build_log import BuildLog, open_log
from pipeline.stages.building.buildroot import Buildroots, Layers, layers_of
from pipeline.stages.building.kept import keep_failed
from pipeline.stages.building.parts import Sorted, debug_list, sort_parts
from pipeline.stages.building.request import BuildRequest
from pipeline.stages.building.script import Script
from pipeline.stages.building.used import Buildroot, Providers
from pipeline.words.artifact import Artifact
from pipeline.words.errors import Failed
from pipeline.words.keys import artifact_key
from pipeline.words.manifest import Component, Limits
from pipeline.words.plan import Decision
from pipeline.words.refs import Commit, Part, RefName

SETUID = 0o4000
_ROOM_AT_LEAST = 16 * 1024**2
_SPLIT_S = 900
_CCACHE_SIZE = 512 * 1024**2
_SEEN_ELSEWHERE = (Part.DOC, Part.DEBUG, Part.TESTS)
"""Parts that are in no buildroot, so that nobody can have used them."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A component to build: the decision on it, and what is to be in its buildroot, in order."""

    component: Component
    decision: Decision
    artifacts: Mapping[str, Artifact]
    jobs: int


class FailedBuild(Failed):
    """A build that failed: the end of its log, and the ref that its tree is kept on."""

    def __init__(self, error: Failed, *, last: tuple[str, ...], ref: RefName | None) -> None:
        super().__init__(error.what, where=error.where, hint=error.hint)
        self.last = last
        self.ref = ref


class Builder:
    """Builds components of one request; several threads may do so at once."""

    def __init__(
        self,
        request: BuildRequest,
        *,
        repo: Repo,
        artifacts: Artifacts,
        mirrors: Mirrors,
        buildroots: Buildroots,
        providers: Providers,
        cache: Path,
        tmp: Path,
        log: Log,
    ) -> None:
        self._request = request
        self._repo = repo
        self._artifacts = artifacts
        self._mirrors = mirrors
        self._buildroots = buildroots
        self._providers = providers
        self._cache = cache
        self._tmp = tmp
        self._log = log

    def build(self, order: Order) -> Artifact:
        """Build a component and record its artifact.

        Raises FailedBuild for what is the component's fault, Trouble for ours.
        """
        started = time.monotonic()
        name = order.component.name
        layers = layers_of(
            self._request.base, {name: one.commits for name, one in order.artifacts.items()}
        )
        with (
            no_space(self._tmp),
            _room(self._tmp, name, log=self._log) as room,
            open_log(self._request.into / name) as lines,
            self._buildroots.use(layers, about=name) as root,
        ):
            attempt = _Attempt(order=order, room=room, root=root, lines=lines, layers=layers)
            try:
                artifact = self._go(attempt)
            except Failed as error:
                lines.say(error.what)
                if shutil.disk_usage(room).free < _ROOM_AT_LEAST:
                    # Whatever the build said then, it is not its fault.
                    raise full_disk(room) from error
                raise self._keep(attempt, error) from error
        artifact = replace(artifact, build_s=round(time.monotonic() - started, 3))
        return self._artifacts.record(artifact, osname=self._request.snapshot.manifest.osname)

    def _go(self, attempt: "_Attempt") -> Artifact:
        component = attempt.order.component
        with self._log.step("check out the source", about=component.name):
            self._check_out(attempt)
        with self._log.step("compile", about=component.name):
            opens = self._compile(attempt)
        with self._log.step("sort the files", about=component.name):
            found = self._sort(attempt, opens)
        return self._commit(attempt, found, opens)

    def _check_out(self, attempt: "_Attempt") -> None:
        component, snapshot = attempt.order.component, self._request.snapshot
        commit = self._request.sources.get(component.name)
        if commit is not None:
            pin = snapshot.pins[component.name]
            check_out_commit(commit, pin, attempt.source, name=component.name, repo=self._repo)
            return
        check_out(component, snapshot, attempt.source, mirrors=self._mirrors, log=self._log)

    def _compile(self, attempt: "_Attempt") -> Opens:
        component = attempt.order.component
        script = self._script(attempt)
        walls = self._walls(attempt, script)
        opens = Opens()
        attempt.lines.say(f"buildroot: {len(attempt.layers.commits)} commits")
        sandbox.run(
            walls,
            script.argv,
            log=self._log,
            on_line=attempt.lines.add,
            what=f"the build of {component.name}",
            merge=True,
            opened=opens,
        )
        attempt.lines.say(f"opened {len(opens.paths)} files of the buildroot")
        return opens

    def _script(self, attempt: "_Attempt") -> Script:
        component, jobs = attempt.order.component, attempt.order.jobs
        pin = self._request.snapshot.pins[component.name]
        made = script.script_of(component, pin, self._request.arch, attempt.root, jobs)
        for name, text in made.files.items():
            write_text(attempt.own / name, text)
        return made

    def _walls(self, attempt: "_Attempt", made: Script) -> Walls:
        build = attempt.order.component.build
        writable = {script.TOP: attempt.build, script.DESTDIR: attempt.destdir}
        limits = build.limits
        if build.ccache:
            # One for each component: sandboxes that run side by side have different users, and
            # what is hostile has nobody else's to spoil.
            kind = "ccache-try" if self._request.tried else "ccache"
            place = self._cache / kind / attempt.order.component.name
            place.mkdir(parents=True, exist_ok=True)
            writable[script.CCACHE] = place
            limits = replace(limits, output=limits.output + 2 * _CCACHE_SIZE)
        return Walls(
            root=attempt.root,
            readonly={script.OWN: attempt.own},
            writable=writable,
            env=made.env,
            limits=limits,
        )

    def _sort(self, attempt: "_Attempt", opens: Opens) -> Sorted:
        component = attempt.order.component
        warnings = self._take_debug(attempt, opens)
        found = sort_parts(
            attempt.destdir,
            attempt.room / "parts",
            component=component.name,
            setuid=component.setuid,
            all_tests=bool(component.generated_from),
        )
        granted = {path for top in found.parts.values() for path in _granted(component, top)}
        warnings += [
            f"setuid: {path} is granted, but no such file was installed"
            for path in component.setuid
            if path not in granted
        ]
        for warning in (*warnings, *found.warnings):
            attempt.lines.add(f"ostci: warning: {warning}")
            self._log.warning(warning, about=component.name)
        return found

    def _take_debug(self, attempt: "_Attempt", opens: Opens) -> list[str]:
        lines, warnings = debug_list(attempt.destdir, script.DESTDIR)
        if not lines:
            return warnings
        if not (attempt.root / "usr/bin/objcopy").exists():
            return [*warnings, "the base has no binutils: debugging information stays in files"]
        write_text(attempt.own / "list", "\n".join([*lines, ""]))
        limits: Limits = attempt.order.component.build.limits
        more = Opens()
        sandbox.run(
            Walls(
                root=attempt.root,
                readonly={script.OWN: attempt.own},
                writable={script.DESTDIR: attempt.destdir},
                limits=replace(limits, time_s=max(_SPLIT_S, limits.time_s)),
            ),
            ["sh", "-e", f"{script.OWN}/split.sh", f"{script.OWN}/list"],
            log=self._log,
            on_line=attempt.lines.add,
            what=f"taking debugging information out of {attempt.order.component.name}",
            merge=True,
            opened=more,
        )
        opens.paths |= more.paths
        opens.complete &= more.complete
        return warnings

    def _commit(self, attempt: "_Attempt", found: Sorted, opens: Opens) -> Artifact:
        order = attempt.order
        component, decision = order.component, order.decision
        assert decision.recipe is not None
        there = Buildroot(root=attempt.root, layers=attempt.layers, artifacts=order.artifacts)
        used = self._providers.used(opens, there)
        seen = [path for part, path in found.parts.items() if part not in _SEEN_ELSEWHERE]
        artifact = Artifact(
            component=component.name,
            arch=decision.arch,
            recipe=decision.recipe,
            key=artifact_key(decision.recipe, used),
            revision=self._request.snapshot.pins[component.name].revision,
            used=used,
            interface=interface(seen),
            inputs=decision.inputs,
            warnings=attempt.lines.warnings,
            deprecations=attempt.lines.deprecations,
        )
        # How long it took is not in there: equal inputs make equal commits.
        metadata = commit_metadata(artifact, found.parts)
        commits: dict[Part, Commit] = {}
        for part, path in found.parts.items():
            commits[part] = self._repo.commit_dir(
                path,
                subject=f"{component.name} {part}",
                metadata=metadata,
                modes=_granted(component, path),
            )
        return replace(artifact, commits=commits)

    def _keep(self, attempt: "_Attempt", error: Failed) -> FailedBuild:
        ref = keep_failed(
            attempt.room,
            osname=self._request.snapshot.manifest.osname,
            run=self._request.run,
            component=attempt.order.component.name,
            layers=attempt.layers,
            message=error.what,
            repo=self._repo,
            log=self._log,
        )
        return FailedBuild(error, last=tuple(attempt.lines.last), ref=ref)


@dataclass(frozen=True, kw_only=True)
class _Attempt:
    """One build under way: ``room`` is its own directory, ``root`` the buildroot."""

    order: Order
    room: Path
    root: Path
    lines: BuildLog
    layers: Layers

    @property
    def build(self) -> Path:
        return self.room / "build"

    @property
    def source(self) -> Path:
        return self.build / self.order.component.name

    @property
    def destdir(self) -> Path:
        return self.room / "destdir"

    @property
    def own(self) -> Path:
        return self.room / "own"


@contextmanager
def _room(tmp: Path, name: str, *, log: Log) -> Iterator[Path]:
    room = tmp / f"build-{name}-{time.monotonic_ns()}"
    try:
        for one in ("build", "destdir", "own"):
            (room / one).mkdir(parents=True)
        yield room
    finally:
        if process.is_stopping():
            remove_tree(room)  # no program is started any more, not even one that removes
        elif room.exists():
            trees.remove(room, log=log)


def _granted(component: Component, top: Path) -> dict[str, int]:
    """Choose of the setuid bits that the manifest grants those that are for files of a part."""
    granted = {}
    for path in component.setuid:
        place = top / path.lstrip("/")
        inside = not any(parent.is_symlink() for parent in place.parents if parent != top)
        if inside and place.is_file() and not place.is_symlink():
            granted[path] = SETUID
    return granted
