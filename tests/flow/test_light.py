# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the commands of a run load: under a master each is a process, which pays for all of it."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.cheap import NO_KERNEL, TREE, Cheap
from tests.work import TOP

_SHOWN = (
    "import atexit, gc, sys;"
    "atexit.register(lambda: print(gc.get_freeze_count(), *sys.modules, file=sys.stderr))"
)
_GO = f"{_SHOWN}; from pipeline.cli.main import main; main(sys.argv[1:])"
HEAVY = {"pydantic", "rich", "yaml", "http.client", "libvirt", "buildbot", "twisted", "git"}


@pytest.fixture(scope="module")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Cheap:
    made = Cheap(tmp_path_factory.mktemp("light"), one=0.0)
    made.ostci("push", "one")
    made.ostci("run", "--push", "1", code=NO_KERNEL)
    # One that goes on, as those of a master do between two commands.
    made.ostci("push", "one")
    made.ostci("resolve", "--push", "2")
    for stage in ("build", "compose"):
        made.ostci(stage, "--run", made.house().last_run().version)
    return made


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("resolve --push 2", 0),
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
    given = ["-C", str(cheap.root), verb, *rest, *of, "--json"]
    loaded = loaded_by(given, code)
    assert loaded & HEAVY == set()
    if verb in ("plan", "build"):
        # There is one of these for each component, and one plan whenever somebody asks.
        assert "sqlalchemy" not in loaded


@pytest.mark.parametrize(
    "words", ["--version", "--help", "log --help", "log", "show", "show manifest", "show RUN"]
)
def test_what_people_look_at_loads_no_database(cheap: Cheap, words: str) -> None:
    version = cheap.house().last_run().version
    loaded = loaded_by(["-C", str(cheap.root), *words.replace("RUN", version).split()])
    assert loaded & {"sqlalchemy", "libvirt", "buildbot", "twisted", "git", "http.client"} == set()
    if "-" in words:
        assert {one for one in loaded if one.startswith("pipeline.ports")} == set()


def loaded_by(words: Sequence[str], code: int = 0) -> set[str]:
    """Give a command; tells the modules that it had loaded in the end."""
    argv = [sys.executable, "-c", _GO, *words]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=TOP, check=False)
    assert done.returncode == code, done.stderr
    frozen, *loaded = done.stderr.splitlines()[-1].split()
    assert "pipeline.cli.main" in loaded
    # What stays to the end is not looked through for garbage there.
    assert int(frozen) > 1000
    return set(loaded)
