# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci init`` with a sample: what the help and README say first has to work from a clone."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.chain import base_request
from pipeline.cli.house import House
from pipeline.cli.main import run
from pipeline.ports.log import Log
from tests.machines import sample, sample_request
from tests.work import DEBIAN, TINY


@pytest.mark.parametrize("manifest", [TINY, DEBIAN], ids=lambda path: path.stem)
def test_a_sample_gets_repositories_that_can_be_pushed_to(
    manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert run(["init", str(work), str(manifest)]) == 0
    said = capsys.readouterr().out
    repositories = sorted((work / "sample" / "git").iterdir())
    assert repositories
    for place in repositories:
        assert f"a git repository of {place.name}: {place}" in said
        argv = ["git", "-C", str(place), "log", "--format=%s"]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert done.stdout == "Initial version\n"
    assert run(["-C", str(work), "check"]) == 0
    # Tests that import the base by themselves take the one that runs have.
    request = base_request(House(work, log=Log()))
    ours = sample_request(sample(manifest.stem))
    assert set(request.variants) == set(ours.variants)
    assert replace(ours, variants=request.variants) == request


def test_what_is_there_already_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work = tmp_path / "work"
    assert run(["init", str(work), str(TINY)]) == 0
    (work / "sample" / "git" / "hello" / "main.c").write_text("mine\n")
    assert run(["init", str(work), str(TINY)]) == 2
    assert "is a work directory already" in capsys.readouterr().err
    assert (work / "sample" / "git" / "hello" / "main.c").read_text() == "mine\n"
