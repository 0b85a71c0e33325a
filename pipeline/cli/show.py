# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci show`` and ``ostci log``: what was understood, and what happened."""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence

from pipeline.cli.house import House
from pipeline.cli.open import open_house
from pipeline.cli.record import read_record, records
from pipeline.cli.results import Tests
from pipeline.cli.suite_lines import suite_lines
from pipeline.cli.trees import TreeFacts, find_tree, tree_facts
from pipeline.ports.workdir import RunDir
from pipeline.words.counting import count_of
from pipeline.words.errors import EXIT_PASSED, BadInput
from pipeline.words.manifest import Component, Manifest
from pipeline.words.records import from_json, plain, to_json
from pipeline.words.run import BUILDS, Builds, RunRecord, StageRecord
from pipeline.words.snapshot import Snapshot


def do_show(options: argparse.Namespace) -> int:
    """Print what was understood: a manifest, a snapshot, a run, a tree, refs."""
    house = open_house(options)
    what: str = options.what
    fixed: dict[str, Callable[[], object]] = {
        "manifest": lambda: house.manifest,
        "snapshot": lambda: _snapshot(house, options.run),
        "refs": lambda: _refs(house),
    }
    if what in fixed:
        value = fixed[what]()
    elif house.workdir.is_run(what):
        value = read_record(house.workdir.run(what))
    else:
        value = tree_facts(house, find_tree(house, what))
    builds = _builds(house, value)
    if options.json:
        print(_as_json(value, builds))
    else:
        more = (*_suites(house, value), *(f"Buildbot {url}" for url in builds))
        print("\n".join([*_words(value), *more]))
    return EXIT_PASSED


def _builds(house: House, value: object) -> tuple[str, ...]:
    """Tell where the builds of a run, or of the run that a tree is of, are to be seen."""
    version = value.version if isinstance(value, RunRecord | TreeFacts) else ""
    if not house.workdir.is_run(version):
        return ()
    path = house.workdir.run(version).file(BUILDS)
    return from_json(Builds, path.read_bytes(), where=str(path)).urls if path.is_file() else ()


def _suites(house: House, value: object) -> Iterator[str]:
    """Tell what suites a run has heard, and where more is to be seen of them."""
    if not isinstance(value, RunRecord):
        return
    run = house.workdir.run(value.version)
    path = run.file("tests")
    if path.is_file():
        yield from suite_lines(from_json(Tests, path.read_bytes(), where=str(path)).suites)
        yield f"evidence in {run.path / 'test'}"


def _as_json(value: object, builds: Sequence[str]) -> str:
    import json

    told = value if isinstance(value, dict) else plain(value)
    if isinstance(value, RunRecord | TreeFacts):
        told = {**told, "builds": list(builds)}
    return json.dumps(told, indent=2)


def _words(value: object) -> Iterator[str]:
    if isinstance(value, Manifest):
        return _manifest_words(value)
    if isinstance(value, Snapshot):
        return _snapshot_words(value)
    if isinstance(value, RunRecord):
        return _run_words(value)
    if isinstance(value, TreeFacts):
        return value.words()
    assert isinstance(value, dict)
    return (f"{commit}  {ref}" for ref, commit in value.items())


def _snapshot(house: House, version: str | None) -> Snapshot:
    run = house.workdir.run(version) if version else house.last_run("snapshot")
    path = run.file("snapshot")
    if not path.is_file():
        raise BadInput(f"run {run.version} was never resolved", hint="ostci log")
    return from_json(Snapshot, path.read_bytes(), where=str(path))


def _refs(house: House) -> dict[str, str]:
    return {ref: commit for ref, commit in house.repo.refs().items() if "/keys/" not in ref}


def _manifest_words(manifest: Manifest) -> Iterator[str]:
    base = manifest.base
    yield f"{manifest.osname} for {', '.join(manifest.architectures)}"
    yield f"base {base.name}: {base.kind} {base.suite or base.location}".rstrip()
    for name, packages in base.packages.items():
        yield f"  {name}: {' '.join(packages)}"
    yield f"{count_of(len(manifest.components), 'component')}, in the order of the manifest:"
    width = max((len(entry.name) for entry in manifest.components), default=0)
    for component in manifest.components:
        yield f"  {component.name:<{width}}  {_component_words(component)}"
    for target in manifest.targets:
        gate = ", ".join(f"{suite} {need}" for suite, need in target.gate.items()) or "no gate"
        parts = "+".join(target.subtrees)
        yield f"target {target.name}: {count_of(len(target.components), 'component')} ({parts}) on"
        yield f"  {'+'.join(target.packages)}, {target.default_unit}, {gate}"
        if target.session is not None:
            one = target.session
            login = f"{one.login} login of {one.user} by {one.manager}"
            yield f"  session {one.name} ({one.type}), {login}"


def _component_words(component: Component) -> str:
    source = component.source
    at = source.tag or source.revision or source.branch or ", ".join(source.versions)
    words = [f"{source.kind}:{source.location}" + (f" @ {at}" if at else "")]
    words.append(str(component.build.system))
    if component.depends is not None:
        words.append("needs " + (", ".join(component.depends) or "nothing"))
    words += [f"+{len(component.patches)} patches"] if component.patches else []
    return "; ".join(words)


def _snapshot_words(snapshot: Snapshot) -> Iterator[str]:
    yield f"snapshot {snapshot.digest}"
    yield f"base {snapshot.base.key[:12]}, {len(snapshot.base.packages)} packages"
    width = max((len(name) for name in snapshot.pins), default=0)
    for name, pin in snapshot.pins.items():
        yield f"  {name:<{width}}  {pin.revision[:12]}  {pin.describe}  {pin.subject}".rstrip()


def _told(stage: StageRecord) -> str:
    return stage.message.partition("\n")[0] or stage.summary


def _run_words(record: RunRecord) -> Iterator[str]:
    kind = f" ({record.kind})" if record.kind else ""
    yield f"run {record.version} of {record.osname}{kind}: {record.ending}"
    yield f"started {_utc(record.started)}" + (
        f", took {record.ended - record.started:.0f} s" if record.ended else ""
    )
    width = max(map(len, record.stages), default=0)
    for name, stage in record.stages.items():
        took = f"{stage.seconds:7.1f} s"
        yield f"  {name:<{width}}  {stage.ending:<11} {took}  {_told(stage)}".rstrip()
    for tree, commit in record.promoted.items():
        yield f"promoted {tree} {commit}"
    if record.message:
        yield record.message
    if record.hint:
        yield f"  → {record.hint}"


def _utc(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(when))


def do_log(options: argparse.Namespace) -> int:
    """List runs, or print the log of one."""
    house = open_house(options)
    if options.version is None and options.component is None:
        return _list_runs(house, options)
    run = house.workdir.run(options.version) if options.version else house.last_run()
    path = run.log
    if options.component:
        path = run.component(options.component) / "log.txt"
    if not path.is_file():
        known = ", ".join(sorted(_built(run))) or "none"
        hint = f"built in that run: {known}" if options.component else "ostci log"
        raise BadInput(f"run {run.version} has no {path.name} there", hint=hint)
    with path.open(errors="backslashreplace") as file:
        for line in file:
            print(line, end="")
    return EXIT_PASSED


def _built(run: RunDir) -> list[str]:
    place = run.path / "build"
    return [path.name for path in place.iterdir()] if place.is_dir() else []


def _list_runs(house: House, options: argparse.Namespace) -> int:
    found = [record for _, record in records(house.workdir)][: options.number]
    if options.json:
        print("[" + ",\n".join(to_json(record).strip() for record in found) + "]")
        return EXIT_PASSED
    for record in found:
        took = f"{record.ended - record.started:6.0f} s" if record.ended else "        "
        first = record.message.splitlines()[0] if record.message else ""
        mark = " promoted" if record.promoted else f" {record.kind}" if record.kind else ""
        print(f"{record.version:<12} {record.ending:<11} {took}{mark}  {first}".rstrip())
    if not found:
        print("no runs yet; make one: ostci run")
    return EXIT_PASSED
