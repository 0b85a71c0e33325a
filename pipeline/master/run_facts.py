# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run's stages left, read for those that trigger what comes next. Called in threads."""

import json
from collections.abc import Mapping
from typing import Any

from pipeline.master.children import Child
from pipeline.ports.files import write_text
from pipeline.ports.ledger import Ledger
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words.gate import fails_run, settled, suites_of_gate
from pipeline.words.manifest import Need, OnFailed
from pipeline.words.pairing import PAIRS
from pipeline.words.plan import Kind
from pipeline.words.push import Push
from pipeline.words.records import from_json, to_json
from pipeline.words.run import BUILDS, Builds, RunRecord
from pipeline.words.snapshot import Snapshot
from pipeline.words.targets import target_of
from pipeline.words.wish import Trial, Wish


def children_of_plan(plan: Mapping[str, Any], run: str) -> tuple[Child, ...]:
    """Tell which components to build, each after those of them that it stands on."""
    wanted = [one for one in plan["components"] if one["decision"] != Kind.KEEP]
    return tuple(
        Child(
            name=f"component/{one['component']}",
            scheduler="component",
            properties={"run": run, "component": one["component"]},
            after=tuple(f"component/{name}" for name in one.get("after", ())),
            tags=("component",),
        )
        for one in wanted
    )


def children_of_trees(
    workdir: Workdir, ledger: Ledger, run: str, *, is_nightly: bool = False
) -> tuple[tuple[Child, ...], Mapping[str, str]]:
    """Tell a disk for each composed tree, the suites of its gate after it, and the commits.

    What the gate does not require is advisory. The run of the night has the suite ``pairs`` too.
    """
    found = workdir.run(run)
    trees = json.loads(found.file("trees").read_bytes())["trees"]
    manifest = _snapshot(workdir, run).manifest
    wished = _wish(found).suites
    children = []
    for tree in trees:
        name = tree["name"]
        properties = {"run": run, "tree": name}
        disk = Child(name=f"disk/{name}", scheduler="disk", properties=properties, tags=("disk",))
        children.append(disk)
        gate = target_of(manifest, tree["target"]).gate
        if wished:
            gate = dict.fromkeys(wished, Need.REQUIRED)
        needs = settled(gate, ledger.tests.baselines(manifest.osname, name))
        suites = suites_of_gate(gate, is_nightly=is_nightly)
        for suite in (*suites, *((PAIRS,) if is_nightly else ())):
            children.append(
                Child(
                    name=f"suite/{name}/{suite}",
                    scheduler="suite",
                    properties={**properties, "suite": suite},
                    after=(disk.name,),
                    tags=("suite",),
                    is_advisory=not fails_run(needs.get(suite), is_nightly=is_nightly),
                )
            )
    return tuple(children), {tree["name"]: tree["commit"] for tree in trees}


def subject_of(workdir: Workdir, run: str, push: Push) -> str:
    """Tell the subject of what was pushed, where the run has it pinned; else nothing."""
    if not workdir.is_run(run) or not workdir.run(run).file("snapshot").is_file():
        return ""
    pin = _snapshot(workdir, run).pins.get(push.component)
    return pin.subject if pin is not None and pin.revision == push.after else ""


def note_build(workdir: Workdir, run: str, url: str) -> None:
    """Keep in the run's directory where its builds are to be seen, newest last."""
    path = workdir.run(run).file(BUILDS)
    before = from_json(Builds, path.read_bytes(), where=str(path)) if path.is_file() else Builds()
    if url not in before.urls:
        write_text(path, to_json(Builds(urls=(*before.urls, url))))


def _wish(run: RunDir) -> Wish:
    """Tell what a person asked for with a run: as a try, or as a forced one."""
    if run.file("try").is_file():
        return from_json(Trial, run.file("try").read_bytes(), where="try.json").wish
    path = run.file("wish")
    return from_json(Wish, path.read_bytes(), where=str(path)) if path.is_file() else Wish()


def goes_on(workdir: Workdir, run: str) -> bool:
    """Tell whether a run composes though a component failed."""
    built = workdir.run(run).file("build").is_file()
    return built and _snapshot(workdir, run).manifest.on_failed is OnFailed.LAST_GOOD


def run_record(workdir: Workdir, run: str) -> RunRecord | None:
    """Read a run's record, where it has one."""
    if not workdir.is_run(run):
        return None
    path = workdir.run(run).file("run")
    return from_json(RunRecord, path.read_bytes(), where=str(path)) if path.is_file() else None


def _snapshot(workdir: Workdir, run: str) -> Snapshot:
    path = workdir.run(run).file("snapshot")
    return from_json(Snapshot, path.read_bytes(), where=str(path))
