# SPDX-License-Identifier: LGPL-2.1-or-later
"""The local worker under a user of its own: it builds and boots, and the keys are out of reach."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.ports.log import Log
from pipeline.ports.master_settings import read_master_settings, write_place
from pipeline.ports.process import descendants
from pipeline.ports.worker_book import WorkerBook
from pipeline.ports.worker_user import DEFAULT, compile_packages, default_user
from pipeline.words.push import PushState
from tests.cheap import Cheap
from tests.master.test_real import small_tiny
from tests.masters import Up
from tests.ordinary import NAME, USER, Ordinary, ordinary_user
from tests.remote import names
from tests.work import Work, files_below, run_ostci

pytestmark = pytest.mark.slow
_LONG_S = 900.0


@dataclass
class Yard:
    """A place that other users may enter, and one of them."""

    root: Path
    user: Ordinary

    def up(self, work: Work, **settings: object) -> Up:
        """Make ``ostci up`` of root, in an ``/etc`` where the user is who is taken by default."""
        return _Known(self, work=work, **{"runs": 1, **settings})


class _Known(Up):
    def __init__(self, yard: Yard, **kwargs: object) -> None:
        self.yard = yard
        super().__init__(yard.root, **kwargs)  # type: ignore[arg-type]

    def argv(self, *words: str) -> list[str]:
        return self.yard.user.known_to(super().argv(*words))


@pytest.fixture
def yard() -> Iterator[Yard]:
    with ordinary_user() as user:
        for name in ("passwd", "subuid", "subgid"):
            path = user.etc / name
            lines = [one for one in path.read_text().splitlines() if not one.startswith(DEFAULT)]
            path.write_text("\n".join([*lines, ""]).replace(f"{NAME}:", f"{DEFAULT}:"))
        root = Path(tempfile.mkdtemp(prefix="ostci-yard-", dir="/tmp"))
        root.chmod(0o755)
        try:
            yield Yard(root, user)
        finally:
            shutil.rmtree(root)


def uids_below(pid: int) -> set[int]:
    """Tell whose the processes below one are."""
    found = set()
    for child, _ in descendants(pid):
        try:
            found.add(Path(f"/proc/{child}").stat().st_uid)
        except FileNotFoundError:
            continue
    return found


_CAT = """for path; do cat "$path" && echo "read: $path"; done; true"""


def secrets_of(up: Up) -> list[Path]:
    """List what is the master's alone: keys, secrets, both databases."""
    folders = (up.root / "keys", up.home / "master")
    inside = [path for folder in folders for path in files_below(folder)]
    # A lock's file says who holds it, for all who would have it; a journal comes and goes.
    databases = [
        path for path in up.root.glob("ledger.sqlite*") if path.suffix in (".sqlite", ".sqlite-wal")
    ]
    found = [*inside, *databases]
    told = {path.name for path in found}
    assert told >= {"ledger.sqlite", "state.sqlite", "worker", "worker-local", "pubring.kbx"}, told
    return found


def test_what_builds_is_another_user_who_reads_no_key_and_no_secret(yard: Yard) -> None:
    work = Cheap(yard.root, one=0.0)
    work.ostci("key")  # makes one
    with yard.up(work, poll=1, reconcile=1, slots=1) as up:
        up.wait(lambda: up.seen() > 0, "the repository was seen")
        work.change("one", after_s=3600.0)  # it is woken when all was looked at
        up.wait(lambda: "compile …" in log_of_builder(up), "it builds")
        assert uids_below(up.pid_of("builder")) == {USER}
        (place,) = (up.home / "builder" / "work" / "tmp").glob("*/build-*")
        assert place.stat().st_uid == USER
        secrets = secrets_of(up)
        done = yard.user.run(["sh", "-c", _CAT, "sh", *secrets])
        assert (done.returncode, done.stdout) == (0, "")
        assert done.stderr.count("Permission denied") == len(secrets), done.stderr
        for name in ("repo", "archive", "runs", "mirrors", "cache"):
            assert yard.user.run(["touch", up.root / name / "x"]).returncode == 1, name
        assert up.process is not None
        work.wake(up.process)
        (push,) = up.wait_ended(*up.ledger.pushes.newest(1), within_s=_LONG_S)
        builds = up.builds("component/one")
        assert [build["word"] for build in builds] == ["success"], up.logs(builds[0])
        assert names(builds) == ["away-local-1"]
        work.change("one", fails=True)
        up.wait(lambda: len(up.ledger.pushes.newest(9)) == 2, "the bad push was seen")
        up.wait_ended(*up.ledger.pushes.newest(1), within_s=_LONG_S)
        argv = up.argv("shell", "one", "--", "cat", "build.sh")
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "exit 1" in done.stdout, done.stderr
    (made,) = WorkerBook(work.house().workdir).read("local").made
    assert (made.component, made.run) == ("one", push.run)
    assert work.line() == [push.run]


def log_of_builder(up: Up) -> str:
    """Tell the logs of the runs as the worker has them."""
    paths = files_below(up.home / "builder" / "work" / "runs")
    return "\n".join(path.read_text() for path in paths if path.name == "log.txt")


def test_modules_are_compiled_for_who_may_not_write_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "some" / "deep" / "one.py"
    module.parent.mkdir(parents=True)
    (tmp_path / "some" / "__init__.py").touch()
    module.write_text("one = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    compile_packages("some", "there-is-none")
    assert Path(importlib.util.cache_from_source(str(module))).is_file()


def test_who_cannot_work_here_is_not_taken_unless_he_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    user, why = default_user(tmp_path, tmp_path, log=Log())
    assert user == ""
    if os.geteuid() != 0:
        assert "shares" in why
        return
    assert "what is built or booted is root" in why
    try:
        pwd.getpwnam(DEFAULT)
    except KeyError:
        assert f"there is no account {DEFAULT}" in why and "useradd" in why
    else:
        assert f"{DEFAULT} cannot work here" in why and "Permission denied" in why


def test_nobody_has_no_home_of_his_own(tmp_path: Path) -> None:
    work = Cheap(tmp_path)
    with (work.root / "ostci.toml").open("a") as file:
        file.write('[master]\nworker-user = "none"\n')
    home = work.root / "buildbot" / "master"
    write_place(home, work=work.root, port=1, worker_port=2, worker_user=DEFAULT)
    settings = read_master_settings(home)
    assert settings.worker_user == "" and settings.remote.local is None
    (work.root / "ostci.toml").write_text('manifest = "x.yaml"\n')
    settings = read_master_settings(home)
    assert settings.worker_user == DEFAULT and settings.remote.local is not None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(
    ("name", "words"),
    [("nobody-of-this-name", "there is no account"), ("root", "root is who the master runs as")],
)
def test_an_account_that_cannot_be_taken_is_told_before_anything_starts(
    tmp_path: Path, name: str, words: str
) -> None:
    work = Cheap(tmp_path)
    with (work.root / "ostci.toml").open("a") as file:
        file.write(f'[master]\nworker-user = "{name}"\n')
    said = run_ostci(work.root, "up", "--port", "0", "--worker-port", "0", code=2)
    assert words in said.err and "useradd" in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_user_who_cannot_run_ostci_is_told_before_anything_starts(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    work = Cheap(tmp_path)
    with (work.root / "ostci.toml").open("a") as file:
        file.write('[master]\nworker-user = "nobody"\n')
    said = run_ostci(work.root, "up", "--port", "0", "--worker-port", "0", code=3)
    assert "user nobody cannot run ostci here" in said.err


@pytest.mark.full
@pytest.mark.vm
def test_a_tree_that_another_user_booted_is_promoted(yard: Yard) -> None:
    work = small_tiny(yard.root)
    with yard.up(work, poll=2, reconcile=2, slots=2) as up:
        up.wait(lambda: up.seen() > 0, "all repositories were seen")
        work.push(work.story.change)
        up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push was seen")
        (done,) = up.wait_ended(*up.ledger.pushes.newest(1), within_s=_LONG_S)
        (suite,) = up.builds("suite/x86_64-runtime/smoke")
        assert suite["word"] == "success", up.logs(suite)
        assert names([suite])[0].startswith("away-local-")
        assert (done.state, done.message) == (PushState.DONE, "")
    assert set(work.heads()) == {"tiny/buildmaster/x86_64-runtime"}
    work.check_whole()
