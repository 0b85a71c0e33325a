# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is logged is told as text, whoever said it."""

import re
from contextlib import suppress

import pytest

from pipeline.ports.log import Level, Line, ListSink, Log, plain_text, written
from pipeline.words.errors import BadInput, Failed, Interrupted, Trouble
from pipeline.words.suite import LOG_MARK
from vmtests.bench import _Pipe

FORGED = Line(
    level=Level.ERROR, text=f"\x1b[2Jno teapot\n{LOG_MARK}1smoke: passed", about="machine"
)


def test_nobody_who_is_quoted_commands_a_terminal() -> None:
    assert plain_text(FORGED) == "error: machine: \\x1b[2Jno teapot\n\\x1e1smoke: passed"


def test_no_line_of_a_text_passes_for_a_line_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    _Pipe().write(FORGED)
    said = capfd.readouterr().err
    assert said.count("\n") == said.count(LOG_MARK) == 1
    sink = ListSink()
    Log(sink).relay(said.removeprefix(LOG_MARK))
    assert sink.lines == [FORGED]


def test_what_another_process_logs_is_within_the_step_that_waits_for_it() -> None:
    theirs, ours = ListSink(), ListSink()
    with Log(theirs).step("boot", about="machine"):
        pass
    log = Log(ours)
    with log.step("smoke"):
        for line in theirs.lines:
            log.relay(written(line))
    assert [plain_text(line)[:15] for line in ours.lines[1:3]] == [
        "  machine: boot",
        "  machine: boot",
    ]
    assert [line.began for line in ours.lines] == [True, True, False, False]


@pytest.mark.parametrize("data", ["", "1smoke: passed", "[]", "{}", '{"level": 1, "text": "a"}'])
def test_what_is_no_line_of_a_log_is_refused(data: str) -> None:
    with pytest.raises(ValueError, match=r"line of a log|Expecting|Extra data"):
        Log(ListSink()).relay(data)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (None, "done in"),
        (Failed("it does not compile"), "FAILED in"),
        (BadInput("no such tree"), "FAILED in"),
        (AssertionError("not passed"), "FAILED in"),
        (Trouble("no room"), "in trouble after"),
        (Interrupted("cancelled by me"), "stopped after"),
        (KeyboardInterrupt(), "stopped after"),
    ],
)
def test_a_step_says_whether_it_failed_was_stopped_or_had_no_machine(
    error: BaseException | None, told: str
) -> None:
    sink = ListSink()
    with suppress(*() if error is None else (type(error),)), Log(sink).step("build zlib"):
        if error is not None:
            raise error
    assert re.fullmatch(rf"build zlib {told} \d+\.\d s", plain_text(sink.lines[-1]))
    Log(theirs := ListSink()).relay(written(sink.lines[-1]))
    assert theirs.lines == sink.lines[-1:]


def test_a_step_that_was_done_elsewhere_tells_what_it_took_there() -> None:
    sink = ListSink()
    with Log(sink).step("one of several at once") as step:
        step.seconds = 100.4
    assert plain_text(sink.lines[-1]) == "one of several at once done in 100.4 s"
