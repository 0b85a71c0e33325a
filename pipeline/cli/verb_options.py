# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options that several verbs of ``ostci`` have."""

import argparse
from collections.abc import Callable
from pathlib import Path

Parser = argparse.ArgumentParser
Verb = tuple[str, str, str, str, Callable[[Parser], None]]
"""Name, module (it has ``do_NAME``), help, example, and what adds its options."""


def json_option(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for a program")


def run_option(parser: Parser) -> None:
    parser.add_argument("--run", metavar="VERSION", help="the run to work in (the last one)")


def wait_option(parser: Parser) -> None:
    parser.add_argument(
        "--wait",
        type=float,
        metavar="SECONDS",
        help="how long to wait for another ostci that holds what is wanted (not at all), and for"
        " earlier runs to compose (a day)",
    )


def no_options(_parser: Parser) -> None:
    return


def part_options(parser: Parser) -> None:
    parser.add_argument(
        "--target", action="append", default=[], metavar="NAME", help="only this target (all)"
    )
    parser.add_argument(
        "--suite", action="append", default=[], metavar="NAME", help="only this suite (the gate's)"
    )


def try_options(parser: Parser) -> None:
    parser.add_argument(
        "replace",
        nargs="*",
        metavar="COMPONENT=DIR|BRANCH|REVISION",
        help="take a component from a directory, with what is not committed, or from a branch or"
        " revision of its repository",
    )
    parser.add_argument(
        "--rebuild", action="append", default=[], metavar="NAME", help="build it in any case"
    )
    parser.add_argument(
        "--from",
        dest="source",
        metavar="URL",
        help="here, on base and artifacts of a server's promoted tree; a work directory that is"
        " named and not there is made",
    )
    parser.add_argument(
        "--tree", metavar="RUN|COMMIT", help="of that server's run or tree (the newest promoted)"
    )
    parser.add_argument("--key", type=Path, metavar="FILE", help="the key that server signs with")
    parser.add_argument(
        "--trust", action="store_true", help="trust the key that it shows, from now on"
    )
    parser.add_argument(
        "--remote",
        action="store_true",
        help="let the master of this work directory do it; a directory is sent there as it is",
    )
    parser.add_argument(
        "--follow",
        action="store_true",
        help="with --remote or --server: show how it goes, and end as it ends; Ctrl-C cancels it",
    )
    parser.add_argument(
        "--server", metavar="URL", help="let the master with this page do it, such as https://ci/"
    )
    parser.add_argument(
        "--user", metavar="NAME", help="a developer there (you); $OSTCI_PASSWORD has the password"
    )
    part_options(parser)
    wait_option(parser)
    json_option(parser)
