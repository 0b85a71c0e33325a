# SPDX-License-Identifier: LGPL-2.1-or-later
"""Format, lint and types, run as tests so that one command tells everything."""

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
TOOLS = {
    "format": ["ruff", "format", "--check", "--diff"],
    "lint": ["ruff", "check"],
    "types": ["mypy"],
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_code_is_clean(tool: str) -> None:
    name, *options = TOOLS[tool]
    argv = [str(Path(sys.executable).parent / name), *options]
    done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_names_its_licence() -> None:
    line = "# SPDX-License-Identifier: LGPL-2.1-or-later"
    for folder in ("pipeline", "vmtests", "tests"):
        for path in (TOP / folder).rglob("*.py"):
            assert path.read_text().startswith(line), path
