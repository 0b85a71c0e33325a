# SPDX-License-Identifier: LGPL-2.1-or-later
"""The index of artifacts beside the repository whose refs it is about."""

import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.ports.artifacts import Artifacts
from pipeline.ports.files import Held
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.words.artifact import Artifact
from pipeline.words.refs import Key, Part, Revision, component_ref


def artifact(letter: str) -> Artifact:
    return Artifact(
        component="zlib",
        arch="x86_64",
        recipe=Key(letter * 64),
        key=Key(letter * 64),
        revision=Revision(letter * 40),
    )


def test_refs_and_index_change_their_mind_about_a_component_together(
    tmp_path: Path, log: Log
) -> None:
    repo = Repo(tmp_path / "repo", log=log).create(Mode.BARE_USER)
    index = tmp_path / "artifacts.sqlite"
    artifacts = Artifacts(repo, index)
    old, new = (artifacts.record(artifact(letter), osname="o") for letter in "ab")
    assert artifacts.latest("zlib", "x86_64") == new
    writer = threading.Thread(target=artifacts.set_current, args=([old],), kwargs={"osname": "o"})
    ref = component_ref("o", "zlib", "x86_64", Part.RUNTIME)
    with closing(sqlite3.connect(index)) as other:
        other.execute("begin immediate")
        writer.start()
        until = time.monotonic() + 30.0
        while repo.resolve(ref) != old.commits[Part.RUNTIME]:
            assert time.monotonic() < until, "the ref did not move"
            time.sleep(0.02)
        time.sleep(0.2)  # whoever gives the lock back early has done so by now
        with pytest.raises(Held), repo.locked("a look at the refs", wait_s=0.0):
            pass
    writer.join(30.0)
    assert artifacts.latest("zlib", "x86_64") == old
    artifacts.close()
