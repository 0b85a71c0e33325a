# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci fetch``: on a worker, bring here what one job of a run needs, from the master's dock."""

import argparse
import base64
import json
import shutil
import sys
from dataclasses import replace

from pipeline.cli.assigned import Assignment, job_of
from pipeline.cli.baseline import note_baseline
from pipeline.cli.building import SOURCES
from pipeline.cli.house import CLIENTS_KEY, House
from pipeline.cli.open import open_with_sink
from pipeline.cli.record import write_record
from pipeline.cli.repair import alone, locked
from pipeline.cli.terminal import live
from pipeline.ports.dock_client import DockClient
from pipeline.ports.files import Held, lock, remove_tree, write_bytes, write_text
from pipeline.ports.neighbour import copy_readable
from pipeline.ports.ostree import Repo
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.ports.worker_home import read_identity
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.fitness import GIB, why_no_room
from pipeline.words.records import from_json
from pipeline.words.refs import RefName
from pipeline.words.run import RunEnding, RunRecord
from pipeline.words.snapshot import Snapshot


def do_fetch(options: argparse.Namespace) -> int:
    """Fetch what a job needs; tells in JSON why this worker cannot take it, where it cannot."""
    fetch(options)
    return EXIT_PASSED


def fetch(options: argparse.Namespace) -> bool:
    """Do it; tells whether anything is to be done of the job."""
    house, sink = open_with_sink(options)
    identity = read_identity(house.workdir)
    job = job_of(options)
    room = identity.room if options.room is None else int(options.room * GIB)
    if _why_no_room(house, room):
        _make_room(house)
    wait_s = options.wait or 0.0
    with live(sink), locked(house, f"ostci fetch {job}", wait_s=wait_s, part=True):
        why = _why_no_room(house, room)
        if why:
            sys.stdout.write(json.dumps({"aside": why}) + "\n")
            raise Trouble(why, where=identity.name)
        dock = DockClient(getattr(options, "from"), identity)
        made = from_json(Assignment, dock.file(options.run, job.file), where=job.file)
        if made.run != options.run or made.job != job:
            raise Trouble(f"the master sent an assignment of {made.job} in run {made.run}")
        if made.done:
            house.log.fact("nothing is to be done: the master has it")
            return False
        run = _run_dir(house.workdir, options.run)
        for name in made.files:
            write_bytes(run.file(name), dock.file(options.run, name))
        snapshot = from_json(Snapshot, run.file("snapshot").read_bytes())
        house.manifest = snapshot.manifest
        if options.beside is not None:
            beside = Repo(options.beside, log=house.log)
            with house.log.step("copy"), house.repo.locked("copying from the master"):
                count = copy_readable(beside, house.repo, made.commits)
            house.log.fact(f"{count} objects copied from {options.beside}")
        with house.log.step("pull"):
            dock.pull(house.repo, made.commits)
        _settle(house, run, made, snapshot)
        if made.tree is not None:
            note_baseline(run, made.tree.name, made.baseline, dock.url)
    return True


def _why_no_room(house: House, room: int) -> str:
    return why_no_room(shutil.disk_usage(house.workdir.root).free, room)


def _make_room(house: House) -> None:
    """Forget all earlier jobs, unless another slot is at one: then that one's needs are here."""
    try:
        with alone(house, "making room", wait_s=0.0):
            house.log.warning("the disk is full: what earlier jobs needed is removed")
            for path in (house.workdir.repo, house.workdir.disks, house.workdir.runs):
                remove_tree(path)
            house.workdir.make()
    except Held as held:
        house.log.fact(f"no room can be made: {held}")


def _run_dir(workdir: Workdir, version: str) -> RunDir:
    day, _, number = version.partition(".")
    if len(day) != 8 or not day.isdigit() or not number.isdigit():
        raise BadInput(f"not the version of a run: {version!r}")
    path = workdir.runs / day[:4] / day[4:6] / day[6:] / number
    path.mkdir(parents=True, exist_ok=True)
    return workdir.run(version)


def _settle(house: House, run: RunDir, made: Assignment, snapshot: Snapshot) -> None:
    """Make the run here one that a stage can be given of, and name what was pulled by refs."""
    osname = snapshot.manifest.osname
    with lock(run.results_lock, what="writing a result", wait_s=60.0):
        if not run.file("run").is_file():
            record = RunRecord(version=run.version, osname=osname, manifest="", started=0.0, pid=0)
            write_record(run, replace(record, ending=RunEnding.OPEN))
        if made.source is not None:
            path = run.file(SOURCES)
            known = json.loads(path.read_bytes()) if path.is_file() else {}
            write_text(path, json.dumps({**known, made.job.what[0]: made.source}))
    refs = {
        RefName(f"{osname}/fetched/{commit}"): commit
        for commit in (
            made.base,
            made.source,
            made.tree.commit if made.tree else None,
            *made.besides,
        )
        if commit is not None
    }
    house.repo.set_refs(refs)
    for artifact in made.artifacts.values():
        house.artifacts.record(artifact, osname=osname)
    if made.key:
        house.workdir.keys.mkdir(mode=0o700, exist_ok=True)
        write_bytes(house.workdir.keys / CLIENTS_KEY, base64.b64decode(made.key))
