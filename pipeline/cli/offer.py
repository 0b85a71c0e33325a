# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci offer``: on a worker, pack what one job has made, for the master to take.

The file is a tar of ``offer.json``, the objects of new commits as an ``archive`` repository keeps
them below ``repo/``, and logs or evidence below ``files/``.
"""

import argparse
import tarfile
from pathlib import Path

from pipeline import __version__
from pipeline.cli.assigned import OFFER, Job, Offer, job_of
from pipeline.cli.building import read_built
from pipeline.cli.open import open_with_sink
from pipeline.cli.repair import locked
from pipeline.cli.results import Tests
from pipeline.cli.terminal import live
from pipeline.ports.files import remove_tree, write_text
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import RunDir
from pipeline.ports.worker_home import read_identity
from pipeline.words.errors import EXIT_PASSED, Trouble
from pipeline.words.records import from_json, to_json


def do_offer(options: argparse.Namespace) -> int:
    """Write the file; an earlier one of that name is replaced."""
    house, sink = open_with_sink(options)
    read_identity(house.workdir)
    job = job_of(options)
    run = house.workdir.run(options.run)
    wait_s = options.wait or 0.0
    with live(sink), locked(house, f"ostci offer {job}", wait_s=wait_s, part=True):
        made = _built(run, job) if job.verb == "build" else _heard(run, job)
        place = house.tmp / "offer"
        remove_tree(place)
        place.mkdir(parents=True)
        commits = [] if made.component is None else list(made.component.commits.values())
        if commits:
            archive = Repo(place / "repo", log=house.log).create(Mode.ARCHIVE)
            archive.pull_local(house.workdir.repo, commits)
        write_text(place / OFFER, to_json(made))
        _pack(place, _files(run, job), options.into)
        size = options.into.stat().st_size
        if size > options.most:
            options.into.unlink()
            raise Trouble(
                f"{job} made {size} bytes, and the master takes {options.most}",
                hint="largest in [master.remote] of the master's ostci.toml",
            )
        house.log.fact(f"{job}: {size} bytes to send")
        remove_tree(place)
    return EXIT_PASSED


def _built(run: RunDir, job: Job) -> Offer:
    (name,) = job.what
    one = read_built(run).get(name)
    if one is None:
        raise Trouble(f"nothing was built of {name} in run {run.version}")
    return Offer(run=run.version, job=job, version=__version__, component=one)


def _heard(run: RunDir, job: Job) -> Offer:
    tree, suite = job.what
    tests = from_json(Tests, run.file("tests").read_bytes(), where=str(run.file("tests")))
    found = [one for one in tests.suites if (one.tree, one.suite) == (tree, suite)]
    if not found:
        raise Trouble(f"nothing was heard of {job} in run {run.version}")
    return Offer(run=run.version, job=job, version=__version__, suite=found[-1])


def _files(run: RunDir, job: Job) -> Path:
    return run.component(job.what[0]) if job.verb == "build" else run.test(*job.what)


def _pack(place: Path, files: Path, into: Path) -> None:
    """Write plain files alone: no links, devices or sockets, whatever a test left there."""
    with tarfile.open(into, "w", format=tarfile.PAX_FORMAT) as tar:
        tar.add(place / OFFER, OFFER)
        for top, name in ((place / "repo" / "objects", "repo/objects"), (files, "files")):
            for path in sorted(top.rglob("*")) if top.is_dir() else ():
                if path.is_file() and not path.is_symlink():
                    tar.add(path, f"{name}/{path.relative_to(top)}", recursive=False)
