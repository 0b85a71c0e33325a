# SPDX-License-Identifier: LGPL-2.1-or-later
"""The one door for programs: how to repeat them, and that nothing of them is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble


def test_the_line_that_repeats_a_command_does_what_the_command_did(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "WORD": "two words"}
    argv = ["sh", "-c", "echo $WORD; pwd; env | wc -l"]
    line = process.repeat_line(argv, cwd=tmp_path, env=env)
    first = process.run(argv, log=Log(), cwd=tmp_path, env=env).text
    again = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert again.stdout.strip() == first


def test_what_is_in_our_own_environment_is_not_written_into_logs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "secret-word")
    line = process.repeat_line(["true"], env={"TOKEN": "secret-word", "OTHER": "x"})
    assert "secret-word" not in line
    assert 'TOKEN="$TOKEN"' in line and "OTHER=x" in line
    line = process.repeat_line(["true"], env={**os.environ, "OTHER": "x"})
    assert line == "env OTHER=x true"


def test_a_program_that_fails_is_told_with_its_last_words_and_how_to_repeat_it() -> None:
    with pytest.raises(process.CommandError, match="exit code 3; the last word") as caught:
        process.run(["sh", "-c", "echo the last word >&2; exit 3"], log=Log())
    assert caught.value.hint.startswith("to repeat it: sh -c ")


def test_a_program_that_is_not_there_is_trouble() -> None:
    with pytest.raises(Trouble, match="no-such-program is not there"):
        process.run(["no-such-program"], log=Log())


def test_a_deadline_ends_a_program_and_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' & sleep 60"
    started = time.monotonic()
    with pytest.raises(process.CommandError, match="did not end within 4 s"):
        process.run(["sh", "-c", script], log=Log(), deadline_s=4.0)
    assert time.monotonic() - started < 50
    assert not is_running(int(pid.read_text()))


def test_what_a_killed_program_had_started_is_dead_when_that_is_told(tmp_path: Path) -> None:
    begun = 0
    for number in range(30):
        pid = tmp_path / f"pid-{number}"
        script = f"setsid sh -c 'echo $$ > {pid}; exec sleep 60' & sleep 60"
        with pytest.raises(process.CommandError):
            process.run(["sh", "-c", script], log=Log(), deadline_s=0.005 * 1.17**number)
        told = pid.read_text().strip() if pid.is_file() else ""
        begun += bool(told)
        assert not told or not is_running(int(told))
    assert begun > 0, "all were killed before they had started anything"


_KILLED_EARLY = """
import os, signal, sys, time
from pipeline.ports import process
from pipeline.ports.log import Log

class Libc:
    real = process._libc
    def prctl(self, *args):
        parent = os.getppid()
        open(sys.argv[1], "w").write(str(os.getpid()))
        os.kill(parent, signal.SIGKILL)
        while os.getppid() == parent:
            time.sleep(0.01)
        return self.real.prctl(*args)

process._libc = Libc()
with process.start(["sleep", "600"], log=Log()):
    pass
"""


def test_a_program_does_not_outlive_who_is_killed_while_it_starts(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    killed = subprocess.run([sys.executable, "-c", _KILLED_EARLY, str(pid)], check=False)
    assert killed.returncode == -signal.SIGKILL
    program = int(pid.read_text())
    until = time.monotonic() + 30
    while is_running(program) and time.monotonic() < until:
        time.sleep(0.05)
    if is_running(program):
        os.kill(program, signal.SIGKILL)
        pytest.fail("it goes on, and nobody would end it")


def is_running(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and only not yet collected does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
