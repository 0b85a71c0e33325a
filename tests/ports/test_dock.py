# SPDX-License-Identifier: LGPL-2.1-or-later
"""The dock gives a worker what it names, as OSTree takes it, and gives nobody else anything."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.ports.dock import COOKIE, docking, token
from pipeline.ports.dock_client import DockClient
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.workdir import Workdir
from pipeline.ports.worker_home import Identity
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.refs import Commit


@dataclass(frozen=True, kw_only=True)
class Dock:
    url: str
    repo: Repo
    commit: Commit
    version: str
    root: Path

    def client(self, password: str) -> DockClient:
        file = self.root / "password"
        file.write_text(password)
        return DockClient(self.url, Identity(name="anvil", password_file=str(file), room=0))

    def get(self, path: str, cookie: str | None) -> int:
        headers = {} if cookie is None else {"Cookie": f"{COOKIE}={cookie}"}
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.url + path, headers=headers), timeout=20
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Dock]:
    workdir = Workdir(tmp_path / "work")
    workdir.make()
    run = workdir.new_run()
    run.file("snapshot").write_text("{}")
    run.log.write_text("a log\n")
    repo = Repo(workdir.repo, log=Log()).create(Mode.BARE_USER)
    tree = tmp_path / "tree"
    (tree / "usr").mkdir(parents=True)
    (tree / "usr" / "large").write_bytes(os.urandom(1 << 20))
    (tree / "usr" / "empty").touch()
    (tree / "usr" / "link").symlink_to("é/large")
    (tree / "usr" / "program").write_text("#!/bin/sh\n")
    (tree / "usr" / "program").chmod(0o755)
    commit = repo.commit_dir(tree, subject="a tree", modes={"/usr/program": 0o4000})
    with docking(
        "127.0.0.1:0", workdir, passwords={"anvil": "word"}, certificate=None, log=Log()
    ) as url:
        yield Dock(url=url, repo=repo, commit=commit, version=run.version, root=tmp_path)


def test_a_worker_pulls_a_commit_whole(dock: Dock) -> None:
    mine = Repo(dock.root / "mine", log=Log()).create(Mode.BARE_USER)
    dock.client("word").pull(mine, [dock.commit])
    mine.fsck()
    assert list(mine.walk(dock.commit)) == list(dock.repo.walk(dock.commit))
    assert (mine.path / "master.cookies.txt").stat().st_mode & 0o077 == 0
    assert "word" not in (mine.path / "config").read_text()


def test_a_damaged_object_is_not_taken(dock: Dock) -> None:
    checksum = dock.repo.find(dock.commit, "/usr/large")
    assert checksum is not None
    path = dock.repo.path / "objects" / checksum[:2] / f"{checksum[2:]}.file"
    with path.open("r+b") as file:
        file.write(b"other")
    mine = Repo(dock.root / "mine", log=Log()).create(Mode.BARE_USER)
    with pytest.raises(Trouble, match=r"(?i)checksum|corrupted"):
        dock.client("word").pull(mine, [dock.commit])
    assert not mine.has_commit(dock.commit)


def test_who_shows_no_token_gets_nothing(dock: Dock) -> None:
    path = f"/repo/objects/{dock.commit[:2]}/{dock.commit[2:]}.commit"
    good = token("anvil", "word")
    assert dock.get(path, good) == 200
    for wrong in (None, "", token("anvil", "other"), token("bench", "word"), good[:-1], "anvil:"):
        assert dock.get(path, wrong) == 401
        assert dock.get("/repo/config", wrong) == 401
    with pytest.raises(Trouble, match="says 401"):
        dock.client("other").file(dock.version, "snapshot")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/repo/",
        "/repo/refs/heads",
        "/repo/objects/../config",
        "/runs/{version}/log.txt",
        "/runs/{version}/run.json",
        "/runs/{version}/assigned/../snapshot.json",
        "/runs/{version}/assigned/%2e%2e/snapshot.json",
        "/runs/19990101.0/snapshot.json",
        "/ledger.sqlite",
    ],
)
def test_what_is_no_workers_business_is_not_there(dock: Dock, path: str) -> None:
    assert dock.get(path.format(version=dock.version), token("anvil", "word")) == 404


def test_a_file_of_a_run_is_given(dock: Dock) -> None:
    assert dock.client("word").file(dock.version, "snapshot") == b"{}"


def test_it_is_open_to_others_only_with_tls(tmp_path: Path) -> None:
    with (
        pytest.raises(BadInput, match="there is no certificate"),
        docking("0.0.0.0:0", Workdir(tmp_path), passwords={}, certificate=None, log=Log()),
    ):
        pass
