# SPDX-License-Identifier: LGPL-2.1-or-later
"""Options that several verbs of ``ostci`` have."""

import argparse
from collections.abc import Callable

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
