# SPDX-License-Identifier: LGPL-2.1-or-later
"""Enter a build: its tree as a failure left it, or a fresh source, within the walls of the build.

What is there is a copy, which may be changed and is gone afterwards; the buildroot is the one
that the build had. ``sh -e /ostci/run.sh`` builds it again.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports import sandbox, trees
from pipeline.ports.checkout import check_out
from pipeline.ports.files import write_text
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.walls import Walls
from pipeline.stages.building import script
from pipeline.stages.building.buildroot import Buildroots, Layers, layers_of
from pipeline.stages.building.kept import Kept, read_kept
from pipeline.words.closure import bits, closures
from pipeline.words.errors import BadInput
from pipeline.words.manifest import Component
from pipeline.words.refs import Commit, Part
from pipeline.words.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class ShellRequest:
    """``parts`` are the run's (``BuildResult.parts``); no ``command``: an interactive shell."""

    component: str
    run: str
    snapshot: Snapshot
    arch: str
    base: Commit
    jobs: int
    parts: Mapping[str, Mapping[Part, Commit]] = field(default_factory=dict)
    command: tuple[str, ...] = ()


def enter(
    request: ShellRequest, *, repo: Repo, mirrors: Mirrors, cache: Path, tmp: Path, log: Log
) -> int:
    """Run a shell or a command where a component was built; tells its exit code.

    Raises BadInput for a component that the run does not have.
    """
    component = _component(request)
    osname = request.snapshot.manifest.osname
    kept = read_kept(repo, osname, request.run, request.component)
    layers = kept.layers if kept else _layers(request)
    room = tmp / f"shell-{request.component}-{time.monotonic_ns()}"
    try:
        room.mkdir(parents=True)
        _fill(request, component, kept, room, repo=repo, mirrors=mirrors, log=log)
        roots = Buildroots(repo, cache, tmp, log=log)
        with roots.use(layers, about=request.component) as root:
            return _run(request, component, room, root, log)
    finally:
        if room.exists():
            trees.remove(room, log=log)


def _component(request: ShellRequest) -> Component:
    try:
        component = request.snapshot.manifest.component(request.component)
    except KeyError:
        raise BadInput(
            f"the manifest has no component {request.component}", hint="ostci show lists them"
        ) from None
    if request.component not in request.snapshot.pins:
        raise BadInput(f"the source of {request.component} could not be resolved in this run")
    return component


def _layers(request: ShellRequest) -> Layers:
    found = closures(request.snapshot.manifest, request.arch)
    names = [one.name for one in found.components]
    if request.component not in names:
        raise BadInput(f"{request.component} is not built for {request.arch}")
    mask = found.masks[names.index(request.component)]
    inside = [names[at] for at in bits(mask)]
    return layers_of(
        request.base, {name: request.parts[name] for name in inside if name in request.parts}
    )


def _fill(
    request: ShellRequest,
    component: Component,
    kept: Kept | None,
    room: Path,
    *,
    repo: Repo,
    mirrors: Mirrors,
    log: Log,
) -> None:
    if kept is not None:
        log.fact(f"as the build left it that failed: {kept.message}", about=component.name)
        repo.checkout(kept.commit, room / "kept", copy=True)
        for name in ("build", "destdir"):
            (room / "kept" / name).rename(room / name)
        return
    log.fact("its build did not fail in this run: a fresh source", about=component.name)
    (room / "build").mkdir()
    (room / "destdir").mkdir()
    source = room / "build" / component.name
    check_out(component, request.snapshot, source, mirrors=mirrors, log=log)


def _run(request: ShellRequest, component: Component, room: Path, root: Path, log: Log) -> int:
    pin = request.snapshot.pins[component.name]
    made = script.script_of(component, pin, request.arch, root, request.jobs)
    for name, text in made.files.items():
        write_text(room / "own" / name, text)
    walls = Walls(
        root=root,
        readonly={script.OWN: room / "own"},
        writable={script.TOP: room / "build", script.DESTDIR: room / "destdir"},
        cwd=script.source_path(component),
        env={**made.env, "PS1": f"[{component.name}] \\w \\$ ", "TERM": "xterm"},
        limits=component.build.limits,
    )
    if not request.command:
        log.fact("the build again: sh -e /ostci/run.sh; the way out: exit", about=component.name)
        shell = "bash" if (root / "usr/bin/bash").exists() else "sh"
        words = [shell, "--norc", "-i"] if shell == "bash" else [shell, "-i"]
        return sandbox.interact(walls, words, log=log)
    if sys.stdin.isatty():
        return sandbox.interact(walls, list(request.command), log=log)
    done = sandbox.run(
        walls, request.command, log=log, on_line=_tell, ok=(), what="the command", merge=True
    )
    return done.code


def _tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
