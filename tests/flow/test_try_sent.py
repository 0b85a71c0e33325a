# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory with what is not committed is sent to a master, which tries just that."""

import gzip
import io
import json
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from pipeline.cli.record import read_record
from pipeline.ports.git_commands import Git
from pipeline.ports.log import Log
from pipeline.ports.sent import LARGEST, Packed, Sent, pack
from pipeline.words.errors import BadInput
from pipeline.words.push import PushState
from pipeline.words.run import RunEnding
from pipeline.words.wish import How, Replacement, replacement_of, sent_text
from tests.cheap import NO_KERNEL, Cheap
from tests.repos import wait_until

BAD_INPUT, INTERRUPTED = 2, 130


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cheap]:
    """An OS of two components of which one run has composed."""
    found = Cheap.composed(tmp_path_factory.mktemp("sent"), one=0, two=0)
    yield found
    found.kill_children()


@pytest.fixture
def mine(work: Cheap, tmp_path: Path) -> Path:
    """A clone of a component with changes, some of which do not count."""
    place = tmp_path / "mine"
    subprocess.run(["git", "clone", "--quiet", work.sources / "one", place], check=True)
    script = place / "build.sh"
    script.write_text(script.read_text() + "cp -P new link $DESTDIR/usr/share/cheap/\n")
    (place / "new").write_text("not committed\n")
    (place / "link").symlink_to("new")
    (place / ".gitignore").write_text("*.o\n")
    (place / "one.o").write_bytes(b"x" * 1000)
    return place


def state_of(place: Path) -> tuple[bytes, str]:
    """Tell what git has of a working copy: its index, and what it says of it."""
    status = ["git", "--no-optional-locks", "-C", str(place), "status", "--porcelain"]
    said = subprocess.run(status, check=True, capture_output=True, text=True).stdout
    return (place / ".git" / "index").read_bytes(), said


def packed(place: Path, into: Path, **bounds: int) -> Packed:
    into.mkdir(parents=True)
    return pack(place, into / "packed", git=Git(into, log=Log()), where="one", **bounds)


def test_a_directory_is_sent_as_it_is_and_tried_by_the_master(work: Cheap, mine: Path) -> None:
    before = state_of(mine)
    child = work.start("try", "--remote", "--follow", "--json", f"one={mine}")
    pushes = work.house().ledger.pushes
    wait_until(lambda: any(push.is_try for push in pushes.open()))
    (push,) = [one for one in pushes.open() if one.is_try]
    # It is theirs: what becomes of the directory here is no matter any more.
    assert state_of(mine) == before
    (mine / "new").write_text("changed since\n")
    work.ostci("run", "--push", str(push.id), code=NO_KERNEL)
    assert work.end_of(child) == NO_KERNEL
    said = work.said(child)
    told = json.loads(said[said.index("{\n") : said.rindex("}\n") + 2])
    assert list(told["rebuilt"]) == ["one"] and told["kept"] == 1
    assert "build done in" in said and "disk FAILED" in said, "it was told as it went"
    house = work.house()
    copied = house.workdir.run(told["run"]).path / "source" / "one"
    assert sorted(path.name for path in copied.iterdir()) == [
        *(".gitignore", "build.sh", "link", "new")
    ]
    (tree,) = told["trees"]
    assert house.repo.read(tree["commit"], "/usr/share/cheap/new") == b"not committed\n"


def test_a_try_for_which_there_is_no_master_says_so(work: Cheap, mine: Path) -> None:
    said = work.ostci("try", "--remote", f"one={mine}").out
    (push,) = [one for one in work.house().ledger.pushes.open() if one.is_try]
    assert f"push {push.id} is a try, and waits for a master since " in said
    assert " UTC, and none is up\n" in said and f"next: ostci -C {work.root} up\n" in said
    work.house().ledger.pushes.end(push.id, PushState.DONE)


def test_who_stops_following_cancels_what_waits_and_what_runs(work: Cheap, mine: Path) -> None:
    pushes = work.house().ledger.pushes
    child = work.start("try", "--remote", "--follow", f"one={mine}")
    wait_until(lambda: any(push.is_try for push in pushes.open()))
    (push,) = [one for one in pushes.open() if one.is_try]
    child.send_signal(signal.SIGINT)
    assert work.end_of(child) == INTERRUPTED
    waited = pushes.get(push.id)
    assert waited.state is PushState.DONE and "cancelled by" in waited.message

    (mine / "build.sh").write_text("sleep 300\n")
    child = work.start("try", "--remote", "--follow", f"one={mine}")
    wait_until(lambda: any(push.is_try for push in pushes.open()))
    (push,) = [one for one in pushes.open() if one.is_try]
    runs = work.start("run", "--push", str(push.id))
    wait_until(lambda: pushes.get(push.id).run is not None)
    version = str(pushes.get(push.id).run)
    work.wait_for(version, "one: compile")
    child.send_signal(signal.SIGINT)
    assert work.end_of(child) == INTERRUPTED
    work.end_of(runs)
    record = read_record(work.house().workdir.run(version))
    assert record.ending is RunEnding.INTERRUPTED and "cancelled by" in record.message
    assert not pushes.get(push.id).is_open


def test_what_is_too_large_is_not_sent_and_told_why(mine: Path, tmp_path: Path) -> None:
    (mine / "big").write_bytes(b"x" * 200_000)
    with pytest.raises(BadInput, match=r"too large to be sent: 0\.2 MiB in 5 files") as caught:
        packed(mine, tmp_path / "a", most=100_000)
    assert "largest are big 0.2 MiB" in caught.value.hint and ".gitignore" in caught.value.hint
    with pytest.raises(BadInput, match="when packed"):
        packed(mine, tmp_path / "b", largest=100)
    (mine / "away").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="away is a link to /etc/passwd, which is not sent"):
        packed(mine, tmp_path / "c")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="has no file in it"):
        packed(tmp_path / "empty", tmp_path / "d")


def test_equal_files_are_sent_once_and_come_in_pieces(mine: Path, tmp_path: Path) -> None:
    one, two = packed(mine, tmp_path / "a"), packed(mine, tmp_path / "b")
    assert one.id == two.id
    store, data = Sent(tmp_path / "sent"), one.path.read_bytes()
    half = len(data) // 2
    assert store.add(one.id, 0, data[:half], size=len(data)) == half
    assert not store.has(one.id)
    with pytest.raises(BadInput, match=f"{half} bytes of it are here"):
        store.add(one.id, half + 1, data[half + 1 :], size=len(data))
    assert store.add(one.id, half, data[half:], size=len(data)) == len(data)
    assert store.has(one.id)
    assert store.add(one.id, 0, b"", size=len(data)) == len(data), "it is here already"
    with pytest.raises(BadInput, match="are taken at most"):
        store.add("a" * 64, 0, b"x", size=LARGEST + 1)
    with pytest.raises(BadInput, match="not what its name says"):
        store.add("a" * 64, 0, b"x", size=1)
    for bad in ("../../etc/passwd", "A" * 64, ""):
        with pytest.raises(BadInput, match="not what was sent"):
            store.add(bad, 0, b"x", size=1)


def tar_of(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    """Make a tar as somebody hostile would."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def link(name: str, to: str) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = tarfile.SYMTYPE, to
    return entry, b""


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (tar_of((tarfile.TarInfo("../out"), b"x")), "a path that leads out"),
        (tar_of(link("a", "/etc"), (tarfile.TarInfo("a/passwd"), b"x")), "leads out of it"),
        (tar_of((tarfile.TarInfo("file"), b"x")), "are not the files that it says"),
        (tar_of((tarfile.TarInfo("bomb"), b"0" * 200_000)), "has more than 100000 bytes"),
        (gzip.compress(b"no tar"), "no archive that can be read"),
        (b"x", "no archive"),
    ],
    # Not the bytes: they have the time in them, and all workers have to find the same tests.
    ids=["way-out", "link-out", "name-of-nothing", "bomb", "no-tar", "no-archive"],
)
def test_what_somebody_else_sends_is_unpacked_within_bounds(
    tmp_path: Path, data: bytes, told: str
) -> None:
    store, name = Sent(tmp_path / "sent"), sha256(data).hexdigest()
    store.add(name, 0, data, size=len(data))
    into, git = tmp_path / "into", Git(tmp_path, log=Log())
    with pytest.raises(BadInput, match=told):
        store.unpack(name, into, revision="a" * 40, git=git, log=Log(), most=100_000)
    assert not (tmp_path / "out").exists()


def test_a_directory_of_the_server_is_never_meant(work: Cheap, mine: Path) -> None:
    assert replacement_of("one", str(mine)).how is How.REVISION
    text = sent_text("a" * 64, "b" * 40, "my dir/../é")
    assert replacement_of("one", text) == Replacement(
        component="one",
        how=How.DIRECTORY,
        given="my_dir_..__",
        revision="b" * 40,
        sent="a" * 64,
    )
    assert replacement_of("one", f"{text}/..").how is How.REVISION
    made = work.json("try", "--remote", f"one={mine}")
    house = work.house()
    for path in house.workdir.sent.glob("*.gz"):
        path.unlink()
    said = work.ostci("run", "--push", str(made["id"]), code=BAD_INPUT).err
    assert "one: what was sent is here no more" in said
