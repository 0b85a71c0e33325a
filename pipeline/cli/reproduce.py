# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci reproduce``: repeat a test of a run as it was: to look at it, or how often it fails.

The commit, memory, processors and seed are those that the run's result has; the disk is made again
where it is gone. Nothing is recorded: no verdict changes by it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.cli.chain import disk_of
from pipeline.cli.holds import held_run
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.cli.results import Tests, Trees
from pipeline.cli.terminal import live
from pipeline.cli.testing import request_of
from pipeline.ports.workdir import RunDir
from pipeline.stages.test import TestRequest, run_suite
from pipeline.words.counting import count_of
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Trouble
from pipeline.words.findings import one_of
from pipeline.words.manifest import Target
from pipeline.words.records import plain
from pipeline.words.targets import target_of
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult, Verdict

PLACE = "reproduce"
_BAD = (Verdict.FAILED, Verdict.FLAKY)


def do_reproduce(options: argparse.Namespace) -> int:
    """Repeat a test; raises Failed where it failed at least once."""
    if options.times < 1:
        raise BadInput(f"--times {options.times}: at least once")
    version, _, rest = options.version.partition("/")
    words = [*options.words, *([rest] if rest else [])]
    if not 1 <= len(words) <= 2:
        hint = f"ostci reproduce {version} x86_64-runtime smoke/test_no_unit_failed"
        raise BadInput(f"not TREE SUITE/TEST: {' '.join(words) or 'nothing'}", hint=hint)
    house, sink = open_with_sink(options)
    what = " ".join(["ostci reproduce", version, *words])
    with live(sink), locked(house, what, wait_s=options.wait or 0.0, part=True):
        run = house.workdir.run(version)
        with held_run(house, run, what, wait_s=options.wait or 0.0, shared=True):
            found = _reproduce(house, run, words, times=options.times)
    if options.json:
        print(json.dumps(_as_json(version, *found), indent=2))
    return _told(house, *found)


def _reproduce(
    house: House, run: RunDir, words: Sequence[str], *, times: int
) -> tuple[SuiteResult, str, list[SuiteResult]]:
    """Run it so often; tells what the run has, which test it is, and what came of each time."""
    passage = Passage(house, run)
    house.manifest = passage.manifest
    recorded, test = _recorded(passage, words)
    request = _request(passage, recorded, test)
    results = []
    for number in range(1, times + 1):
        with house.log.step(f"{request.suite}, {number} of {times}", about=recorded.tree):
            one = replace(request, into=request.into / str(number))
            results.append(run_suite(one, cache=house.workdir.cache, tmp=house.tmp, log=house.log))
    return recorded, test, results


def _recorded(passage: Passage, words: Sequence[str]) -> tuple[SuiteResult, str]:
    """Find the suite's result, and the test in it; raises BadInput with the nearest name."""
    results = passage.read("tests", Tests, before="test").suites
    trees = {one.tree for one in results}
    tree, _, rest = words[0].partition("/")
    if len(words) == 1 and tree in trees and rest:
        words = [tree, rest]  # as attach names it
    suite, _, test = words[-1].partition("/")
    if len(words) == 2 and words[0] not in trees:
        told = f"run {passage.run.version} has tested no tree {words[0]!r}"
        raise BadInput(told, hint=one_of(words[0], trees))
    wanted = words[0] if len(words) == 2 else ""
    mine = [one for one in results if not wanted or one.tree == wanted]
    # A test that was run alone, or with others of its folder, has a result of its own, which is the
    # newer one.
    having = [one for one in mine if f"{words[-1]}/".startswith(f"{one.suite}/")]
    nearest = max((len(one.suite) for one in having), default=0)
    found = [one for one in having if len(one.suite) == nearest]
    if not found:
        suites = {one.suite.partition("/")[0] for one in mine}
        told = f"run {passage.run.version} has no result of a suite {suite!r}"
        raise BadInput(told, hint=one_of(suite, suites))
    if len(found) > 1:
        names = ", ".join(one.tree for one in found)
        raise BadInput(f"{suite} was run on several trees", hint=f"name one of {names}")
    tests = {one.name for one in found[0].tests}
    is_there = any(f"{name}/".startswith(f"{test}/") for name in tests)
    if test and not is_there and found[0].suite != words[-1]:
        told = f"{suite} on {found[0].tree} had no test {test!r}"
        raise BadInput(told, hint=one_of(test, tests))
    return found[0], test


def _request(passage: Passage, recorded: SuiteResult, test: str) -> TestRequest:
    house, ran = passage.house, recorded.ran
    tree = _tree(passage, recorded)
    target = target_of(passage.manifest, tree.target)
    disk = disk_of(passage, tree, target, house.clients_key())
    if ran is None:
        house.log.warning("the run is of an older ostci and says nothing of memory and seed")
    else:
        target = replace(target, memory=ran.memory, processors=ran.processors)
        house.log.fact(_words(target, ran.seed), about=tree.name)
    suite = recorded.suite.partition("/")[0]
    suite = f"{suite}/{test}" if test else suite
    return replace(
        request_of(passage, tree, target, disk, suite),
        into=_place(passage, tree.name, suite),
        seed=None if ran is None else ran.seed,
    )


def _place(passage: Passage, tree: str, suite: str) -> Path:
    return passage.run.path / PLACE / tree / suite.replace("/", "-")


def _tree(passage: Passage, recorded: SuiteResult) -> Tree:
    """Find the tree that was tested, also where the run has composed another since."""
    trees = passage.read("trees", Trees, before="compose").trees
    found = next((one for one in trees if one.name == recorded.tree), None)
    if not passage.house.repo.has_commit(recorded.commit):
        told = f"the files of {recorded.tree} {recorded.commit[:12]} are gone"
        raise BadInput(told, hint="ostci clean removes what the manifest's retention does not keep")
    if found is None:
        raise BadInput(f"run {passage.run.version} has no tree {recorded.tree}")
    return replace(found, commit=recorded.commit)


def _words(target: Target, seed: int) -> str:
    processors = count_of(target.processors, "processor")
    return f"as it was: {target.memory // 1024**2} MiB, {processors}, seed {seed}"


def _told(house: House, recorded: SuiteResult, test: str, results: Sequence[SuiteResult]) -> int:
    """Tell how often it failed; raises Trouble where our machines were at fault."""
    what = f"{recorded.suite.partition('/')[0]}{f'/{test}' if test else ''} on {recorded.tree}"
    trouble = next((one for one in results if one.verdict is Verdict.TROUBLE), None)
    if trouble is not None:
        raise Trouble(trouble.message or "the machine was in trouble", where=what)
    bad = [one for one in results if one.verdict in _BAD]
    told = f"{what} failed {len(bad)} of {len(results)} times"
    if bad:
        hint = f"the evidence is in {Path(bad[0].evidence).parent}"
        raise Failed(f"{told}: {bad[0].message}", hint=hint)
    house.log.fact(f"{told}; in run it {recorded.verdict}")
    return EXIT_PASSED


def _as_json(
    version: str, recorded: SuiteResult, test: str, results: Sequence[SuiteResult]
) -> dict[str, object]:
    names = ("verdict", "cause", "message", "seconds", "evidence")
    was = next((one for one in recorded.tests if one.name == test), None)
    return {
        "run": version,
        "tree": recorded.tree,
        "commit": recorded.commit,
        "suite": recorded.suite.partition("/")[0],
        "test": test,
        "recorded": str(was.verdict if was else recorded.verdict),
        "ran": plain(recorded.ran),
        "failed": sum(one.verdict in _BAD for one in results),
        "times": [{name: plain(getattr(one, name)) for name in names} for one in results],
    }
