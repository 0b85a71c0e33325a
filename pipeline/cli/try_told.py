# SPDX-License-Identifier: LGPL-2.1-or-later
"""What became of a try, for people and for programs, read from its run's directory."""

import json
from collections.abc import Iterator
from typing import TypeVar

from pipeline.cli.house import House
from pipeline.cli.record import read_record
from pipeline.cli.results import Judged, Tests, Trees
from pipeline.ports.files import write_text
from pipeline.ports.workdir import RunDir
from pipeline.stages.build import BuildResult, Outcome
from pipeline.words.records import from_json
from pipeline.words.refs import try_ref
from pipeline.words.wish import TOLD, Trial

T = TypeVar("T")


def tell(house: House, run: RunDir, *, as_json: bool) -> None:
    """Print what became of a try: what was replaced, what was built and why, how it went."""
    if not run.file("run").is_file():
        return
    if as_json:
        print(json.dumps(facts(run), indent=2))
    else:
        print("\n".join(_words(house, run)))


def note(run: RunDir) -> None:
    """Write down what became of a try, for a page of the master to tell."""
    write_text(run.file(TOLD), json.dumps(facts(run), indent=2) + "\n")


def facts(run: RunDir) -> dict[str, object]:
    """Gather what became of a try, for programs."""
    record = read_record(run)
    trial = from_json(Trial, run.file("try").read_bytes(), where=str(run.file("try")))
    built = _read(run, "build", BuildResult)
    trees = _read(run, "trees", Trees)
    tests = _read(run, "tests", Tests)
    judged = _read(run, "judge", Judged)
    return {
        "run": run.version,
        "start": trial.start,
        "server": trial.server,
        "ending": str(record.ending),
        "message": record.message,
        "replaced": [
            {"component": one.component, "given": one.given, "revision": one.revision}
            for one in trial.wish.replaced
        ],
        "rebuilt": {
            one.component: {"outcome": str(one.outcome), "reasons": list(one.reasons)}
            for one in (built.components if built else ())
            if one.outcome is not Outcome.KEPT
        },
        "kept": len(built.kept) if built else 0,
        "trees": [
            {"ref": try_ref(record.osname, run.version, tree.name), "commit": tree.commit}
            for tree in (trees.trees if trees else ())
        ],
        "suites": [
            {"tree": one.tree, "suite": one.suite, "verdict": str(one.verdict)}
            for one in (tests.suites if tests else ())
        ],
        "held": {
            name: list(one.reasons)
            for name, one in (judged.trees if judged else {}).items()
            if not one.passed
        },
        "evidence": str(run.path / "test"),
    }


def _read(run: RunDir, name: str, kind: type[T]) -> T | None:
    path = run.file(name)
    return from_json(kind, path.read_bytes(), where=str(path)) if path.is_file() else None


def _words(house: House, run: RunDir) -> Iterator[str]:
    record = read_record(run)
    trial = from_json(Trial, run.file("try").read_bytes(), where=str(run.file("try")))
    of = f" of {trial.server}" if trial.server else ""
    yield f"try {run.version}: {record.ending}, begun from run {trial.start}{of}"
    if record.message:
        first = record.message.partition("\n")[0]
        yield f"  why       {first}"
    for one in trial.wish.replaced:
        yield f"  replaced  {one.words()}"
    built = _read(run, "build", BuildResult)
    for component in built.components if built else ():
        if component.outcome is not Outcome.KEPT:
            why = component.message or "; ".join(component.reasons)
            yield f"  {component.outcome:<8}  {component.component}: {why}"
    if built:
        yield f"  kept      {len(built.kept)} components"
    trees = _read(run, "trees", Trees)
    for tree in trees.trees if trees else ():
        yield f"  composed  {try_ref(record.osname, run.version, tree.name)} {tree.commit[:12]}"
    tests = _read(run, "tests", Tests)
    for suite in tests.suites if tests else ():
        yield f"  {suite.verdict:<8}  {suite.suite} on {suite.tree} in {suite.seconds:.0f} s"
    if tests:
        yield f"  evidence  {run.path / 'test'}"
    yield from _next(house, run, built, trees, trial)


def _next(
    house: House,
    run: RunDir,
    built: BuildResult | None,
    trees: Trees | None,
    trial: Trial,
) -> Iterator[str]:
    failed = [one.component for one in (built.components if built else ()) if one.failed_ref]
    commands = [house.command("shell", name, "--run", run.version) for name in failed]
    if trees and trees.trees:
        first = trees.trees[0]
        begun = trial.trees.get(first.name, "") if trial.server else trial.start
        commands.append(house.command("boot", f"{run.version}/{first.name}"))
        if begun:
            commands.append(
                house.command("diff", begun, first.commit if trial.server else run.version)
            )
    commands.append(house.command("log", run.version))
    for number, command in enumerate(commands):
        yield f"{'next:' if number == 0 else '':<6}{command}"
