# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs that give one stage of a run by hand: ``base``, ``resolve``, ``build`` and so on.

``base`` and ``resolve`` begin a run of their own unless one is named; the others take up the
newest that has what they need.
"""

import argparse
from collections.abc import Callable
from functools import partial

from pipeline.cli import chain, push_verbs
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.repair import locked
from pipeline.cli.runs import parse_overrides, print_result
from pipeline.cli.terminal import live
from pipeline.ports.log import file_sink
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.run import RunEnding

Options = argparse.Namespace


def do_base(options: Options) -> int:
    """Import the base."""
    return _do(options, "base", partial(chain.base, refresh=options.refresh), new=True)


def do_resolve(options: Options) -> int:
    """Pin every source, or make the run of a push."""
    if options.push is not None:
        return push_verbs.do_resolve_push(options)
    named = {"all": None, "none": frozenset[str]()}
    fetch = named.get(options.fetch, frozenset(options.fetch.split(",")))
    overrides = parse_overrides(options.override)

    def work(passage: Passage) -> None:
        if not passage.run.file("base").is_file():
            chain.base(passage)
        chain.resolve(passage, fetch=fetch, overrides=overrides)

    return _do(options, "resolve", work, new=True, result="snapshot")


def do_build(options: Options) -> int:
    """Build what the plan says."""
    return _do(options, "build", partial(chain.build, force=frozenset(options.force)))


def do_compose(options: Options) -> int:
    """Make trees."""
    work = partial(chain.compose, targets=options.target)
    return _do(options, "compose", work, result="trees")


def do_disk(options: Options) -> int:
    """Make disks."""
    work = partial(chain.disk, targets=options.target, full=options.full)
    return _do(options, "disk", work, result="disks")


def do_test(options: Options) -> int:
    """Boot trees and run a suite on them."""
    trees = [options.tree] if options.tree else []
    work = partial(chain.test, trees=trees, suite=options.suite)
    return _do(options, "test", work, result="tests")


def do_promote(options: Options) -> int:
    """Move ``buildmaster`` if the gate passed."""
    return _do(options, "promote", chain.promote)


_NEEDS = {
    "build": "snapshot",
    "compose": "build",
    "disk": "trees",
    "test": "disks",
    "promote": "trees",
}


def _do(
    options: Options,
    verb: str,
    work: Callable[[Passage], None],
    *,
    new: bool = False,
    result: str = "",
) -> int:
    house, sink = open_with_sink(options)
    with live(sink), locked(house, f"ostci {verb}", wait_s=options.wait):
        run = _run_for(house, options, verb, new=new)
        try:
            with file_sink(run.log) as file, house.log.also(file):
                passage = Passage(house, run)
                if not new and run.file("snapshot").is_file():
                    # The run goes by its own, whatever became of the file since.
                    house.manifest = passage.manifest
                _work(passage, work)
        finally:
            if options.json:
                print_result(run, result or verb)
    return EXIT_PASSED


def _work(passage: Passage, work: Callable[[Passage], None]) -> None:
    before = passage.record.ending
    try:
        work(passage)
    except BaseException as error:
        passage.end(error)
        raise
    # A run that had come to an end keeps it: a repeated stage only brings its record up to date.
    passage.end(None, before if before is not RunEnding.RUNNING else RunEnding.OPEN)


def _run_for(house: House, options: Options, verb: str, *, new: bool) -> RunDir:
    if options.run:
        return house.workdir.run(options.run)
    return house.workdir.new_run() if new else house.last_run(_NEEDS[verb])
