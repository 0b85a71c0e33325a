# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the master's host does about remote workers: list them, take them back, serve them."""

import argparse
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from pipeline.cli.open import open_house
from pipeline.ports.dock import docking
from pipeline.ports.master_settings import read_master_settings
from pipeline.ports.worker_book import WorkerBook, WorkerNotes
from pipeline.words.errors import EXIT_PASSED, BadInput
from pipeline.words.records import to_json

_SHOWN = 10


def do_workers(options: argparse.Namespace) -> int:
    """List them, or one with all that it made; ``--back`` lets it work again."""
    house = open_house(options)
    book = WorkerBook(house.workdir)
    if options.back:
        if not options.name:
            raise BadInput("which one is to work again?", hint="ostci workers NAME --back")
        before = book.take_back(options.name)
        house.log.fact(f"{before.name} works again; it was set aside: {before.aside}")
    found = [book.read(options.name)] if options.name else book.all()
    if options.json:
        sys.stdout.write("[" + ",\n".join(to_json(one, indent=None) for one in found) + "]\n")
        return EXIT_PASSED
    if not found:
        sys.stdout.write("no remote worker has made anything yet\n")
    for one in found:
        _print(one, whole=bool(options.name))
    return EXIT_PASSED


def _print(notes: WorkerNotes, *, whole: bool) -> None:
    state = f"set aside since {_when(notes.since)}: {notes.aside}" if notes.aside else "works"
    sys.stdout.write(f"{notes.name}: {state}; {len(notes.made)} artifacts came from it\n")
    for one in notes.made if whole else notes.made[-_SHOWN:] if notes.aside else ():
        sys.stdout.write(f"  {_when(one.when)} {one.run} {one.component} {one.key}\n")


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(seconds))


def do_dock(options: argparse.Namespace) -> int:
    """Serve until somebody stops it."""
    house = open_house(options)
    home: Path = options.dir or house.workdir.root / "buildbot" / "master"
    remote = read_master_settings(home.resolve()).remote
    with ExitStack() as stack:
        if remote.local is not None:
            mine = {remote.local.name: remote.local.password}
            url = stack.enter_context(
                docking(
                    remote.local_dock,
                    house.workdir,
                    passwords=mine,
                    certificate=None,
                    log=house.log,
                )
            )
            print(f"the local worker pulls from {url}", flush=True)
        if remote.others:
            url = stack.enter_context(
                docking(
                    remote.dock,
                    house.workdir,
                    passwords={one.name: one.password for one in remote.others},
                    certificate=remote.certificate,
                    log=house.log,
                )
            )
            print(f"remote workers pull from {url}", flush=True)
        threading.Event().wait()
    return EXIT_PASSED
