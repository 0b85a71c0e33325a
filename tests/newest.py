# SPDX-License-Identifier: LGPL-2.1-or-later
"""``make newest``: the tests with the newest of everything but Buildbot, before we lock it.

``python -m tests.newest [pytest's words]``: makes ``build/newest``, tells what is newer there than
in the lock, and runs ``tests/unit`` and ``tests/master`` with it. Ends as pytest does.
"""

import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
PLACE = TOP / "build" / "newest"
_INSTALL_S = 1800
_TESTS_S = 7200
_SUITES = ("tests/unit", "tests/master")
_TOOLS = ("pip", "setuptools", "wheel")
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def make() -> Path:
    """Make the environment anew; tells its Python."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", PLACE], check=True, timeout=300)
    python = PLACE / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # The bounds of pyproject.toml hold, Buildbot's fixed version among them.
    wanted = f"{TOP}[master,dev,postgres]"
    argv = [*pip, "--upgrade", "--use-pep517", "--editable", wanted]
    subprocess.run(argv, check=True, timeout=_INSTALL_S)
    subprocess.run([str(python), "-m", "pip", "check"], check=True, timeout=300)
    return python


def pins(text: str) -> dict[str, str]:
    """Read names and versions of a lock, or of what ``pip freeze`` prints."""
    found = {re.sub(r"[-_.]+", "-", name).lower(): at for name, at in _PINNED.findall(text)}
    return {name: at for name, at in found.items() if name not in _TOOLS}


def differences(locked: dict[str, str], here: dict[str, str]) -> list[str]:
    """Tell in words what is of another version here, or on one side alone."""
    names = sorted(locked.keys() | here.keys())
    both = [(name, locked.get(name, "-"), here.get(name, "-")) for name in names]
    return [f"{name}: {old} -> {new}" for name, old, new in both if old != new]


def main() -> int:
    """Do it."""
    python = make()
    freeze = [str(python), "-m", "pip", "freeze", "--exclude-editable"]
    frozen = subprocess.run(freeze, check=True, capture_output=True, text=True, timeout=300).stdout
    told = differences(pins((TOP / "requirements.lock").read_text()), pins(frozen))
    sys.stdout.write("\n".join(["other than in the lock:", *(told or ["nothing"]), ""]))
    sys.stdout.flush()
    words = sys.argv[1:] or [*_SUITES, "-m", "not full and not soak"]
    argv = [str(python), "-m", "pytest", *words]
    return subprocess.run(argv, check=False, timeout=_TESTS_S, cwd=TOP).returncode


if __name__ == "__main__":
    sys.exit(main())
