# SPDX-License-Identifier: LGPL-2.1-or-later
"""What lies in another repository here is copied; the rest is pulled, and all of it is whole."""

from pathlib import Path

from pipeline.ports.dock import docking
from pipeline.ports.dock_client import DockClient
from pipeline.ports.log import Log
from pipeline.ports.neighbour import copy_readable
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.ports.worker_home import Identity
from pipeline.words.refs import Commit

LOG = Log()


def master(root: Path) -> tuple[Workdir, Repo, Commit]:
    workdir = Workdir(root / "work")
    workdir.make()
    repo = Repo(workdir.repo, log=LOG).create(Mode.BARE_USER)
    place = root / "tree"
    (place / "etc" / "private").mkdir(parents=True, mode=0o750)
    (place / "etc" / "shadow").write_text("secret\n")
    (place / "etc" / "shadow").chmod(0o600)
    (place / "bin").mkdir()
    (place / "bin" / "tool").write_text("#!/bin/sh\n" * 1000)
    (place / "bin" / "tool").chmod(0o755)
    (place / "bin" / "link").symlink_to("tool")
    (place / "empty").write_text("")
    return workdir, repo, repo.commit_dir(place, subject="tree")


def test_what_can_be_read_is_copied_and_the_rest_is_pulled(tmp_path: Path) -> None:
    workdir, repo, commit = master(tmp_path)
    mine = Repo(tmp_path / "mine", log=LOG).create(Mode.BARE_USER)
    # As one that somebody else may not read; root may read everything.
    (hidden,) = [
        path
        for path in workdir.repo.glob("objects/*/*.file")
        if not path.is_symlink() and path.read_bytes() == b"secret\n"
    ]
    aside = tmp_path / "hidden"
    hidden.rename(aside)
    hidden.symlink_to(aside)
    copied = copy_readable(repo, mine, [commit])
    there = {path.name for path in workdir.repo.glob("objects/*/*") if path != hidden}
    assert {path.name for path in mine.path.glob("objects/*/*")} == there - {f"{commit[2:]}.commit"}
    assert copied == len(there) - 1
    assert copy_readable(repo, mine, [commit]) == 0
    hidden.unlink()
    aside.rename(hidden)
    assert not mine.has_commit(commit)
    password = tmp_path / "password"
    password.write_text("of anvil")
    identity = Identity(name="anvil", password_file=str(password), room=0)
    with docking(
        "127.0.0.1:0", workdir, passwords={"anvil": "of anvil"}, certificate=None, log=LOG
    ) as url:
        DockClient(url, identity).pull(mine, [commit])
    assert mine.has_commit(commit)
    mine.fsck()
    mine.checkout(commit, tmp_path / "out")
    assert (tmp_path / "out" / "etc" / "shadow").read_text() == "secret\n"
    assert copy_readable(repo, mine, [commit, Commit("0" * 64)]) == 0
