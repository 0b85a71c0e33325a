# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci test`` in the chain: suites on a run's trees, and what is made of their verdicts."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pipeline.cli.chain import disk_of, raise_several, trees_of
from pipeline.cli.passage import Passage
from pipeline.cli.results import Disks, Tests
from pipeline.cli.suite_lines import suite_lines, summary
from pipeline.ports.files import lock
from pipeline.ports.worker_home import IDENTITY
from pipeline.words.errors import BadInput, Ending, Failed, Trouble
from pipeline.words.gate import Flakes, fails_run, settled, suites_of_gate
from pipeline.words.manifest import Need, Target
from pipeline.words.pairing import PAIRS
from pipeline.words.targets import target_of
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import BUG, SuiteResult, Verdict

if TYPE_CHECKING:
    from pipeline.stages.test import TestRequest

_SUITE_S = 3600.0
_NOT_PASSED = "did not pass"
ALL, SMOKE = "all", "smoke"


def test(
    passage: Passage, *, trees: Sequence[str] = (), suite: str | None = None
) -> BaseException | None:
    """Boot trees and run suites on them; raises the worst verdict after all were heard.

    All trees of the run by default, and all suites that their gates want; ``all`` are those that
    there are. What did not pass and is not required is no failure of the run: it is told, and
    returned as what it would have been.
    """
    from pipeline.cli.attempts import Attempts
    from pipeline.cli.background import judged, known_issues, repeats_of
    from pipeline.cli.baseline import promoted_commit
    from pipeline.cli.figures import tell_growth
    from pipeline.cli.screens import compare_screens

    house = passage.house
    with passage.stage("test", *part_of_test(trees, suite)):
        disks = passage.read("disks", Disks, before="disk").disks
        issues = known_issues(passage)
        attempts = Attempts(
            cache=house.workdir.cache,
            tmp=house.tmp,
            log=house.log,
            promoted=lambda tree: _promoted_disk(passage, tree),
            repeats=lambda result: repeats_of(passage, result),
            judge=lambda result: judged(passage, result, issues),
        )
        heard = []
        for tree in trees_of(passage, trees):
            target = target_of(passage.manifest, tree.target)
            names = _named(suite) if suite else suites_of(passage, target)
            for name in names:
                request = replace(
                    request_of(passage, tree, target, _need_disk(passage, disks, tree), name),
                    failures_s=house.settings.keep_machines_h * 3600.0,
                    leaves_checkpoint=name == SMOKE
                    and any(one != name for one in {*names, *suites_of(passage, target)}),
                )
                with _one_at_a_time(passage, tree, name), house.log.step(name, about=tree.name):
                    result = attempts.hear(request)
                    compare_screens(passage, result, promoted_commit(passage, tree.name))
                house.ledger.record_suite(passage.run.version, result)
                house.log.fact(_heard(result), about=tree.name)
                tell_growth(house, passage.manifest.osname, result)
                heard.append(result)
                # One by one: whoever stops the others keeps what was heard.
                passage.merge("tests", Tests, partial(_with_earlier, heard=(result,)))
        if not heard:
            passage.merge("tests", Tests, partial(_with_earlier, heard=()))
        for line in suite_lines(heard) if len(heard) > 1 else ():
            house.log.fact(line)
        passage.tell(summary(heard))
        return _raise_required(passage, heard)


def _raise_required(passage: Passage, heard: Sequence[SuiteResult]) -> BaseException | None:
    """Raise for suites that had to pass and did not; tells and returns what the others come to."""
    required: dict[str, Ending] = {}
    told: dict[str, Ending] = {}
    for one in heard:
        error = _as_error(passage, one)
        if error is not None:
            (required if _is_required(passage, one) else told)[f"{one.tree} {one.suite}"] = error
    raise_several(required, _NOT_PASSED)
    for name, error in told.items():
        passage.house.log.warning(f"{name} did not pass, which its gate does not require: {error}")
    try:
        raise_several(told, _NOT_PASSED)
    except Ending as error:
        return error
    return None


def _is_required(passage: Passage, result: SuiteResult) -> bool:
    """Tell whether the run stands or falls with a suite: by its gate, or since somebody named it.

    A test of a suite that is run alone decides nothing.
    """
    tree, named = result.tree, passage.wish.suites
    if named:
        return result.suite in named
    gate = target_of(passage.manifest, tree.partition("-")[2]).gate
    baselines: Collection[str] = ()
    if gate.get(result.suite) is Need.ONCE_BASELINE:
        baselines = passage.house.ledger.tests.baselines(passage.manifest.osname, tree)
    need = settled(gate, baselines).get(result.suite)
    return fails_run(need, is_nightly=passage.is_nightly)


def request_of(
    passage: Passage, tree: Tree, target: Target, disk: Disk, suite: str
) -> "TestRequest":
    """Ask for a suite with all that it needs beside the tree."""
    from pipeline.cli.beside import beside_of
    from pipeline.cli.externals import externals_of
    from pipeline.stages.test import TestRequest

    house = passage.house

    def made(one: Tree, of: Target) -> Disk:
        return disk_of(passage, one, of, house.clients_key())

    return TestRequest(
        run=passage.run.version,
        tree=tree,
        target=target,
        disk=disk,
        suite=suite,
        into=passage.run.test(tree.name, suite),
        machines=house.settings.machines,
        repo=house.workdir.repo,
        known_failing=passage.manifest.installed_tests_xfail,
        externals=externals_of(passage, target, suite, tree=tree.name),
        reproduce=_reproduce_line(passage, tree),
        beside=beside_of(passage, tree, suite, disk_of=made),
    )


def _reproduce_line(passage: Passage, tree: Tree) -> str:
    words = ("reproduce", passage.run.version, tree.name)
    if (passage.house.workdir.root / IDENTITY).is_file():
        # It is given where the run is: nobody types anything in the home of a worker.
        return " ".join(("ostci", *words))
    return passage.house.command(*words)


def _promoted_disk(passage: Passage, tree: Tree) -> tuple[Tree, Disk] | None:
    """Find the tree that was promoted last, and have a disk of it; None without another one."""
    from pipeline.cli.baseline import find_baseline

    promoted = find_baseline(passage, tree)
    if promoted is None:
        return None
    target = target_of(passage.manifest, tree.target)
    key = passage.house.clients_key()
    return promoted, disk_of(passage, promoted, target, key)


def hear(passage: Passage, result: SuiteResult) -> BaseException | None:
    """Record what a suite said that ran elsewhere, as a stage of the run; ends as ``test``."""
    from pipeline.cli.background import judged, known_issues
    from pipeline.cli.baseline import promoted_commit
    from pipeline.cli.figures import tell_growth
    from pipeline.cli.screens import compare_screens

    part = part_of_test([result.tree], result.suite)
    with passage.stage("test", *part, took_s=result.seconds):
        result = judged(passage, result, known_issues(passage))
        passage.house.ledger.record_suite(passage.run.version, result)
        passage.merge("tests", Tests, lambda old: _with_earlier(old, [result]))
        passage.tell(f"{result.tree} {_heard(result)}")
        compare_screens(passage, result, promoted_commit(passage, result.tree))
        tell_growth(passage.house, passage.manifest.osname, result)
        return _raise_required(passage, [result])


def suites_of(passage: Passage, target: Target) -> tuple[str, ...]:
    """Tell which suites a run has for a target: those that a person named, else its gate's."""
    return passage.wish.suites or suites_of_gate(target.gate, is_nightly=passage.is_nightly)


def _named(suite: str) -> tuple[str, ...]:
    """Tell which suites a person means by a name."""
    from pipeline.stages.test import suites

    if suite != ALL:
        return (suite,)
    # The others go on from the machine that it boots.
    return (SMOKE, *(one for one in suites() if one != SMOKE))


def part_of_test(trees: Sequence[str], suite: str | None) -> tuple[str, ...]:
    """Write which part of a test is meant, as the command line has it; the whole is empty."""
    if not suite:
        return tuple(trees)
    return (*trees, suite) if trees else ("--suite", suite)


def _heard(result: SuiteResult) -> str:
    why = f": {result.message}" if result.message else ""
    counts = f", {result.counts}" if result.tests else ""
    return f"{result.suite} {result.verdict} in {result.seconds:.0f} s{counts}{why}"


def _one_at_a_time(passage: Passage, tree: Tree, suite: str) -> AbstractContextManager[None]:
    """Keep others from the evidence of a suite on a tree, which is of one attempt alone."""
    what = f"{suite.partition('/')[0]} on {tree.name}"
    path = passage.run.path / f".test-{tree.name}-{suite.partition('/')[0]}.lock"
    return lock(path, what=what, wait_s=_SUITE_S)


def _need_disk(passage: Passage, disks: Mapping[str, Disk], tree: Tree) -> Disk:
    """Find a tree's disk; one of what the run composed before under the same name is none."""
    found = disks.get(tree.name)
    if found is None or found.commit != tree.commit:
        hint = passage.command("disk", tree.name)
        of = f"{tree.name} {tree.commit[:12]}"
        raise BadInput(f"run {passage.run.version} has no disk of {of} yet", hint=hint)
    return found


def _with_earlier(earlier: Tests | None, heard: Sequence[SuiteResult]) -> Tests:
    """Keep what the run heard of other trees and suites before."""
    new = {(one.tree, one.suite) for one in heard}
    suites = earlier.suites if earlier else ()
    kept = [one for one in suites if (one.tree, one.suite) not in new]
    return Tests(suites=(*kept, *heard))


def _as_error(passage: Passage, result: SuiteResult) -> Ending | None:
    if result.cause == BUG and result.suite.partition("/")[0] == PAIRS:
        return Ending(f"a bug of ours: {result.message}")  # which trying again does not mend
    if result.verdict is Verdict.TROUBLE:
        return Trouble(result.message or "the machine was in trouble")
    target = target_of(passage.manifest, result.tree.partition("-")[2])
    flakes = Flakes(seen={result.suite: result.flaky}, budget=target.flaky)
    if result.verdict is Verdict.FLAKY and flakes.allow(result.suite):
        return None
    if result.verdict in (Verdict.FAILED, Verdict.FLAKY):
        return Failed(result.message or str(result.verdict))
    return None
