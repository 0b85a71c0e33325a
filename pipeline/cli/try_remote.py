# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try --remote``: have the master of this work directory do a try."""

import argparse
import getpass
import json

from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot
from pipeline.cli.terminal import TerminalSink, live
from pipeline.cli.try_push import new_try
from pipeline.cli.trying import check_names, newest_start, swap_of
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.records import plain
from pipeline.words.wish import Wish, parse_pairs


def send(house: House, sink: TerminalSink, options: argparse.Namespace) -> int:
    """Record a try; a master that is up starts it at once. What is nowhere is told now."""
    pairs = parse_pairs(options.replace)
    with live(sink):
        house.manifest = line_snapshot(newest_start(house)).manifest
        check_names(house.manifest, (*pairs, *options.rebuild))
        swap = swap_of(house, pairs, directories=False)
        wish = Wish(
            by=getpass.getuser(),
            replaced=swap.replaced,
            rebuild=tuple(options.rebuild),
            targets=tuple(options.target),
            suites=tuple(options.suite),
        )
        push = house.ledger.pushes.add(new_try(house, wish))
        house.workdir.pushed.touch()
    if options.json:
        print(json.dumps(plain(push), indent=2))
        return EXIT_PASSED
    print(f"push {push.id} is a try, and waits for a master: {house.command('up')}")
    for one in swap.replaced:
        print(f"  replaced  {one.words()}")
    print(f"next: {house.command('pushes')}")
    print(f"      or without a master: {house.command('run', '--push', str(push.id))}")
    return EXIT_PASSED
