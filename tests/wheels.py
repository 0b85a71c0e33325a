# SPDX-License-Identifier: LGPL-2.1-or-later
"""The wheel of ostci, made of what is in this directory now."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.work import TOP

_TOPS = ("pipeline", "vmtests", "manifests")
_FILES = ("pyproject.toml", "README.md", "LICENSE", "master.cfg", "packages.txt")


def make_wheel(root: Path) -> Path:
    """Make it in ``root/wheels``, of a copy: nothing is left in the sources."""
    sources = root / "sources"
    sources.mkdir()
    for name in _TOPS:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(TOP / name, sources / name, ignore=skipped)
    for name in _FILES:
        shutil.copy(TOP / name, sources / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    wheel = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(root / "wheels")]
    run(*pip, *wheel, str(sources))
    (file,) = (root / "wheels").glob("ostci-*.whl")
    return file


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    """Run a program that has to pass; tells what it printed."""
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=300, check=False, cwd="/", env=env
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()
