# SPDX-License-Identifier: LGPL-2.1-or-later
"""This process' terminal, which programs set as they like and may not set back."""

import sys
from pathlib import Path

from tests.person import person

_LEND = """\
import subprocess
from pipeline.ports.terminal import restored
with restored():
    subprocess.run(["sh", "-c", "stty raw -echo; echo it is raw; read _; kill -KILL $$"])
"""


def test_a_terminal_is_set_back_when_who_set_it_was_killed() -> None:
    top = Path(__file__).resolve().parents[2]
    with person([sys.executable, "-c", _LEND], cwd=top) as somebody:
        before = somebody.settings()
        somebody.wait_for("it is raw")
        assert somebody.settings() != before
        somebody.type("\n")
        somebody.child.wait(60.0)
        assert somebody.settings() == before
