# SPDX-License-Identifier: LGPL-2.1-or-later
"""The verbs that give one stage of a run by hand: ``base``, ``resolve``, ``build`` and so on.

``base`` and ``resolve`` begin a run of their own unless one is named; the others take up the
newest that has what they need. Under a master each is a process of its own, so that a verb imports
what it needs itself.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from pipeline.cli.holds import begun, cancel, held_run
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.record import note_passed, read_cancel, read_record
from pipeline.cli.repair import end_run, locked
from pipeline.cli.results import print_result
from pipeline.cli.terminal import live
from pipeline.ports.log import file_sink
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.run import SETTLED, RunEnding, ending_of_stages
from pipeline.words.wish import TRY

Options = argparse.Namespace


def do_base(options: Options) -> int:
    """Import the base."""
    from pipeline.cli import chain

    work = partial(chain.base, refresh=options.refresh)
    return _do(options, "base", work, new=True)


def do_resolve(options: Options) -> int:
    """Pin every source, or make the run of a push."""
    from pipeline.cli import chain, push_verbs

    if options.push is not None:
        return push_verbs.do_resolve_push(options)
    from pipeline.cli.runs import parse_overrides

    named = {"all": None, "none": frozenset[str]()}
    fetch = named.get(options.fetch, frozenset(options.fetch.split(",")))
    overrides = parse_overrides(options.override)

    def work(passage: Passage) -> None:
        if not passage.run.file("base").is_file():
            chain.base(passage)
        chain.resolve(passage, fetch=fetch, overrides=overrides)

    return _do(options, "resolve", work, new=True, result="snapshot")


def do_build(options: Options) -> int:
    """Build what the plan says, or the components that are named."""
    from pipeline.cli import building

    force = frozenset(options.force)
    if not options.component:
        work = partial(building.build, force=force, retry=options.retry)
        return _do(options, "build", work)
    names = tuple(options.component)
    named = partial(building.build_named, names=names, force=force)
    return _do(options, "build", named, share=names, ends=False)


def do_compose(options: Options) -> int:
    """Make trees."""
    from pipeline.cli import composing

    work = partial(composing.compose, targets=options.target, wait_s=options.wait)
    return _do(options, "compose", work, result="trees")


def do_disk(options: Options) -> int:
    """Make disks."""
    from pipeline.cli import chain

    trees = (*options.tree, *options.target)
    work = partial(chain.disk, targets=trees, full=options.full, beside=options.beside)
    return _do(options, "disk", work, result="disks", share=trees)


def do_test(options: Options) -> int:
    """Boot trees and run suites on them."""
    from pipeline.cli import testing

    trees = [options.tree] if options.tree else []
    suite = options.only or options.suite
    told: list[BaseException | None] = []

    def work(passage: Passage) -> None:
        told.append(testing.test(passage, trees=trees, suite=suite))

    code = _do(options, "test", work, result="tests", share=testing.part_of_test(trees, suite))
    for error in told:
        if error is not None:
            raise error  # the run goes on all the same
    return code


def do_judge(options: Options) -> int:
    """Tell what the gate makes of the verdicts."""
    from pipeline.cli import chain

    return _do(options, "judge", partial(_last, chain.judge, end=options.end))


def do_promote(options: Options) -> int:
    """Move ``buildmaster`` if the gate passed."""
    from pipeline.cli import chain

    return _do(options, "promote", partial(_last, chain.promote, end=options.end))


def _last(work: Callable[[Passage], None], passage: Passage, *, end: bool) -> None:
    """Do what comes last in a run, and give it its ending where that passes."""
    work(passage)
    if end:
        _end(passage.house, passage.run)


_NEEDS = {
    "build": "snapshot",
    "compose": "build",
    "disk": "trees",
    "test": "disks",
    "judge": "trees",
    "promote": "trees",
}


def _do(
    options: Options,
    verb: str,
    work: Callable[[Passage], None],
    *,
    new: bool = False,
    result: str = "",
    share: Sequence[str] = (),
    ends: bool = True,
) -> int:
    """Give a stage: alone in its run, or of the parts ``share`` beside who gives others.

    ``new``: in a run of its own unless one is named, which then is begun anew. Not ``ends``: how
    this goes decides nothing about the run.
    """
    house, sink = open_with_sink(options)
    what = " ".join(["ostci", verb, *share, *(["--run", options.run] if options.run else [])])
    # Whoever began the run has looked at everything; so do compose, promote and end.
    part = bool(share) or (verb == "build" and bool(options.run))
    here = locked(house, what, wait_s=options.wait or 0.0, part=part)
    with live(sink), here, ExitStack() as stack:
        run = _run_for(house, options, verb, stack, what, new=new, shared=bool(share))
        try:
            with file_sink(run.log) as file, house.log.also(file):
                passage = Passage(house, run)
                if not new and run.file("snapshot").is_file():
                    # The run goes by its own, whatever became of the file since.
                    house.manifest = passage.manifest
                _work(passage, work, reopen=new, ends=ends)
        finally:
            if options.json:
                for name in [result or verb] if ends else [f"built/{one}" for one in share]:
                    print_result(run, name)
    return EXIT_PASSED


def _work(passage: Passage, work: Callable[[Passage], None], *, reopen: bool, ends: bool) -> None:
    try:
        work(passage)
    except BaseException as error:
        # Who stops what was given once more has changed nothing about how the run ended.
        is_kept = passage.record.ending in SETTLED and isinstance(error, KeyboardInterrupt)
        if (ends and not is_kept) or read_cancel(passage.run) is not None:
            passage.end(error)
        raise
    if ends:
        # A run that had come to an end keeps it: a repeated stage only brings it up to date.
        passage.leave(reopen=reopen)


def _run_for(
    house: House,
    options: Options,
    verb: str,
    stack: ExitStack,
    what: str,
    *,
    new: bool,
    shared: bool,
) -> RunDir:
    if new and not options.run:
        return stack.enter_context(begun(house, what))
    run = house.workdir.run(options.run) if options.run else house.last_run(_NEEDS[verb])
    wait_s = options.wait or 0.0
    stack.enter_context(held_run(house, run, what, wait_s=wait_s, shared=shared))
    return run


def do_end(options: Options) -> int:
    """Give a run its ending, from what its stages came to."""
    house, sink = open_with_sink(options)
    what, wait_s = f"ostci end {options.version}", options.wait or 0.0
    run = house.workdir.run(options.version)
    with (
        live(sink),
        locked(house, what, wait_s=wait_s),
        held_run(house, run, what, wait_s=wait_s),
    ):
        _end(house, run, options.message)
    if options.json:
        print_result(run, "run")
    return EXIT_PASSED


def _end(house: House, run: RunDir, message: str = "") -> None:
    record = read_record(run)
    ending, told = ending_of_stages(record.stages)
    message = message or told
    record = replace(record, ended=time.time(), ending=ending, message=message)
    end_run(house, run, record, gives_up=True)
    if ending is RunEnding.PASSED and not record.kind:
        note_passed(house.workdir, run)
    if record.kind == TRY:
        from pipeline.cli.try_told import note

        note(run)
    house.log.fact(f"run {run.version} is {ending}{f': {message}' if message else ''}")


def do_cancel(options: Options) -> int:
    """End the processes of a run, and the run as interrupted."""
    house, sink = open_with_sink(options)
    run = house.workdir.run(options.version)
    what = f"ostci cancel {options.version}"
    with live(sink), locked(house, what, wait_s=options.wait or 0.0):
        cancel(house, run, by=options.by)
        house.log.fact(f"run {run.version} is cancelled by {options.by}")
    if options.json:
        print_result(run, "run")
    return EXIT_PASSED
