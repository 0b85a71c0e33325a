# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checkpoints and what goes on from them, with real machines."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.house import init
from pipeline.ports import checkpoint
from pipeline.ports.log import ListSink, Log
from pipeline.stages.test import TestRequest, checkpoints, run_suite
from pipeline.words.picture import Shows, shows
from pipeline.words.png import read_png
from pipeline.words.verdict import SuiteResult, Verdict
from tests.guests import fault, guest_request
from tests.person import person
from tests.work import TINY, TOP, ostci_argv
from vmtests.evidence import FINAL

pytestmark = [pytest.mark.vm, pytest.mark.slow]
SUITES = Path(__file__).parent / "suites"


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A work directory whose cache has the checkpoint that the first test leaves."""
    root = tmp_path_factory.mktemp("forks") / "work"
    init(root, TINY)
    yield root
    shelf = checkpoint.Shelf(checkpoints(root / "cache"), log=Log())
    assert all(shelf.remove(name) for name in shelf.names())


def run(house: Path, suite: str, log: Log, **more: object) -> SuiteResult:
    found = guest_request({}, house / "evidence", log=log)
    request: TestRequest = replace(found, suite=suite, suites=SUITES, **more)  # type: ignore[arg-type]
    return run_suite(request, cache=house / "cache", tmp=house / "tmp", log=log)


def boots(sink: ListSink) -> int:
    """Count the cold boots."""
    return sum(1 for line in sink.texts() if ": boot done in" in line)


def damage(path: Path) -> None:
    """Change some bytes in the midst of a file, which stays as large as it is."""
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"damage" * 1000)


def test_forks_are_apart_and_right_and_the_next_suite_finds_the_checkpoint(
    house: Path, log: Log, sink: ListSink
) -> None:
    first = run(house, "forks/test_forks", log)
    bad = [(one.name, one.message) for one in first.tests if one.verdict is not Verdict.PASSED]
    assert (first.verdict, bad) == (Verdict.PASSED, [])
    # To make it, after the reboot, and the cold one.
    assert boots(sink) == 3
    assert (house / "evidence/tests/test_the_clock_is_right/journal.json").is_file()
    sink.lines.clear()
    again = run(house, "forks/test_the_clock_is_right", log)
    told = [line for line in sink.texts() if "checkpoint" in line]
    assert (again.verdict, boots(sink)) == (Verdict.PASSED, 0), told


def test_a_damaged_checkpoint_is_told_and_costs_a_boot(
    house: Path, log: Log, sink: ListSink
) -> None:
    shelf = checkpoint.Shelf(checkpoints(house / "cache"), log=log)
    (name,) = shelf.names()
    ram = Path(json.loads((shelf.directory / name / "record.json").read_text())["ram"])
    damage(ram)
    result = run(house, "forks/test_the_clock_is_right", log)
    assert (result.verdict, boots(sink)) == (Verdict.PASSED, 1)
    assert any("its memory is not what was saved" in line for line in sink.texts())
    assert not ram.exists()


def test_a_machine_that_is_lost_is_trouble_and_one_that_ends_itself_is_not(
    house: Path, log: Log
) -> None:
    lost = run(house, "forks/test_that_loses_its_qemu", log)
    assert (lost.verdict, lost.message) == (
        Verdict.TROUBLE,
        "fork1: QEMU was killed, or died of its own",
    )
    ended = run(house, "forks/test_that_powers_off", log)
    assert (ended.verdict, ended.cause) == (Verdict.FAILED, "powered-off")


def test_the_machine_of_a_failed_test_can_be_entered(house: Path, log: Log) -> None:
    result = run(house, "forks/test_that_fails", log, failures_s=3600.0)
    assert result.verdict is Verdict.FAILED
    (kept,) = json.loads(attach(house, "--list", "--json").stdout)
    assert (kept["suite"], kept["test"]) == ("forks", "test_that_fails")
    visit = attach(
        house,
        "x86_64-guest",
        "--suite",
        "forks/test_that_fails",
        lines="cat /run/clue\ncd /var\npwd\n",
    )
    assert visit.returncode == 0, visit.stderr
    assert visit.stdout.endswith("it was here\n/var\n")
    assert attach(house, "x86_64-guest", lines="true\nfalse\n").returncode == 1
    # What the boot said before the fork; by the console one leaves as from telnet.
    console = attach(house, "x86_64-guest", "--console", lines="\x1d")
    assert (console.returncode, "init" in console.stdout) == (0, True), console
    none = attach(house, "x86_64-guest", "--suite", "forks/test_other")
    assert none.returncode == 2
    assert "no machine of x86_64-guest forks/test_other is kept" in none.stderr
    assert "kept are: 20260101.0/x86_64-guest/forks/test_that_fails" in none.stderr


# It is painted when the checkpoint is on its way, of which the program is left that wakes copies.
PAINTS_LATE = fault(
    "early() { dmesg -n 1; }\n"
    "target() { printf '\\033c' >/dev/tty0; reached $UNIT; }\n"
    "late() { while [ ! -e /run/ostci-shell/wake ]; do :; done; echo guest login: >/dev/tty0; }"
)


def test_the_last_picture_of_a_boot_is_taken_when_its_checkpoint_is(
    tmp_path: Path, log: Log
) -> None:
    request = guest_request(PAINTS_LATE, tmp_path / "evidence", log=log)
    request = replace(request, leaves_checkpoint=True)
    result = run_suite(request, cache=tmp_path / "cache", tmp=tmp_path / "tmp", log=log)
    shelf = checkpoint.Shelf(checkpoints(tmp_path / "cache"), log=log)
    assert (result.verdict, [shelf.remove(name) for name in shelf.names()]) == ("passed", [True])
    assert shows(read_png((tmp_path / "evidence" / FINAL).read_bytes())) is Shows.TEXT


CONSOLE_ALONE = fault(
    "shell() { :; }\n"
    "services() { echo it was said >/dev/ttyS0; }\n"
    "target() { start_failed $UNIT timeout; }\n"
    "rest() { while :; do setsid sh -c 'exec sh </dev/ttyS0 >/dev/ttyS0 2>&1'; done; }"
)


def test_a_machine_without_a_shell_is_entered_by_its_console(tmp_path: Path, log: Log) -> None:
    house = tmp_path / "work"
    init(house, TINY)
    request = guest_request(CONSOLE_ALONE, house / "evidence", log=log)
    request = replace(request, failures_s=3600.0)
    result = run_suite(request, cache=house / "cache", tmp=house / "tmp", log=log)
    assert (result.verdict, result.cause) == (Verdict.FAILED, "target-missed")
    by_shell = attach(house, "x86_64-guest", lines="true\n")
    assert by_shell.returncode == 1
    assert "the guest's shell does not answer" in by_shell.stderr
    words = f"attach 20260101.0/x86_64-guest/smoke/{name_of_kept(house)} --console"
    assert f"ostci -C {house} {words}" in by_shell.stderr
    with person(ostci_argv(house, *words.split()), cwd=TOP) as somebody:
        before = somebody.settings()
        somebody.wait_for("Ctrl-] leaves")
        somebody.wait_for("it was said")
        somebody.wait_for("[here it goes on]")
        somebody.type("echo $((6 * 7))th; cat /proc/1/comm\n")
        somebody.wait_for("42th")
        assert somebody.settings() != before
        somebody.seen = ""
        somebody.type("reboot -f\n")
        somebody.wait_for("[the guest reboots")
        somebody.wait_for("it was said")
        somebody.type("\x1d")
        somebody.wait_for("[left]")
        somebody.child.wait(60.0)
        assert somebody.settings() == before
    assert somebody.child.returncode == 0


def test_a_machine_whose_boot_came_to_nothing_still_has_its_shell(tmp_path: Path, log: Log) -> None:
    house = tmp_path / "work"
    init(house, TINY)
    missed = fault("target() { start_failed $UNIT timeout; }")
    request = replace(guest_request(missed, house / "evidence", log=log), failures_s=3600.0)
    request = replace(request, suite="forks/test_that_fails", suites=SUITES)
    result = run_suite(request, cache=house / "cache", tmp=house / "tmp", log=log)
    assert (result.verdict, result.cause) == (Verdict.FAILED, "target-missed")
    visit = attach(house, "x86_64-guest", lines="echo $((6 * 7))th\n")
    assert (visit.returncode, visit.stdout[-5:]) == (0, "42th\n"), visit.stderr


def name_of_kept(house: Path) -> str:
    """Name the test whose machine is kept."""
    (kept,) = json.loads(attach(house, "--list", "--json").stdout)
    return str(kept["test"])


def attach(house: Path, *words: str, lines: str = "") -> "subprocess.CompletedProcess[str]":
    argv = ostci_argv(house, "attach", *words)
    return subprocess.run(
        argv, input=lines, capture_output=True, text=True, cwd=TOP, timeout=600, check=False
    )
