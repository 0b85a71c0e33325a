# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try --remote``: have a master do a try, that of this work directory or of a server."""

import argparse
import getpass
import json
import os

from pipeline.cli.house import House
from pipeline.cli.line import line_snapshot
from pipeline.cli.terminal import TerminalSink, live
from pipeline.cli.try_push import new_try
from pipeline.cli.trying import check_names, newest_start, swap_of, wish_of
from pipeline.ports.page import Page
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.records import plain
from pipeline.words.wish import parse_pairs

PASSWORD = "OSTCI_PASSWORD"
"""The variable of the environment with the password: a command line is seen by everybody."""


def send_to_server(options: argparse.Namespace) -> int:
    """Ask the page of a master as a user of it; what is nowhere is told by the try's run."""
    parse_pairs(options.replace)
    user = options.user or getpass.getuser()
    password = os.environ.get(PASSWORD) or getpass.getpass(f"password of {user}: ")
    page = Page(options.server, user=user, password=password)
    _, requests = page.control(
        "forceschedulers/try",
        "force",
        replace=", ".join(options.replace),
        rebuild=", ".join(options.rebuild),
        targets=", ".join(options.target),
        suites=", ".join(options.suite),
    )
    server = options.server.rstrip("/")
    places = [f"{server}/#/buildrequests/{one}" for one in requests.values()]
    if options.json:
        print(json.dumps({"requests": places}, indent=2))
    else:
        print("the server has written it down as a try of", user)
        print("\n".join(f"next: {place}" for place in places))
    return EXIT_PASSED


def send(house: House, sink: TerminalSink, options: argparse.Namespace) -> int:
    """Record a try; a master that is up starts it at once. What is nowhere is told now."""
    pairs = parse_pairs(options.replace)
    with live(sink):
        house.manifest = line_snapshot(newest_start(house)).manifest
        check_names(house.manifest, (*pairs, *options.rebuild))
        swap = swap_of(house, pairs, directories=False)
        wish = wish_of(options, swap, by=getpass.getuser())
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
