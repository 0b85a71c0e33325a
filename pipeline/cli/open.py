# SPDX-License-Identifier: LGPL-2.1-or-later
"""Open the work directory that a command is about, with a log on the terminal."""

import argparse

from pipeline.cli.house import House, find_root
from pipeline.cli.terminal import TerminalSink, stdout_sink
from pipeline.ports.log import Log


def open_house(options: argparse.Namespace) -> House:
    """Open the work directory; raises BadInput where there is none."""
    return open_with_sink(options)[0]


def open_with_sink(options: argparse.Namespace) -> tuple[House, TerminalSink]:
    """Open the work directory and tell also where its log is shown."""
    sink = stdout_sink(verbose=options.verbose)
    return House(find_root(options.workdir), log=Log(sink)), sink
