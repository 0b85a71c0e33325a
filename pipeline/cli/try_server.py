# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci try --server``: have the master of a server do a try, as a user of its page."""

import argparse
import getpass
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.cli.follow import Followed
from pipeline.cli.terminal import TerminalSink, live, stdout_sink
from pipeline.cli.try_follow import raise_as, tell_done, wait_a_little, waiting
from pipeline.cli.try_remote import directories_of, packed_directory
from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.ports.page import Page
from pipeline.ports.sent import PIECE, Packed
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import EXIT_PASSED, Interrupted, Trouble
from pipeline.words.records import from_plain, to_json
from pipeline.words.told import ToldTry
from pipeline.words.wish import parse_pairs, sent_text

PASSWORD = "OSTCI_PASSWORD"
"""The variable of the environment with the password: a command line is seen by everybody."""
_LOOK_S = 1.0
_MOST_FAILURES = 30
"""So often in a row may the page not answer while a try is followed: a master may start anew."""


def send_to_server(options: argparse.Namespace) -> int:
    """Ask the page of a master as a user of it; what is nowhere is told by the try's run."""
    pairs = parse_pairs(options.replace)
    user = options.user or getpass.getuser()
    password = os.environ.get(PASSWORD) or getpass.getpass(f"password of {user}: ")
    page = Page(options.server, user=user, password=password)
    sink = stdout_sink(verbose=options.verbose)
    log = Log(sink)
    with live(sink):
        given = {**pairs, **_sent(page, pairs, log)}
        buildset, requests = page.control(
            "forceschedulers/try",
            "force",
            replace=", ".join(f"{name}={what}" for name, what in given.items()),
            rebuild=", ".join(options.rebuild),
            targets=", ".join(options.target),
            suites=", ".join(options.suite),
        )
        if options.follow:
            _follow(page, sink, log, buildset, as_json=options.json)
            return EXIT_PASSED
    server = options.server.rstrip("/")
    places = [f"{server}/#/buildrequests/{one}" for one in requests.values()]
    if options.json:
        print(json.dumps({"requests": places}, indent=2))
    else:
        print("the server has written it down as a try of", user)
        print("\n".join(f"next: {place}" for place in places))
    return EXIT_PASSED


# Directories


def _sent(page: Page, pairs: Mapping[str, str], log: Log) -> dict[str, str]:
    """Send what is given as a directory; tells what stands for each."""
    found = {}
    for component, place in directories_of(pairs).items():
        with tempfile.TemporaryDirectory(prefix="ostci-send-") as name:
            packed = packed_directory(component, place, Path(name), log=log)
            with log.step("send its files", about=component):
                _send(page, packed)
        found[component] = sent_text(packed.id, packed.revision, place.name)
    return found


def _send(page: Page, packed: Packed) -> None:
    """Send it piece by piece; the page takes no long bodies, and tells how much it has."""
    at = 0
    with packed.path.open("rb") as file:
        while at < packed.size:
            file.seek(at)
            path = f"tries/sent/{packed.id}?at={at}&size={packed.size}"
            here = int(page.ask("PUT", path, file.read(PIECE))["here"])
            if here <= at:
                raise Trouble(f"the page has {here} bytes of it, and takes no more")
            at = here


# Going along


def _push_of(page: Page, buildset: int | None) -> int:
    """Find the push that a set of requests is for."""
    if buildset is None:
        raise Trouble("the server has written it down, and starts it later", hint="see its page")
    (found,) = page.ask("GET", f"api/v2/buildsets/{buildset}")["buildsets"]
    return int(found["external_idstring"].rpartition("-")[2])


def _follow(
    page: Page, sink: TerminalSink, log: Log, buildset: int | None, *, as_json: bool
) -> None:
    try:
        push = _push_of(page, buildset)
        with tempfile.TemporaryDirectory(prefix="ostci-try-") as name:
            told = _wait(page, sink, log, push, Path(name))
    except (KeyboardInterrupt, Interrupted):
        push = _push_of(page, buildset)
        page.ask("POST", f"tries/{push}/cancel", b"{}")
        log.fact(f"the server is told to cancel it: push {push}")
        raise
    print(json.dumps(told.facts, indent=2) if as_json else "\n".join(_words(push, told)))
    if told.record is None:
        raise Trouble(told.message or f"push {push} is {told.state}")
    raise_as(told.record.ending, told.record.message)


def _wait(page: Page, sink: TerminalSink, log: Log, push: int, place: Path) -> ToldTry:
    """Show the run's stages as its log comes, until the try has its ending."""
    # As if the run were here: what follows a run reads these files.
    run = RunDir(version="", path=place)
    followed, at, failures, known = Followed(run, sink.running), 0, 0, ""
    with waiting(sink, f"push {push}"), run.log.open("ab") as file:
        while True:
            try:
                answer = page.ask("GET", f"tries/{push}?at={at}")
            except Trouble:
                failures += 1
                if failures > _MOST_FAILURES:
                    raise
                wait_a_little(_LOOK_S)
                continue
            failures, told = 0, from_plain(ToldTry, answer, where=f"tries/{push}")
            if told.run != known:
                # An attempt that was in trouble is followed by one in a run of its own.
                log.fact(f"push {push} is run {told.run}")
                known, at = told.run, 0
                continue
            file.write(told.log.encode())
            file.flush()
            at = told.at
            if told.record is not None:
                write_text(run.file("run"), to_json(told.record), flush=False)
            tell_done(log, followed.look())
            if told.is_over and not told.log:
                tell_done(log, followed.look())
                return told
            if not told.log:
                wait_a_little(_LOOK_S)


def _words(push: int, told: ToldTry) -> Iterator[str]:
    ending = told.record.ending if told.record else told.state
    yield f"try {told.run or f'push {push}'} of the server: {ending}"
    facts = told.facts
    for one in facts.get("replaced", ()):
        yield f"  replaced  {one['component']}: {one['given']} at {one['revision'][:12]}"
    for name, one in facts.get("rebuilt", {}).items():
        yield f"  {one['outcome']:<8}  {name}: {'; '.join(one['reasons'])}"
    if "kept" in facts:
        yield f"  kept      {facts['kept']} components"
    for tree in facts.get("trees", ()):
        yield f"  composed  {tree['ref']} {tree['commit'][:12]}"
    for suite in facts.get("suites", ()):
        yield f"  {suite['verdict']:<8}  {suite['suite']} on {suite['tree']}"
