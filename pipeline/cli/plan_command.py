# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci plan``: what a build would keep or make again, and why.

People ask this again and again while they work, so the way to the answer loads no database, YAML
or terminal library, and every key is computed anew all the same.
"""

import argparse
import gc
import importlib
import json
import os
import sys
from pathlib import Path

from pipeline.cli.house import find_root
from pipeline.ports.artifacts import Artifacts
from pipeline.ports.base_facts import earlier_names, read_base_facts
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words import records
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Trouble
from pipeline.words.manifest import DEBIAN_SUITE, Base, Manifest
from pipeline.words.plan import Plan, plan
from pipeline.words.plan_text import as_plain, text
from pipeline.words.reasons import CountCommits
from pipeline.words.refs import Commit, Revision, base_ref
from pipeline.words.snapshot import Snapshot


def do_plan(options: argparse.Namespace) -> int:
    """Print the plan of a run's snapshot."""
    if options.resolve:
        given = {**vars(options), "fetch": "all", "override": [], "wait": None, "push": None}
        resolve = importlib.import_module("pipeline.cli.stage_verbs").do_resolve
        resolve(argparse.Namespace(**given))
    root = find_root(options.workdir)
    # All of it lives until the end: looking for garbage in it would take a quarter of the time.
    gc.disable()
    found = plan_of(Workdir(root), None if options.resolve else options.run, log=Log())
    sys.stdout.write(json.dumps(as_plain(found), indent=2) + "\n" if options.json else text(found))
    gc.freeze()
    return EXIT_PASSED


def plan_of(workdir: Workdir, version: str | None, *, log: Log) -> Plan:
    """Make the plan of a run, or of the newest that was resolved, from what it left behind."""
    run = workdir.run(version) if version else _last_resolved(workdir)
    path = run.file("snapshot")
    if not path.is_file():
        raise BadInput(
            f"run {run.version} was never resolved",
            hint=f"ostci -C {workdir.root} resolve --run {run.version}",
        )
    snapshot = records.from_json(Snapshot, path.read_bytes(), where=str(path))
    arch = this_arch(snapshot.manifest)
    repo = Repo(workdir.repo, log=log)
    commit = _buildroot_base(run, repo, snapshot.manifest, arch, workdir.root)
    return plan(
        snapshot,
        arch,
        read_base_facts(repo, commit, cache=workdir.cache),
        past=_past(workdir, run, repo, snapshot.manifest.osname),
        force=_wished(run),
        count_commits=_count_commits(workdir, snapshot, log),
        earlier_base_names=lambda digest: earlier_names(workdir.cache, digest),
    )


def _wished(run: RunDir) -> frozenset[str]:
    """Tell what a person wants built in any case; read as plain JSON, for it is asked often."""
    for name in ("try", "wish"):
        if run.file(name).is_file():
            told = json.loads(run.file(name).read_bytes())
            return frozenset(told.get("wish", told).get("rebuild", ()))
    return frozenset()


def _past(workdir: Workdir, run: RunDir, repo: Repo, osname: str) -> Artifacts:
    index = workdir.cache / "artifacts.sqlite"
    if not run.file("try").is_file():
        return Artifacts(repo, index)
    from pipeline.ports.tried_artifacts import TriedArtifacts

    return TriedArtifacts(repo, index, osname=osname, run=run.version)


def this_arch(manifest: Manifest) -> str:
    """Tell the architecture of this machine; raises BadInput where the manifest lacks it."""
    machine = os.uname().machine
    if machine not in manifest.architectures:
        wanted = ", ".join(manifest.architectures)
        raise BadInput(f"this machine is {machine}, the manifest wants {wanted}")
    return machine


def buildroot_variant(base: Base) -> str:
    """Name the variant of the base that components are built in."""
    return "runtime+devel" if "devel" in {*base.packages, *base.files, *base.refs} else "runtime"


def _last_resolved(workdir: Workdir) -> RunDir:
    newest = workdir.root / "last-run"
    if (newest / "snapshot.json").is_file():
        path = newest.resolve()
        *day, number = path.relative_to(workdir.runs.resolve()).parts
        return RunDir(version=f"{''.join(day)}.{number}", path=path)
    for version in reversed(workdir.versions()):
        run = workdir.run(version)
        if run.file("snapshot").is_file():
            return run
    raise BadInput("nothing was resolved yet", hint=f"ostci -C {workdir.root} run")


def _buildroot_base(run: RunDir, repo: Repo, manifest: Manifest, arch: str, root: Path) -> Commit:
    """Find the commit that components are built in: as the run imported it, else the newest."""
    variant = buildroot_variant(manifest.base)
    path = run.file("base")
    found = None
    if path.is_file():
        found = json.loads(path.read_bytes()).get("variants", {}).get(variant)
    found = found or repo.resolve(base_ref(manifest.osname, manifest.base.name, arch, variant))
    if found is None or not repo.has_commit(found):
        hint = f"ostci -C {root} base --run {run.version}"
        raise BadInput(f"the base {manifest.base.name} {variant} is not imported yet", hint=hint)
    return Commit(found)


def _count_commits(workdir: Workdir, snapshot: Snapshot, log: Log) -> CountCommits:
    def count(component: str, old: Revision, new: Revision) -> int | None:
        from pipeline.ports.git import Mirrors

        source = snapshot.manifest.component(component).source
        try:
            suite = snapshot.manifest.base.suite or DEBIAN_SUITE
            mirrors = Mirrors(workdir.mirrors, log=log, suite=suite)
            return len(mirrors.log_between(source, old, new))
        except (Failed, Trouble):
            return None  # a rewritten branch, a mirror that is gone: it only gives the number

    return count
