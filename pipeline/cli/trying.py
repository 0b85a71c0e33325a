# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try``: what would become of the OS with something that is not pushed yet.

A try is a run that begins from the newest promoted snapshot, with some sources replaced. It goes
the whole way but for the last step: its trees are on refs of its own and bound to these alone, so
that nothing can promote them; what it builds is used by nobody else.
"""

import argparse
import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pipeline.cli import building, chain, composing, testing
from pipeline.cli.holds import begun
from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot, newest_of_line
from pipeline.cli.open import open_with_sink
from pipeline.cli.passage import Passage
from pipeline.cli.push_line import take_base
from pipeline.cli.record import records
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.cli.try_told import tell
from pipeline.ports import line, work_copy
from pipeline.ports.files import remove_tree
from pipeline.ports.log import file_sink
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import EXIT_PASSED, BadInput, Ending, Failed, Trouble
from pipeline.words.findings import one_of
from pipeline.words.manifest import Manifest, Source, SourceKind
from pipeline.words.refs import Revision, is_revision
from pipeline.words.wish import How, Replacement, Trial, Wish, parse_pairs

SOURCES = "source"
"""The directory of a run in which copies of directories lie, one a component."""


@dataclass(frozen=True, kw_only=True)
class Swap:
    """What is replaced, as a resolve takes it; ``copies`` are still to be put into the run."""

    replaced: tuple[Replacement, ...]
    at: Mapping[Source, Revision]
    copies: Mapping[str, Path]


def do_try(options: argparse.Namespace) -> int:
    """Try what is given, and tell how it went."""
    _raise_mixed(options)
    if options.server:
        # Elsewhere: no work directory is needed here.
        server = importlib.import_module("pipeline.cli.try_server")
        return int(server.send_to_server(options))
    if options.source:
        return _from_server(options)
    house, sink = open_with_sink(options)
    if house.settings.server and not options.remote:
        return _from_server(options)
    if options.tree or options.key or options.trust:
        raise BadInput("--tree, --key and --trust are about a server", hint="--from URL")
    pairs = parse_pairs(options.replace)
    if options.remote:
        remote = importlib.import_module("pipeline.cli.try_remote")
        return int(remote.send(house, sink, options))
    with live(sink), locked(house, "ostci try", wait_s=options.wait or 0.0):
        start = newest_start(house)
        house.manifest = line_snapshot(start).manifest
        check_names(house.manifest, (*pairs, *options.rebuild))
        swap = swap_of(house, pairs)
        trial = Trial(start=start.version, wish=wish_of(options, swap))
        with begun(house, "ostci try", trial=trial) as run:
            try:
                go(house, run, partial(resolve, swap=swap))
            finally:
                tell(house, run, as_json=options.json)
    return EXIT_PASSED


def _raise_mixed(options: argparse.Namespace) -> None:
    """Raise BadInput for options that do not go together."""
    ways = [
        name
        for name, given in (
            ("--from", options.source),
            ("--remote", options.remote),
            ("--server", options.server),
        )
        if given
    ]
    if len(ways) > 1:
        raise BadInput(f"{' and '.join(ways)} do not go together", hint="ostci try --help")
    if options.follow and ways in ([], ["--from"]):
        raise BadInput("--follow is for a try that a master does", hint="--remote or --server URL")


def _from_server(options: argparse.Namespace) -> int:
    module = importlib.import_module("pipeline.cli.try_from")
    return int(module.try_from(options))


def wish_of(options: argparse.Namespace, swap: Swap, *, by: str = "") -> Wish:
    """Gather what a command line asks for."""
    return Wish(
        by=by,
        replaced=swap.replaced,
        rebuild=tuple(options.rebuild),
        targets=tuple(options.target),
        suites=tuple(options.suite),
    )


def newest_start(house: House) -> RunDir:
    """Find the run whose snapshot a try begins from: the newest promoted, else of the line.

    Of the line rather one that has composed: what others build now need not be waited for.
    """
    for run, record in records(house.workdir):
        if record.promoted and run.file("snapshot").is_file():
            return run
    composed = (run for run in line.snapshots(house.workdir) if run.file("trees").is_file())
    newest = next(composed, None) or newest_of_line(house)
    if newest is None:
        raise BadInput("there is no run that a try could begin from", hint=house.command("run"))
    return newest


def check_names(manifest: Manifest, names: tuple[str, ...]) -> None:
    """Raise BadInput for what the manifest does not have."""
    known = [component.name for component in manifest.components]
    for name in names:
        if name not in known:
            hint = one_of(name, known)
            raise BadInput(f"the manifest has no component {name!r}", hint=hint or "ostci show")


def swap_of(house: House, pairs: Mapping[str, str], *, directories: bool = True) -> Swap:
    """Find what each component is replaced by; raises BadInput for what is nowhere.

    Not ``directories``: whoever asks is elsewhere, and must not have ours read.
    """
    replaced: list[Replacement] = []
    at: dict[Source, Revision] = {}
    copies: dict[str, Path] = {}
    for name, given in pairs.items():
        if directories and Path(given).expanduser().is_dir():
            place = Path(given).expanduser().resolve()
            copies[name], revision = _copy(house, name, place)
            replaced.append(
                Replacement(component=name, how=How.DIRECTORY, given=str(place), revision=revision)
            )
            continue
        source = house.manifest.component(name).source
        at[source] = find_revision(house, name, source, given)
        replaced.append(
            Replacement(component=name, how=How.REVISION, given=given, revision=at[source])
        )
    return Swap(replaced=tuple(replaced), at=at, copies=copies)


def _copy(house: House, name: str, place: Path) -> tuple[Path, str]:
    """Copy the files that count as they are now: they may be edited on while they are built."""
    into = house.tmp / f"{SOURCES}-{name}"
    with house.log.step("copy its files", about=name):
        pin = work_copy.pin(place, git=house.mirrors.git)
        into.mkdir()
        work_copy.copy(place, pin, into, git=house.mirrors.git)
    return into, pin.revision


def find_revision(house: House, name: str, source: Source, given: str) -> Revision:
    """Find a branch or the revision that begins so in a component's repository.

    Raises BadInput where there is none, Trouble where it cannot be asked.
    """
    if source.kind is not SourceKind.GIT:
        told = f"a {source.kind} source has no branches or revisions, and {given} is no directory"
        raise BadInput(told, where=name)
    places = [replace(source, branch=given, tag="", revision="")]
    if _may_be_revision(given):
        places.append(replace(source, branch="", tag="", revision=Revision(given)))
    wrong: Ending | None = None
    with house.log.step(f"look for {given}", about=name):
        for place in places:
            try:
                house.mirrors.fetch(place)
                return house.mirrors.pin(place).revision
            except Failed as error:
                wrong = wrong or error
    told = f"{given} is no directory here, and no branch or revision of {source.location}"
    raise BadInput(told, where=name, hint=wrong.hint if wrong else "")


def _may_be_revision(text: str) -> bool:
    least = 7
    return is_revision(text) or (
        least <= len(text) <= len("0" * 40) and all(one in "0123456789abcdef" for one in text)
    )


# The way


def go(house: House, run: RunDir, begin: Callable[[Passage], None]) -> None:
    """Go the whole way of a try; ``begin`` leaves base and snapshot."""
    with file_sink(run.log) as file, house.log.also(file):
        passage = Passage(house, run)
        house.log.fact(f"try {run.version} of {house.manifest.osname}")
        try:
            begin(passage)
            _stages(passage)
        except BaseException as error:
            passage.end(error)
            raise
        passage.end(None)


def resolve(passage: Passage, swap: Swap) -> None:
    """Make the snapshot of a try: that of its start, with just what is replaced moved."""
    house, trial = passage.house, passage.trial
    assert trial is not None
    start = house.workdir.run(trial.start)
    house.log.fact(f"begins from the snapshot of run {start.version}")
    for one in swap.replaced:
        house.log.fact(one.words(), about=one.component)
    overrides = put_copies(passage, swap)
    if not take_base(passage, start):
        house.log.warning(f"the base of run {start.version} is gone: its newest is taken")
        chain.base(passage)
    known = line_snapshot(start)
    chain.resolve(passage, fetch=frozenset(), overrides=overrides, known=known, at=swap.at)


def put_copies(passage: Passage, swap: Swap) -> dict[str, Path]:
    """Put the copies of directories into the run; tells where they are."""
    places = {}
    for name, copy in swap.copies.items():
        place = passage.run.path / SOURCES / name
        place.parent.mkdir(exist_ok=True)
        remove_tree(place)
        copy.rename(place)
        places[name] = place
    return places


def _stages(passage: Passage) -> None:
    chain.plan(passage)
    building.build(passage)
    composing.compose(passage)
    chain.disk(passage)
    failure: Ending | None = None
    try:
        testing.test(passage)
    except (Failed, Trouble) as error:
        failure = error
    try:
        chain.judge(passage)
    except Failed as error:
        # Why it was held is what the tests said already, in more words.
        failure = failure or error
    if failure is not None:
        raise failure
