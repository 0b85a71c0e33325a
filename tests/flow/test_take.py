# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a worker sends is taken if it is what it says; what is not true is refused and named."""

import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.assigned import OFFER
from pipeline.ports.dock import docking
from pipeline.ports.log import Log
from pipeline.ports.ostree import Mode, Repo
from pipeline.ports.worker_book import WorkerBook
from pipeline.words.records import to_json
from pipeline.words.refs import Part
from pipeline.words.wish import Trial, Wish
from tests.cheap import Cheap
from tests.remote import prepare_anvil
from tests.work import Said, run_ostci

pytestmark = pytest.mark.slow
FULL = pytest.mark.full
JOB = ("build", "two")


class Away:
    """A run on a master, and a worker that has built ``two`` of it; ``offer`` is what it sends."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.master = Cheap(root, one=0.0, two=0.0)
        self.master.ostci("resolve")
        self.workdir = self.master.house().workdir
        (self.version,) = self.workdir.versions()
        home = prepare_anvil(root, "of anvil\n")
        self.worker = home.workdir.root
        self.offer = root / "offer.tar"
        self.log = Log()
        passwords = {"anvil": "of anvil"}
        self.master.ostci("build", "one", "--run", self.version)
        self.master.ostci("assign", *JOB, "--run", self.version)
        with docking(
            "127.0.0.1:0", self.workdir, passwords=passwords, certificate=None, log=self.log
        ) as self.url:
            self.fetched = self.do("fetch", "--from", self.url, *JOB)
        self.do("build", "two")
        self.do("offer", *JOB, "--into", str(self.offer))

    def do(self, verb: str, *words: str, code: int = 0) -> Said:
        """Give a command on the worker."""
        return run_ostci(self.worker, verb, *words, "--run", self.version, code=code)

    def take(self, file: Path, *more: str, code: int) -> Said:
        """Give the master what was sent."""
        mine = self.root / "sent.tar"
        shutil.copy(file, mine)
        words = ("--file", str(mine), "--worker", "anvil", "--pool", "push", *more)
        said = self.master.ostci("take", *JOB, "--run", self.version, *words, code=code)
        assert not mine.exists()
        return said

    def spoiled(self, spoil: "Callable[[Away, Path], None]") -> Path:
        """Write an offer that somebody has changed."""
        top, file = self.root / "top", self.root / "spoiled.tar"
        shutil.rmtree(top, ignore_errors=True)
        with tarfile.open(self.offer) as tar:
            tar.extractall(top)
        spoil(self, top)
        with tarfile.open(file, "w") as tar:
            for path in sorted(top.rglob("*")):
                if path.is_file() or path.is_symlink():
                    tar.add(path, str(path.relative_to(top)))
        return file

    def refs(self) -> dict[str, str]:
        """List the refs of the master's repository."""
        return {str(ref): str(at) for ref, at in self.master.house().repo.refs().items()}


@pytest.fixture(scope="module")
def away(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Away]:
    yield Away(tmp_path_factory.mktemp("take"))


def told(top: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((top / OFFER).read_text())
    return found


def write(top: Path, value: object) -> None:
    (top / OFFER).write_text(json.dumps(value))


def another_key(_away: Away, top: Path) -> None:
    offer = told(top)
    offer["component"]["key"] = "f" * 64
    write(top, offer)


def another_commit(_away: Away, top: Path) -> None:
    offer = told(top)
    offer["component"]["commits"]["runtime"] = "e" * 64
    write(top, offer)


def of_another_component(away: Away, top: Path) -> None:
    """Sends the artifact of ``one``, which is as good as any, for that of ``two``."""
    artifact = away.master.house().artifacts.latest("one", "x86_64")
    assert artifact is not None
    archive(away, top, away.master.house().repo, str(artifact.commits[Part.RUNTIME]))
    offer = told(top)
    offer["component"] |= {
        "key": artifact.key,
        "commits": {"runtime": artifact.commits[Part.RUNTIME]},
    }
    write(top, offer)


def a_failure(_away: Away, top: Path) -> None:
    offer = told(top)
    offer["component"] |= {"outcome": "failed", "message": "it does not compile"}
    write(top, offer)


def damaged(_away: Away, top: Path) -> None:
    path = max(top.rglob("*.filez"), key=lambda one: one.stat().st_size)
    data = path.read_bytes()
    head = data[: 8 + int.from_bytes(data[:4], "big")]
    deflate = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(head + deflate.compress(b"?\n") + deflate.flush())


def incomplete(_away: Away, top: Path) -> None:
    next(top.rglob("*.dirtree")).unlink()


def a_link(_away: Away, top: Path) -> None:
    (top / "files").mkdir(exist_ok=True)
    (top / "files" / "x").symlink_to("/etc/passwd")


def no_json(_away: Away, top: Path) -> None:
    (top / OFFER).write_text("{")


def archive(away: Away, top: Path, repo: Repo, commit: str) -> None:
    """Put a commit in place of what is sent."""
    shutil.rmtree(away.root / "archive", ignore_errors=True)
    made = Repo(away.root / "archive", log=away.log).create(Mode.ARCHIVE)
    made.pull_local(repo.path, [commit])
    shutil.rmtree(top / "repo")
    shutil.copytree(made.path / "objects", top / "repo" / "objects")


def remade(away: Away, top: Path, change: Callable[[Path], None], **given: Any) -> None:
    """Send files that are others, in a commit that says that it is the artifact."""
    repo = Repo(away.worker / "repo", log=away.log)
    offer = told(top)
    info = repo.info(offer["component"]["commits"]["runtime"])
    place = away.root / "remade"
    shutil.rmtree(place, ignore_errors=True)
    repo.checkout(info.commit, place, copy=True)
    change(place)
    metadata = {key: str(one) for key, one in info.metadata.items() if key.startswith("ostci.")}
    commit = repo.commit_dir(place, subject=info.subject, metadata=metadata, **given)
    archive(away, top, repo, commit)
    offer["component"]["commits"]["runtime"] = commit
    write(top, offer)


def other_files(away: Away, top: Path) -> None:
    def change(place: Path) -> None:
        (place / "usr/share/cheap/two").write_text("evil\n")

    remade(away, top, change)


def setuid(away: Away, top: Path) -> None:
    def add(place: Path) -> None:
        (place / "usr/share/cheap/two").chmod(0o755)

    remade(away, top, add, modes={"/usr/share/cheap/two": 0o4000})


def in_a_wrong_place(away: Away, top: Path) -> None:
    def add(place: Path) -> None:
        (place / "var").mkdir()
        (place / "var" / "x").write_text("x\n")

    remade(away, top, add)


def of_somebody(away: Away, top: Path) -> None:
    def add(place: Path) -> None:
        os.chown(place / "usr/share/cheap/two", 1000, 1000)

    remade(away, top, add, owner_root=False)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(another_key, "and it told ffffffffffff", marks=FULL),
        pytest.param(another_commit, "its objects are damaged", marks=FULL),
        (of_another_component, "it is an artifact of one"),
        (a_failure, "it tells that two is failed, and its command ended with 0"),
        (damaged, "its objects are damaged"),
        pytest.param(incomplete, "its objects are damaged", marks=FULL),
        pytest.param(a_link, "is no plain file", marks=FULL),
        pytest.param(no_json, "cannot be read", marks=FULL),
        (other_files, "its interface is not that of its files"),
        pytest.param(setuid, "is setuid, which the manifest does not grant", marks=FULL),
        pytest.param(in_a_wrong_place, "/var/x is in no place", marks=FULL),
        pytest.param(of_somebody, "is not plainly root's", marks=FULL),
    ],
)
def test_what_is_not_true_is_refused(
    away: Away, spoil: Callable[[Away, Path], None], words: str
) -> None:
    if spoil is of_somebody and os.geteuid() != 0:
        pytest.skip("only root gives files away")
    before = away.refs()
    said = away.take(away.spoiled(spoil), code=3)
    assert words in said.err, said.err
    assert "worker anvil lied" in said.err
    assert away.refs() == before
    assert not away.workdir.run(away.version).file("built/two").exists()
    book = WorkerBook(away.workdir)
    assert words in book.read("anvil").aside
    if spoil is other_files:
        # What it sent before it was found out is not taken any more, be it true.
        assert "is set aside meanwhile" in away.take(away.offer, code=3).err
    book.take_back("anvil")


def test_what_is_too_large_is_refused(away: Away) -> None:
    said = away.take(away.offer, "--most", "100", code=3)
    assert "it has more than 800 bytes" in said.err
    WorkerBook(away.workdir).take_back("anvil")
    told = away.do("offer", *JOB, "--into", str(away.root / "x.tar"), "--most", "100", code=3)
    assert "the master takes 100" in told.err
    assert not (away.root / "x.tar").exists()


def test_what_a_worker_of_tries_built_gets_no_key(away: Away) -> None:
    before = away.refs()
    said = away.take(away.offer, "--pool", "try", code=2)
    assert "worker anvil is for tries" in said.err
    run = away.workdir.run(away.version)
    run.file("try").write_text(to_json(Trial(start=away.version, wish=Wish())))
    away.take(away.offer, "--pool", "try", code=0)
    new = {ref for ref in away.refs() if ref not in before}
    assert {ref.rpartition("/")[0] for ref in new} == {f"cheap/try/{away.version}/keys"}
    for name in ("try", "built/two"):
        run.file(name).unlink()


def test_what_is_true_is_taken_as_if_it_had_been_built_here(away: Away) -> None:
    said = away.take(away.offer, code=0)
    assert "built on worker anvil" in said.err
    house = away.master.house()
    built = json.loads(away.workdir.run(away.version).file("built/two").read_text())
    assert house.repo.resolve(f"cheap/keys/{built['key']}-runtime") == built["commits"]["runtime"]
    house.repo.fsck()
    away.master.ostci("compare", "two", "--run", away.version, "--worker", "anvil")
    plan = away.master.json("plan", "--run", away.version)["components"]
    assert {one["decision"] for one in plan} == {"keep"}
    assert built["key"] in away.master.ostci("workers", "anvil").out


def test_what_is_another_one_when_it_is_built_again_sets_the_worker_aside(away: Away) -> None:
    path = away.workdir.run(away.version).file("built/two")
    built = json.loads(path.read_text())
    one = away.master.house().artifacts.latest("one", "x86_64")
    assert one is not None
    path.write_text(json.dumps({**built, "commits": {"runtime": one.commits[Part.RUNTIME]}}))
    said = away.master.ostci("compare", "two", "--run", away.version, "--worker", "anvil", code=3)
    assert "is another one when it is built here" in said.err
    listed = away.master.ostci("workers").out
    assert "set aside since" in listed and built["key"] in listed
    away.master.ostci("workers", "anvil", "--back")
    assert "works" in away.master.ostci("workers").out


def test_a_worker_without_room_forgets_earlier_jobs_and_then_takes_none(away: Away) -> None:
    assert any(away.worker.glob("repo/objects/*/*"))
    said = away.do("fetch", "--from", away.url, *JOB, "--room", "1000000", code=3)
    assert "too little disk" in json.loads(said.out.splitlines()[-1])["aside"]
    assert not any(away.worker.glob("repo/objects/*/*"))
