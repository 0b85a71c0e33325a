# SPDX-License-Identifier: LGPL-2.1-or-later
"""The logs of master and worker."""

import subprocess
import sys
from pathlib import Path

from pipeline.ports.master_home import log_of

_TALK = """
from twisted.application import service
application = service.Application("talks")
{log}
say = ILogObserver(application)
for number in range(1000):
    say({{"message": ("x" * 1000,), "time": 0.0, "system": "-", "isError": 0}})
"""


def test_the_log_of_a_program_is_bounded(tmp_path: Path) -> None:
    script = _TALK.format(log=log_of(tmp_path, bytes=10_000, files=3))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
    logs = list(tmp_path.iterdir())
    assert len(logs) == 4, logs
    assert sum(path.stat().st_size for path in logs) < 50_000
