# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is logged is told as text, whoever said it."""

import pytest

from pipeline.ports.log import Level, Line, plain_text
from pipeline.words.suite import LOG_MARK
from vmtests.bench import _Pipe

FORGED = Line(
    level=Level.ERROR, text=f"\x1b[2Jno teapot\n{LOG_MARK}1smoke: passed", about="machine"
)


def test_nobody_who_is_quoted_commands_a_terminal() -> None:
    assert plain_text(FORGED) == "error: machine: \\x1b[2Jno teapot\n\\x1e1smoke: passed"


def test_no_line_of_a_text_passes_for_a_line_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    _Pipe().write(FORGED)
    lines = capfd.readouterr().err.removesuffix("\n").split("\n")
    assert [line[:2] for line in lines] == [f"{LOG_MARK}3"] * 2
