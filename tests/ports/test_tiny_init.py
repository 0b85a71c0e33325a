# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tiny's first process does with what services say, however much that is."""

import struct
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.words import journal
from pipeline.words.journal import parse_entry
from tests import tiny_init
from tests.tiny_init import TinyInit, running

_MIB = 1024**2
_FLOOD = f"exec yes {'0123456789abcdef' * 20}"
_LINES = 40_000
_MUCH = f"yes {'0123456789abcdef' * 20} 2>/dev/null | head -n {_LINES}"
"""In a journal, eleven times what a service may say at once."""
_STAYS = "\nexec sleep 5417"
_FAILS = "\nexit 3"


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
        tiny.wait(lambda: _dropped(tiny, "flood") > 0, "what was dropped of it")
    ids = [one.message_id for one in tiny.entries]
    assert ids.index(journal.JOURNAL_DROPPED) < 4000, "entries of 560 bytes, up to 2 MiB"
    assert tiny.garbage == 0


def test_what_is_too_much_of_one_service_is_dropped_and_counted(
    init: Path, tmp_path: Path, log: Log
) -> None:
    scripts = {"ends": _MUCH + _FAILS, "falls-silent": _MUCH + _STAYS}
    with running(init, scripts, tmp_path, log=log) as tiny:
        tiny.wait(lambda: _ends(tiny) == {"ends.service"}, "the end of one")
        tiny.wait(lambda: _dropped(tiny, "falls-silent") > 0, "what was dropped of the other")
    for name in scripts:
        assert len(tiny.said(name)) > 3000
        assert len(tiny.said(name)) + _dropped(tiny, name) == _LINES


def test_a_journal_that_nobody_reads_keeps_its_newest(init: Path, tmp_path: Path, log: Log) -> None:
    names = [f"much-{number}" for number in range(12)]
    with running(init, dict.fromkeys(names, _MUCH + _FAILS), tmp_path, log=log) as tiny:
        tiny.wait(lambda: _ended(tiny.kept) == len(names), "their ends", reading=False)
        assert 8 * _MIB < tiny.kept.stat().st_size < 17 * _MIB
        oldest = parse_entry(tiny.kept.read_bytes().partition(b"\n")[0])
        tiny.wait(lambda: _ends(tiny) == {f"{name}.service" for name in names}, "them here")
    assert tiny.has_said("init", "Forgot")
    assert tiny.received < 17 * _MIB
    assert tiny.garbage <= 1, "what had begun to be sent"
    assert oldest in tiny.entries, "what follows that"


def test_a_journal_without_room_still_tells_the_host_what_happens(
    init: Path, tmp_path: Path, log: Log
) -> None:
    with running(init, {"much": _MUCH + _FAILS}, tmp_path, room=_MIB // 4, log=log) as tiny:
        tiny.wait(lambda: _ends(tiny) == {"much.service"}, "its end")
    assert tiny.has_said("init", "Forgot")
    assert len(tiny.said("much")) + _dropped(tiny, "much") < _LINES


def _dropped(tiny: TinyInit, name: str) -> int:
    """Tell how many lines of a service the journal says that it does not have."""
    ids = journal.JOURNAL_DROPPED
    found = [one for one in tiny.entries if one.message_id == ids and one.unit == f"{name}.service"]
    return sum(int(one.get("N_DROPPED")) for one in found)


def _ends(tiny: TinyInit) -> set[str]:
    return {one.unit for one in tiny.entries if one.message_id == journal.UNIT_FAILED}


def _ended(kept: Path) -> int:
    return kept.read_bytes().count(b"Failed with result") if kept.is_file() else 0
