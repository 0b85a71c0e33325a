# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tiny's first process does with what services say, however much that is."""

import struct
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from tests import tiny_init
from tests.tiny_init import running

_MIB = 1024**2
_FLOOD = f"exec yes {'0123456789abcdef' * 20}"
_STAYS = "\nexec sleep 5417"


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program, compiled."""
    return tiny_init.compiled(tmp_path_factory.mktemp("init") / "sources", log=Log())


def test_what_a_service_says_while_it_runs_is_heard_whole(
    init: Path, tmp_path: Path, log: Log
) -> None:
    line = "as long as it is, and no whole number of an input device's events"
    with running(init, {"talker": f'echo "{line}"{_STAYS}'}, tmp_path, log=log) as tiny:
        tiny.wait(lambda: tiny.said("talker") == [line], "the line")


def test_a_service_cannot_press_the_power_button(init: Path, tmp_path: Path, log: Log) -> None:
    key, power = 1, 116
    pressed = struct.pack("llHHi", 0, 0, key, power, 1)
    scripts = {"presser": f"cat /shared/pressed; echo; echo done{_STAYS}"}
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/pressed").write_bytes(pressed)
    with running(init, scripts, tmp_path, log=log) as tiny:
        tiny.wait(lambda: "done" in tiny.said("presser"), "the end of the bytes")
    assert not tiny.has_said("init", "powering down")


def test_a_flood_of_one_service_keeps_no_other_waiting(
    init: Path, tmp_path: Path, log: Log
) -> None:
    asked = f"until [ -e /shared/go ]; do sleep 0.05; done; echo I am heard{_STAYS}"
    with running(init, {"flood": _FLOOD, "other": asked}, tmp_path, log=log) as tiny:
        tiny.wait(lambda: tiny.received > _MIB, "the flood")
        (tiny.shared / "go").touch()
        tiny.wait(lambda: "I am heard" in tiny.said("other"), "the other service")
    assert tiny.garbage == 0
