# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci up`` itself: what it refuses to start, and what it tells of what dies."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.masters import FakeUp
from tests.work import TINY, TOP, Work

pytestmark = pytest.mark.slow


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        yield int(one.getsockname()[1])


@pytest.mark.parametrize("option", ["--port", "--worker-port"])
def test_a_port_of_somebody_else_is_told_at_once(tmp_path: Path, taken: int, option: str) -> None:
    work = Work(TINY, tmp_path)
    other = ({"--port", "--worker-port"} - {option}).pop()
    argv = work.argv("up", other, "0", option, str(taken))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=TOP)
    assert done.returncode == 3, done.stderr
    assert f"something listens on port {taken} already" in done.stderr
    assert f"→ ostci up {option} 0" in done.stderr
    assert "stop it with Ctrl-C" not in done.stdout


def test_what_died_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with FakeUp(tmp_path) as up:
        its_log = up.home / "worker" / "twistd.log"
        up.wait(lambda: "Connected to buildmaster" in its_log.read_text(), "it has connected")
        up.kill("worker")
        up.wait(lambda: "it is started again" in told(up), "its end is told")
        _, _, after = told(up).partition("worker ended with ")
        assert f"{up.home}/worker/twistd.log ends with\n" in after
        assert "Connected to buildmaster" in after


@pytest.mark.full
def test_the_base_is_looked_at_as_often_as_the_settings_say(tmp_path: Path) -> None:
    with FakeUp(tmp_path, poll=1, **{"base-poll": 1}) as up:
        up.wait(lambda: up.looks() >= 3, "it was looked at")


def told(up: FakeUp) -> str:
    return (up.root.parent / "up.log").read_text()
