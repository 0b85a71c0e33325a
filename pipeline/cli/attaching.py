# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci attach``: into the machine of a test, as it was when the test failed.

By the fixture's shell, or by the serial console where that one does not answer.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from pipeline.cli.builder import go_on, go_on_as_builder
from pipeline.cli.house import House
from pipeline.cli.open import open_with_sink
from pipeline.cli.repair import locked
from pipeline.cli.terminal import live
from pipeline.ports import process
from pipeline.ports.checkpoint import Shelf
from pipeline.ports.domain import confined
from pipeline.ports.files import shared_place, write_text
from pipeline.ports.worker_user import HOME as BUILDER
from pipeline.ports.worker_user import in_builder
from pipeline.stages.test import failures, suites_path
from pipeline.words.errors import EXIT_PASSED, BadInput, Trouble
from pipeline.words.kept import KeptMachine
from pipeline.words.records import from_json

_SOCKETS = "ostci-boot-"
_WAIT_S = 10.0


def do_attach(options: argparse.Namespace) -> int:
    """Enter a kept machine; nothing that is done there outlives the visit."""
    house, sink = open_with_sink(options)
    with locked(house, "ostci attach", wait_s=_WAIT_S):
        shelf = Shelf(failures(house.workdir.cache), log=house.log)
        ours = list(kept(shelf))
        # Under a master of root suites run there, and what failed is kept there.
        theirs = _of_builder(house)
        found = sorted([*ours, *theirs], key=lambda one: one.since, reverse=True)
        if options.list or options.json:
            _list(found, as_json=options.json)
            return EXIT_PASSED
        if not found and os.geteuid() != 0 and _builder(house).is_dir():
            in_builder(house.workdir.root, ["attach", "--list"])  # says who has to look there
        chosen = _chosen(options, found, house)
        if chosen not in ours:
            return go_on_as_builder(house, _words(chosen, console=options.console))
        if not (chosen.has_shell or options.console):
            console = house.command(*_words(chosen, console=True))
            house.log.warning(f"its shell had not answered yet; its console: {console}")
        told = f"{chosen.tree} {chosen.suite}/{chosen.test} of run {chosen.run}"
        at = "its suite had ended" if chosen.is_of_its_end else "it had failed"
        with shelf.use(chosen.key) as checkpoint:
            if checkpoint is None:
                raise Trouble(f"the machine of {told} is damaged", hint=_again(chosen, house))
            leaves = "Ctrl-]" if options.console else "Ctrl-D"
            house.log.fact(f"{told}, when {at}; {leaves} leaves")
            with live(sink):
                scratch = house.tmp / "attach"
                scratch.mkdir()
            with shared_place(Path("/tmp"), _SOCKETS) as sockets:
                return _enter(checkpoint.directory, sockets, scratch, house, options.console)


def kept(shelf: Shelf) -> Iterator[KeptMachine]:
    """Find the machines that are kept."""
    for key in shelf.names():
        path = shelf.directory / key / "machine.json"
        if path.is_file():
            yield from_json(KeptMachine, path.read_bytes(), where=str(path))


def _of_builder(house: House) -> list[KeptMachine]:
    """Find those that the worker of this machine keeps, which nobody but root may look at."""
    if os.geteuid() != 0 or not (_builder(house) / "work").is_dir():
        return []
    argv = in_builder(house.workdir.root, ["attach", "--json"])
    said = process.run(argv, log=house.log, cwd=Path("/")).stdout
    return [from_json(KeptMachine, json.dumps(one)) for one in json.loads(said)]


def _builder(house: House) -> Path:
    return house.workdir.root / "buildbot" / BUILDER


def _list(found: list[KeptMachine], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(one.since))
        how = "" if one.has_shell else " --console"
        print(f"{when}  {one.run}/{one.tree}/{one.suite}/{one.test}{how}")
    if not found:
        print("no machine is kept")


def _chosen(options: argparse.Namespace, found: list[KeptMachine], house: House) -> KeptMachine:
    """Choose the newest that is meant; raises BadInput where there is none."""
    for one in found:
        if one.is_meant(options.what, options.suite) and options.run in (None, one.run):
            return one
    words = (options.run or "", options.what, options.suite)
    meant = " ".join(word for word in words if word) or "any test"
    hours = house.settings.keep_machines_h
    why = f"it did not fail, or failed more than {hours} hours ago, or elsewhere"
    hint = "; ".join(f"{one.run}/{one.tree}/{one.suite}/{one.test}" for one in found[:5])
    raise BadInput(
        f"no machine of {meant} is kept: {why}",
        hint=f"kept are: {hint}" if hint else "a test that fails leaves one: ostci test",
    )


def _again(chosen: KeptMachine, house: House) -> str:
    return house.command("test", chosen.tree, "--suite", f"{chosen.suite}/{chosen.test}")


def _words(chosen: KeptMachine, *, console: bool) -> list[str]:
    """Write the command that enters just this machine."""
    words = ["attach", f"{chosen.run}/{chosen.tree}/{chosen.suite}/{chosen.test}"]
    return [*words, "--console"] if console else words


def _enter(directory: Path, sockets: Path, scratch: Path, house: House, is_console: bool) -> int:
    """Let a process of its own hold the machine: it has an empty network and dies with it."""
    file = scratch / "visit.json"
    visit = {
        "directory": str(directory),
        "sockets": str(sockets),
        "scratch": str(scratch),
        "machines": house.settings.machines,
        "log": str(house.tmp / "attach.log"),
        "console": is_console,
    }
    write_text(file, json.dumps(visit))
    argv = confined([sys.executable, "-m", "vmtests.attach", file], serves=True)
    return go_on(argv, house, cwd=suites_path().parent)
