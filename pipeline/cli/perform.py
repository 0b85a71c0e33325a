# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci perform``: on a worker, one whole job: ``fetch``, the stage itself, ``offer``.

What a command costs is mostly its start; each of the three can still be given alone. It ends as
the stage did, and packs what passed or failed; what was trouble leaves nothing to send.
"""

import argparse
import json
import sys

from pipeline import __version__
from pipeline.cli.assigned import job_of
from pipeline.cli.fetch import fetch
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import EXIT_PASSED, Failed, Trouble


def do_perform(options: argparse.Namespace) -> int:
    """Bring what the job needs, do it, and pack what it made."""
    job = job_of(options)
    if not fetch(options):
        return EXIT_PASSED
    if options.verb == "test":
        _make_disk(options)
    failed: Failed | None = None
    try:
        _give(options, _stage(options))
    except Failed as error:
        failed = error
    words = [*("offer", job.verb, *job.what[:1], "--run", options.run)]
    words += ["--suite", options.suite] if options.suite else []
    _give(options, [*words, "--into", str(options.into), "--most", str(options.most)])
    # Whoever sends the file looks for this: another's may lie in its place.
    sys.stdout.write(json.dumps({"offered": str(options.into)}) + "\n")
    sys.stdout.flush()
    if failed is not None:
        raise failed
    return EXIT_PASSED


def _make_disk(options: argparse.Namespace) -> None:
    """Make the disk where it is booted: it is a matter of seconds, and of gigabytes to send.

    One was made on the master's host before, and is copied where that is this one. Whatever goes
    wrong here is this machine's trouble.
    """
    beside = ["--beside", str(Workdir(options.beside.parent).disks)] if options.beside else []
    try:
        _give(options, ["disk", *options.what, "--run", options.run, *beside])
    except Failed as error:
        raise Trouble(f"no disk here of what there is one of: {error.what}") from error


def _stage(options: argparse.Namespace) -> list[str]:
    """Write the stage as it is given on the master's host."""
    suite = ["--suite", options.suite] if options.suite else []
    return [options.verb, *options.what, *suite, "--run", options.run]


def _give(options: argparse.Namespace, words: list[str]) -> None:
    """Give a command in this process; raises what it ends with."""
    from pipeline.cli.verbs import build_parser

    workdir = ["-C", str(options.workdir)] if options.workdir else []
    wait = ["--wait", str(options.wait)] if options.wait else []
    given = build_parser(__version__).parse_args([*workdir, *words, *wait])
    given.verbose = options.verbose
    given.handler(given)
