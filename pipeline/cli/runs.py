# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci run``: the whole way of a push on one machine."""

import argparse
from collections.abc import Mapping
from pathlib import Path

from pipeline.cli import building, chain, composing, push_line, testing, try_push
from pipeline.cli.holds import begun, held_run
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage, raise_worst
from pipeline.cli.record import note_passed, records
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.ports.log import file_sink
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import EXIT_PASSED, BadInput, Failed, Trouble
from pipeline.words.push import Via
from pipeline.words.run import SETTLED, RunEnding, RunRecord, place_of
from pipeline.words.wish import TRY


def do_run(options: argparse.Namespace) -> int:
    """Go the whole way and tell how it ended."""
    house, sink = open_with_sink(options)
    overrides = parse_overrides(options.override)
    with live(sink), locked(house, "ostci run", wait_s=options.wait or 0.0):
        if options.push is not None:
            return _run_push(house, options)
        with begun(house, "ostci run") as run:
            return _go_and_tell(house, run, overrides, options)


def _go_and_tell(
    house: House,
    run: RunDir,
    overrides: Mapping[str, Path],
    options: argparse.Namespace,
    taken: push_line.Taken | None = None,
) -> int:
    try:
        return _go(house, run, overrides, options, taken)
    finally:
        if options.json and run.file("run").is_file():
            print(run.file("run").read_text(), end="")


def _run_push(house: House, options: argparse.Namespace) -> int:
    """Go the whole way of a push, and give it its ending."""
    if options.override or options.offline:
        raise BadInput("the run of a push is of that push alone", hint="leave out the overrides")
    with push_line.attempting(house, options.push) as push:
        taken = try_push.taken(house, push.id)
        options.again = options.again or push.via in (Via.FORCE, Via.NIGHTLY)
        what = f"ostci run --push {push.id}"
        with held_run(house, taken.run, what, wait_s=options.wait or 0.0):
            return _go_and_tell(house, taken.run, {}, options, taken)


def _go(
    house: House,
    run: RunDir,
    overrides: Mapping[str, Path],
    options: argparse.Namespace,
    taken: push_line.Taken | None = None,
) -> int:
    with file_sink(run.log) as file, house.log.also(file):
        passage = Passage(house, run)
        if taken is not None:
            passage.reopen()
            if run.file("snapshot").is_file():
                house.manifest = passage.manifest
        house.log.fact(f"run {run.version} of {house.manifest.osname}")
        try:
            same = _stages(passage, overrides, options, taken)
        except BaseException as error:
            passage.end(error)
            raise
        if same is not None:
            return _end_as(passage, same)
        passage.end(None)
        if passage.trial is None:
            note_passed(house.workdir, run)
        return EXIT_PASSED


def _stages(
    passage: Passage,
    overrides: Mapping[str, Path],
    options: argparse.Namespace,
    taken: push_line.Taken | None,
) -> RunRecord | None:
    """Go through all stages; tells the earlier run that had the same snapshot, where one had.

    The run of a push was ``taken`` with its base and its snapshot.
    """
    failures: list[BaseException] = []
    if taken is None:
        chain.base(passage, offline=options.offline)
    try:
        if taken is None:
            chain.resolve(passage, fetch=None, overrides=overrides, offline=options.offline)
        elif taken.error is not None:
            raise taken.error
    except (Failed, Trouble) as error:
        # What could be resolved is built all the same: its failures are news, too.
        if not passage.run.file("snapshot").is_file():
            raise
        failures.append(error)
    if not failures and not options.again and not options.force and passage.trial is None:
        same = _same_as(passage)
        if same is not None:
            return same
    chain.plan(passage)
    try:
        building.build(passage, force=frozenset(options.force))
    except (Failed, Trouble) as error:
        if failures or not _goes_on(passage):
            failures.append(error)
        else:
            passage.house.log.warning(f"composed with last good artifacts: {error}")
    raise_worst(failures)
    composing.compose(passage, wait_s=options.wait)
    chain.disk(passage)
    try:
        testing.test(passage)
    except (Failed, Trouble) as error:
        failures.append(error)
    try:
        (chain.promote if passage.trial is None else chain.judge)(passage)
    except Failed as error:
        # Why it was held is what the tests said already, in more words.
        failures.append(error)
    raise_worst(failures)
    return None


def _goes_on(passage: Passage) -> bool:
    return bool(passage.manifest.on_failed == "last-good" and passage.run.file("build").is_file())


def _same_as(passage: Passage) -> RunRecord | None:
    """Find the newest earlier run that came to an end, if it had the same snapshot."""
    for run, record in records(passage.house.workdir):
        is_later = place_of(run.version) >= place_of(passage.run.version)
        if is_later or record.ending is RunEnding.UNCHANGED or record.kind == TRY:
            continue
        same = record.snapshot == passage.record.snapshot and record.ending in SETTLED
        return record if same else None
    return None


def _end_as(passage: Passage, same: RunRecord) -> int:
    """End a run in which nothing was new, as the run before it ended."""
    words = f"nothing has changed since run {same.version}, which {same.ending}"
    again = passage.house.command("run", "--again")
    passage.house.log.fact(words)
    if same.ending is RunEnding.PASSED:
        passage.end(None, RunEnding.UNCHANGED)
        return EXIT_PASSED
    error = Failed(f"{words}: {same.message}", hint=f"to go on all the same: {again}")
    passage.end(error, RunEnding.UNCHANGED)
    raise error


def parse_overrides(given: list[str]) -> dict[str, Path]:
    """Read ``NAME=DIR`` pairs; raises BadInput for anything else."""
    found = {}
    for text in given:
        name, separator, path = text.partition("=")
        if not separator or not name or not path:
            raise BadInput(f"not NAME=DIR: {text!r}", hint="such as --override zlib=../zlib")
        if not Path(path).is_dir():
            raise BadInput(f"there is no directory {path}", where=f"--override {name}")
        found[name] = Path(path).resolve()
    return found
