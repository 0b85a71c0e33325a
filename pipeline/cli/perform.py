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
from pipeline.words.errors import EXIT_PASSED, Failed


def do_perform(options: argparse.Namespace) -> int:
    """Bring what the job needs, do it, and pack what it made."""
    job = job_of(options)
    if not fetch(options):
        return EXIT_PASSED
    failed: Failed | None = None
    try:
        for words in _stages(options):
            _give(options, words)
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


def _stages(options: argparse.Namespace) -> list[list[str]]:
    """Write the commands of a job as they are given on the master's host.

    A disk is made where it is booted: it is a matter of seconds, and of gigabytes to send.
    """
    (name,) = options.what
    if options.verb == "build":
        return [["build", name, "--run", options.run]]
    test = ["test", name, "--suite", options.suite, "--run", options.run]
    return [["disk", name, "--run", options.run], test]


def _give(options: argparse.Namespace, words: list[str]) -> None:
    """Give a command in this process; raises what it ends with."""
    from pipeline.cli.verbs import build_parser

    workdir = ["-C", str(options.workdir)] if options.workdir else []
    wait = ["--wait", str(options.wait)] if options.wait else []
    given = build_parser(__version__).parse_args([*workdir, *words, *wait])
    given.verbose = options.verbose
    given.handler(given)
