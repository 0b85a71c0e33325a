# SPDX-License-Identifier: LGPL-2.1-or-later
"""A file system of its own, small enough to be filled."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Have a tmpfs of a size ("48m") at ``path``; skips the test where that cannot be."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path.mkdir(parents=True, exist_ok=True)
    argv = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted: {done.stderr.strip()}")
    try:
        yield path
    finally:
        # Whatever a red test left open in there: the mount goes now, the rest with its last user.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
