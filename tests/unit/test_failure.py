# SPDX-License-Identifier: LGPL-2.1-or-later
"""A failed test is described by its own frames and what it says, within bounds."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from pipeline.ports.log import Level, ListSink, Log
from vmtests.failure import described, tell

SUITE = """\
from pathlib import Path

def shows(count):
    Path("/").joinpath(*range(count))

def test_it():
    shows(1)
"""


def test_frames_are_the_tests_own_and_not_those_of_what_it_called(tmp_path: Path) -> None:
    path = tmp_path / "suites" / "smoke" / "test_it.py"
    path.parent.mkdir(parents=True)
    path.write_text(SUITE)
    spec = spec_from_file_location("suite_of_this_test", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(TypeError) as caught:
        module.test_it()
    told = described(caught.value, path.parent)
    assert told[:4] == [
        "suites/smoke/test_it.py:7 in test_it",
        "    shows(1)",
        "suites/smoke/test_it.py:4 in shows",
        '    Path("/").joinpath(*range(count))',
    ]
    assert len(told) == 5 and "int" in told[4]
    assert sys.modules.get("suite_of_this_test") is None


def test_what_is_said_is_cut() -> None:
    told = described(AssertionError("\n".join("x" * 1000 for _ in range(100))), Path("/none"))
    assert len(told) == 21 and told[-1] == "… 80 more lines"
    assert max(map(len, told)) == 300


def test_the_last_words_stand_below_their_titles() -> None:
    sink = ListSink()
    tell(["a.py:1 in test_a"], "console:\nbad\njournal:\n  1.0 x: y", Log(sink))
    assert [line.text for line in sink.lines] == [
        "  a.py:1 in test_a",
        "  last lines of the console:",
        "    bad",
        "  last lines of the journal:",
        "      1.0 x: y",
    ]
    assert {line.level for line in sink.lines} == {Level.FACT}
