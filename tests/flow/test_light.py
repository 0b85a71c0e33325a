# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the commands of a run load: under a master each is a process, which pays for all of it."""

import subprocess
import sys

import pytest

from tests.cheap import NO_KERNEL, TREE, Cheap
from tests.work import TOP

_SHOWN = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
_GO = f"{_SHOWN}; from pipeline.cli.main import main; main(sys.argv[1:])"
HEAVY = {"pydantic", "rich", "yaml", "http.client", "libvirt", "buildbot", "twisted", "git"}


@pytest.fixture(scope="module")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Cheap:
    made = Cheap(tmp_path_factory.mktemp("light"), one=0.0)
    made.ostci("push", "one")
    made.ostci("run", "--push", "1", code=NO_KERNEL)
    return made


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("resolve --push 1", 0),
        ("plan", 0),
        ("build one", 0),
        ("build", 0),
        ("compose", 0),
        (f"disk {TREE}", NO_KERNEL),
        ("promote", 1),
        ("end RUN", 0),
    ],
)
def test_a_step_loads_nothing_that_it_does_not_need(cheap: Cheap, words: str, code: int) -> None:
    version = cheap.house().last_run().version
    verb, *rest = words.replace("RUN", version).split()
    of = [] if verb in ("resolve", "end") else ["--run", version]
    argv = [sys.executable, "-c", _GO, "-C", str(cheap.root), verb, *rest, *of, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=TOP, check=False)
    assert done.returncode == code, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert "pipeline.cli.main" in loaded
    assert loaded & HEAVY == set()
    if words in ("plan", "build one"):
        # There is one of these for each component, and one plan whenever somebody asks.
        assert "sqlalchemy" not in loaded
