# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make demo`` on the small sample: the whole story, through Buildbot and without, and Ctrl-C."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli.house import House
from pipeline.ports.log import Log
from pipeline.ports.process import descendants
from pipeline.stages.promote import violations
from pipeline.words.push import PushState, Via
from tests.repos import wait_until
from tests.work import TINY, TOP, is_alive

pytestmark = [pytest.mark.vm, pytest.mark.slow]
_LONG_S = 900


def argv(root: Path, *options: str) -> list[str]:
    demo = [sys.executable, "-m", "pipeline.cli.demo", "--manifest", str(TINY)]
    return [*demo, "--dir", str(root), *options]


def tell(root: Path, *options: str) -> str:
    done = subprocess.run(
        argv(root, *options), capture_output=True, text=True, timeout=_LONG_S, cwd=TOP, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "only greeting was built",
        "held back: x86_64-runtime, x86_64-devel",
        "journal: ",
        "buildmaster stays at what run",
        "with a good signature",
        "a client that trusts another key is refused",
        "Done in ",
    ):
        assert words in done.stdout
    return done.stdout


def test_a_demo_of_tiny_goes_through_buildbot_and_leaves_nothing_running(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    said = tell(root)
    for words in ("Buildbot is up", "remote: ostci was told", "push 3 seen by hook"):
        assert words in said
    house = House(root / "work", log=Log())
    first, *pushed = house.ledger.pushes.newest(9)
    assert first.component == "manifest"
    assert [(one.component, one.via) for one in pushed] == [("greeting", Via.HOOK)] * 2
    assert {one.state for one in (first, *pushed)} == {PushState.DONE}
    assert violations(repo=house.repo, archive=house.archive, ledger=house.ledger) == []
    house.ledger.close()
    # What a dying parent takes with it is dead a moment later than the parent.
    wait_until(lambda: not left_of(root))


@pytest.mark.full
def test_a_demo_of_tiny_goes_without_buildbot(tmp_path: Path) -> None:
    assert "Buildbot" not in tell(tmp_path / "demo", "--no-buildbot")


def test_ctrl_c_ends_all_that_the_demo_started(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    said = tmp_path / "said.txt"
    with said.open("wb") as file:
        demo = subprocess.Popen(argv(root), stdout=file, stderr=file, cwd=TOP)
    try:
        # Something of the first run is at work.
        wait_until(lambda: "resolve  " in said.read_text() or demo.poll() is not None)
        below = descendants(demo.pid)
        assert len(below) >= 3, said.read_text()
        demo.send_signal(signal.SIGINT)
        assert demo.wait(120) == 130, said.read_text()
    finally:
        demo.kill()
        demo.wait()
    wait_until(lambda: not any(map(is_alive, below)) and not left_of(root))
    assert "stopped; nothing is left running" in said.read_text()


def left_of(root: Path) -> list[str]:
    """List what runs and names the demo's directory."""
    done = subprocess.run(["pgrep", "-af", str(root)], capture_output=True, text=True, check=False)
    return [line for line in done.stdout.splitlines() if " pgrep " not in line]
