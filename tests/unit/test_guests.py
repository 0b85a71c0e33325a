# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which guests of earlier sources the tests' own cache keeps."""

import os
import time
from pathlib import Path

from pipeline.ports.files import lock
from tests.guests import remove_unused


def test_guests_that_nobody_has_used_for_long_go(tmp_path: Path) -> None:
    long_ago = time.time() - 25 * 3600
    for name in ("own", "unused", "old-but-used", "being-made"):
        (tmp_path / name / "repo").mkdir(parents=True)
        os.utime(tmp_path / name, (long_ago, long_ago))
    os.utime(tmp_path / "old-but-used")
    with lock(tmp_path / "being-made.lock", what="test guest"):
        remove_unused(tmp_path / "own")
    left = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert left == ["being-made", "old-but-used", "own"]
    remove_unused(tmp_path / "own")
    assert not (tmp_path / "being-made").exists()
