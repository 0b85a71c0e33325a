# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci boot`` and ``ostci shell``: a terminal in a tree that was composed, or in a build."""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pipeline.cli.builder import go_on, go_on_as_builder
from pipeline.cli.building import read_built
from pipeline.cli.house import House
from pipeline.cli.open import open_house, open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.cli.trees import find_tree, snapshot_of
from pipeline.ports import accelerator, process
from pipeline.ports.domain import confined
from pipeline.ports.files import shared_place, write_text
from pipeline.ports.remote_settings import LOCAL
from pipeline.ports.workdir import RunDir
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.words.errors import BadInput
from pipeline.words.manifest import Target
from pipeline.words.records import to_json
from pipeline.words.refs import Commit, buildmaster_ref, tree_of_ref
from pipeline.words.targets import target_of

_LEAST_MEMORY = 64
"""MiB."""
_SOCKETS = "ostci-boot-"
_WAIT_S = 10.0


def do_boot(options: argparse.Namespace) -> int:
    """Boot a tree on a layer that is thrown away, with this terminal as its console."""
    from pipeline.cli.console import Session

    house, sink = open_with_sink(options)
    # Nobody cleans up meanwhile: a guest that reboots is read from the disk that it stands on.
    with locked(house, f"ostci boot {options.tree}", wait_s=_WAIT_S):
        commit = find_tree(house, options.tree)
        with live(sink):
            name, arch, target = _target(house, commit)
            if options.memory is not None:
                if options.memory < _LEAST_MEMORY:
                    raise BadInput(f"{options.memory} MiB is too little", where="--memory")
                target = replace(target, memory=options.memory * 1024**2)
            disk = _disk(house, commit, name, arch, target)
            chosen = accelerator.choose(log=house.log)
        scratch = house.tmp / "boot"
        scratch.mkdir()
        # For sockets, whose paths must be short.
        with shared_place(Path("/tmp"), _SOCKETS) as sockets:
            session = Session(
                name=name,
                arch=arch,
                disk=str(disk),
                memory=target.memory,
                processors=target.processors,
                machines=house.settings.machines,
                accelerator=chosen.kind,
                speed=chosen.speed,
                sockets=str(sockets),
                scratch=str(scratch),
            )
            house.log.fact(f"{commit} with {chosen.kind.upper()}; Ctrl-] leaves", about=name)
            return _run(session, scratch, house)


def _target(house: House, commit: Commit) -> tuple[str, str, Target]:
    """Tell a tree's name, architecture and target: by the refs that it is bound to."""
    manifest = snapshot_of(house, commit).manifest
    for ref in house.repo.info(commit).bindings:
        found = tree_of_ref(manifest.osname, ref)
        if found is not None:
            arch, _, target = found.partition("-")
            return found, arch, target_of(manifest, target)
    told = f"{commit} is bound to no ref of composed or tried trees: it is no tree of a target"
    raise BadInput(told)


def _disk(house: House, commit: Commit, name: str, arch: str, target: Target) -> Path:
    request = DiskRequest(
        osname=house.manifest.osname,
        ref=buildmaster_ref(house.manifest.osname, name),
        commit=commit,
        target=target,
        arch=arch,
        url=house.manifest.repo,
        key=house.keyring.export(),
    )
    with house.log.step("disk", about=name):
        made = make_disk(request, repo=house.workdir.repo, disks=house.workdir.disks, log=house.log)
    return Path(made.path)


def _run(session: object, scratch: Path, house: House) -> int:
    """Let a process of its own hold the machine: it has an empty network and dies with it."""
    file = scratch / "session.json"
    write_text(file, to_json(session))
    return go_on(confined([sys.executable, "-m", "pipeline.cli.console", file]), house)


def do_shell(options: argparse.Namespace) -> int:
    """Enter the build of a component, as its failure left it."""
    from pipeline.cli import plan_command
    from pipeline.stages.base import BaseResult
    from pipeline.stages.building.request import BuildResult
    from pipeline.stages.building.shell import ShellRequest, enter

    house = open_house(options)
    passage = Passage(house, _run_of(house, options.run))
    house.manifest = passage.manifest
    built = read_built(passage.run).get(options.component)
    if built is not None and built.worker:
        return _shell_of_worker(house, passage, built.worker, options)
    base = passage.read("base", BaseResult)
    parts = {}
    if passage.run.file("build").is_file():
        parts = passage.read("build", BuildResult).parts()
    request = ShellRequest(
        component=options.component,
        run=passage.run.version,
        snapshot=passage.snapshot,
        arch=house.arch,
        base=base.variants[plan_command.buildroot_variant(passage.manifest.base)],
        jobs=house.settings.jobs,
        parts=parts,
        command=tuple(options.command),
    )
    with tempfile.TemporaryDirectory(prefix="shell-", dir=house.workdir.cache) as tmp:
        return enter(
            request,
            repo=house.repo,
            mirrors=house.mirrors,
            cache=house.workdir.cache,
            tmp=Path(tmp),
            log=house.log,
        )


def _shell_of_worker(
    house: House, passage: Passage, worker: str, options: argparse.Namespace
) -> int:
    """Enter a build that failed in the home of a worker: here, or say what to type there."""
    more = ["--", *options.command] if options.command else []
    words = ["shell", "--run", passage.run.version, options.component, *more]
    if worker != LOCAL:
        line = process.repeat_line(["ostci", "-C", "HOME-OF-THE-WORKER/work", *words])
        what = f"{options.component} was built on worker {worker}, which keeps what it left"
        raise BadInput(what, where=passage.run.version, hint=f"there: {line}")
    house.log.fact("it was built by the worker of this machine", about=options.component)
    return go_on_as_builder(house, words)


def _run_of(house: House, version: str | None) -> RunDir:
    return house.workdir.run(version) if version else house.last_run("snapshot")
