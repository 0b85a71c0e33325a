# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try --remote``: have a master do a try, that of this work directory or of a server.

A directory is sent as it is, with what is not committed; branches and revisions are looked for by
whoever does the try.
"""

import argparse
import getpass
import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot
from pipeline.cli.terminal import TerminalSink, live
from pipeline.cli.try_follow import follow, waiting
from pipeline.cli.try_push import new_try
from pipeline.cli.try_waits import master_url, standing, taken_soon
from pipeline.cli.trying import check_names, newest_start, swap_of, wish_of
from pipeline.ports.git_commands import Git
from pipeline.ports.log import Log
from pipeline.ports.sent import Packed, Sent, pack
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.push import Push
from pipeline.words.records import plain
from pipeline.words.wish import How, Replacement, parse_pairs


def send(house: House, sink: TerminalSink, options: argparse.Namespace) -> int:
    """Record a try; a master that is up starts it at once. What is nowhere is told now."""
    pairs = parse_pairs(options.replace)
    by = getpass.getuser()
    with live(sink):
        house.manifest = line_snapshot(newest_start(house)).manifest
        check_names(house.manifest, (*pairs, *options.rebuild))
        places = directories_of(pairs)
        others = {name: given for name, given in pairs.items() if name not in places}
        swap = swap_of(house, others, directories=False)
        known = {one.component: one for one in swap.replaced}
        with tempfile.TemporaryDirectory(prefix="ostci-send-") as name:
            for component, place in places.items():
                packed = packed_directory(component, place, Path(name), log=house.log)
                Sent(house.workdir.sent).keep(packed)
                known[component] = Replacement(
                    component=component,
                    how=How.DIRECTORY,
                    given=str(place),
                    revision=packed.revision,
                    sent=packed.id,
                )
        swap = replace(swap, replaced=tuple(known[component] for component in pairs))
        made = new_try(house, wish_of(options, swap, by=by))
        if options.follow:
            follow(house, sink, made, by=by, as_json=options.json)
            return EXIT_PASSED
        push = house.ledger.pushes.add(made)
        house.workdir.pushed.touch()
        master = master_url(house)
        if master:
            with waiting(sink, f"push {push.id} {standing(push, master)}"):
                push = taken_soon(house, push)
    _tell(house, push, master, as_json=options.json)
    return EXIT_PASSED


def _tell(house: House, push: Push, master: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(plain(push), indent=2))
        return
    print(f"push {push.id} is a try, and {standing(push, master)}")
    for one in push.wish.replaced:
        print(f"  replaced  {one.words()}")
    if push.run is not None:
        print(f"next: {house.command('show', push.run)}")
        return
    print(f"next: {house.command('pushes') if master else house.command('up')}")
    if not master:
        print(f"      or without a master: {house.command('run', '--push', str(push.id))}")


def directories_of(pairs: Mapping[str, str]) -> dict[str, Path]:
    """Tell what of it is given as a directory that is here."""
    found = {name: Path(given).expanduser() for name, given in pairs.items()}
    return {name: path.resolve() for name, path in found.items() if path.is_dir()}


def packed_directory(component: str, place: Path, into: Path, *, log: Log) -> Packed:
    """Pack a directory to be sent; raises BadInput for one that is too large."""
    with log.step("pack its files", about=component):
        packed = pack(place, into / component, git=Git(into, log=log), where=component)
        log.fact(f"{packed.size} bytes to send", about=component)
    return packed
