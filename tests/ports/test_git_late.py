# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a server has resolved is fetched when it is to be built, and no path of its is read here."""

from pathlib import Path

import pytest

from pipeline.ports.git_late import LateMirrors
from pipeline.ports.log import Log
from pipeline.words.errors import Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.refs import Revision
from pipeline.words.snapshot import Pin
from tests.repos import GitRepo


def local(path: Path | str) -> Source:
    return Source(kind=SourceKind.LOCAL, location=str(path))


def test_only_copies_of_runs_are_read_whatever_the_path_is_called(tmp_path: Path) -> None:
    mirrors = LateMirrors(tmp_path / "mirrors", log=Log())
    mirrors.copies = tmp_path / "runs"
    mine, secret = mirrors.copies / "one", tmp_path / "secret"
    for place in (mine, secret):
        place.mkdir(parents=True)
        (place / "file").write_text("x\n")
    (mirrors.copies / "link").symlink_to(secret)
    at = Pin(revision=Revision("a" * 40))
    mirrors.have(local(mine), at)
    for path in (secret, f"{mirrors.copies}/../secret", mirrors.copies / "link"):
        with pytest.raises(Trouble, match=r"a directory of the server's; give one of your own"):
            mirrors.have(local(path), at)


def test_a_revision_is_fetched_once_and_one_that_is_gone_is_trouble(tmp_path: Path) -> None:
    repo = GitRepo(tmp_path / "git")
    repo.path.mkdir()
    repo.git("init", "--quiet", "--initial-branch=master")
    repo.commit("first", file="one\n")
    revision = Revision(repo.git("rev-parse", "HEAD").strip())
    source = Source(kind=SourceKind.GIT, location=str(repo.path), branch="elsewhere")
    mirrors = LateMirrors(tmp_path / "mirrors", log=Log())
    mirrors.have(source, Pin(revision=revision))
    repo.path.rename(tmp_path / "gone")
    mirrors.have(source, Pin(revision=revision))
    into = tmp_path / "into"
    mirrors.check_out(source, Pin(revision=revision), into)
    assert (into / "file").read_text() == "one\n"
    with pytest.raises(Trouble, match="its source cannot be had; give one of your own"):
        mirrors.have(source, Pin(revision=Revision("b" * 40)))
