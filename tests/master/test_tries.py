# SPDX-License-Identifier: LGPL-2.1-or-later
"""A directory on somebody's machine goes to a real master, is tried there, and is told of here."""

import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.record import read_record
from pipeline.ports.master_settings import write_secret
from pipeline.ports.page import FROM_A_PROGRAM, Page
from pipeline.ports.sent import LARGEST, PIECE
from pipeline.words.errors import BadInput
from pipeline.words.push import Push, PushState, Via
from pipeline.words.run import RunEnding
from tests.cheap import NO_KERNEL, Cheap
from tests.masters import Up
from tests.work import TOP, ostci_argv, run_ostci

pytestmark = pytest.mark.slow
USERS = {"dora": "developer", "dave": "developer", "olga": "operator"}
PASSWORD = "opensesame"
INTERRUPTED = 130


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A master of a cheap OS of which one run has composed."""
    root = tmp_path_factory.mktemp("tries")
    work = Cheap.composed(root, one=0, two=0)
    made = Up(root, work=work, users=USERS, reconcile=1, poll=600, runs=2)
    home = made.home / "master"
    home.mkdir(parents=True)
    for user in USERS:
        write_secret(home, f"user-{user}", PASSWORD)
    with made:
        yield made


@pytest.fixture
def mine(up: Up, tmp_path: Path) -> Path:
    """A clone of a component, with a change that is not committed."""
    work = up.work
    assert isinstance(work, Cheap)
    place = tmp_path / "mine"
    subprocess.run(["git", "clone", "--quiet", work.sources / "one", place], check=True)
    script = place / "build.sh"
    script.write_text(script.read_text() + "echo mine > $DESTDIR/usr/share/cheap/one\n")
    # Large, and nothing that gzip makes small: it goes in pieces.
    (place / "data").write_bytes(os.urandom(PIECE + 1000))
    return place


def words(up: Up, *more: str) -> tuple[str, ...]:
    return ("try", "--server", up.url, "--user", "dora", *more)


def newest(up: Up) -> Push:
    (found,) = up.ledger.pushes.newest(1)
    return found


def page(up: Up, user: str) -> Page:
    return Page(up.url, user=user, password=PASSWORD)


def put(up: Up, path: str, body: bytes, **headers: str) -> int:
    """Send a piece without a look at who may; tells the code of the answer."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(up.url + path, data=body, headers=sent, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_directory_is_sent_to_a_server_followed_and_told_of(
    up: Up, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTCI_PASSWORD", PASSWORD)
    more = ("--follow", "--json", f"one={mine}")
    said = run_ostci(None, *words(up, *more), code=NO_KERNEL)
    told: dict[str, Any] = json.loads(said.out)
    assert list(told["rebuilt"]) == ["one"] and told["kept"] == 1
    assert "build done in" in said.err and "kernel" in said.err
    push = newest(up)
    assert (push.via, push.wish.by, push.run) == (Via.TRY, "dora", told["run"])
    repo = up.work.house().repo
    assert repo.read(told["trees"][0]["commit"], "/usr/share/cheap/one") == b"mine\n"
    # The same once more is not sent again.
    (file,) = (up.root / "sent").glob("*.tar.gz")
    assert sha256(file.read_bytes()).hexdigest() == push.wish.replaced[0].sent


def test_a_try_of_the_work_directory_says_who_has_begun_it_or_what_it_waits_for(
    up: Up, mine: Path
) -> None:
    work = up.work
    (mine / "build.sh").write_text("sleep 300\n")
    sent: list[Push] = []
    said = ""
    try:
        # Until there is no place for another run.
        while not sent or sent[-1].run is not None:
            said = work.ostci("try", "--remote", f"one={mine}").out
            sent.append(newest(up))
            assert len(sent) < 10, said
            run, told = sent[-1].run, f"push {sent[-1].id} is a try, and "
            if run is not None:
                assert said.startswith(f"{told}is run {run}; the master at {up.url} has begun it")
                assert f"next: ostci -C {up.root} show {run}\n" in said
        assert len(sent) > 1
        assert said.startswith(f"{told}waits for a free place of the master at {up.url} since ")
        assert f"next: ostci -C {up.root} pushes\n" in said
    finally:
        for push in reversed(sent):
            if push.run is None:
                up.ledger.pushes.end(push.id, PushState.DONE, "nobody wants it")
            else:
                work.ostci("cancel", push.run)
    for push in sent:
        up.wait_ended(push)


def test_who_stops_following_cancels_it_on_the_server(
    up: Up, mine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OSTCI_PASSWORD", PASSWORD)
    (mine / "build.sh").write_text("sleep 300\n")
    before = len(up.ledger.pushes.newest(100))
    with (tmp_path / "said").open("wb") as file:
        child = subprocess.Popen(
            ostci_argv(None, *words(up, "--follow", f"one={mine}")),
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=TOP,
        )
    try:
        up.wait(lambda: len(up.ledger.pushes.newest(100)) > before, "it was written down")
        up.wait(lambda: newest(up).run is not None, "it has a run")
        push = newest(up)
        work = up.work
        assert isinstance(work, Cheap)
        work.wait_for(str(push.run), "one: compile", within_s=120)
        with pytest.raises(BadInput, match="dave may not"):
            page(up, "dave").ask("POST", f"tries/{push.id}/cancel", b"{}")
        assert newest(up).is_open, "it is dora's"
        child.send_signal(signal.SIGINT)
        assert child.wait(60) == INTERRUPTED, (tmp_path / "said").read_text()
    finally:
        child.kill()
    up.wait_ended(push)
    record = read_record(work.house().workdir.run(str(push.run)))
    assert record.ending is RunEnding.INTERRUPTED and "cancelled by Buildbot" in record.message
    told = page(up, "dave").ask("GET", f"tries/{push.id}")
    assert told["is_over"] and "one: compile" in told["log"]


def test_the_page_takes_pieces_from_developers_alone_and_within_bounds(up: Up) -> None:
    data = b"some bytes"
    name = sha256(data).hexdigest()
    path = f"tries/sent/{name}?at=0&size={len(data)}"
    assert put(up, path, data, X_Ostci="ostci") == 403, "nobody is logged in"
    key = b64encode(f"dora:{PASSWORD}".encode()).decode()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    login = {"Authorization": f"Basic {key}"}
    opener.open(urllib.request.Request(f"{up.url}auth/login", headers=login), timeout=20).close()
    foreign = urllib.request.Request(up.url + path, data=data, method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        opener.open(foreign, timeout=20)  # as the form of another site would
    assert not (up.root / "sent" / f"{name}.tar.gz").exists()
    dora = page(up, "dora")
    for bad, told in (
        (f"tries/sent/{name}?at=0&size={LARGEST + 1}", "are taken at most"),
        (f"tries/sent/{name}?at=5&size=20", "0 bytes of it are here"),
        (f"tries/sent/{'0' * 64}?at=0&size={len(data)}", "not what its name says"),
        ("tries/sent/..%2f..%2fledger?at=0&size=5", "not what was sent"),
        ("tries/other/x?at=0&size=5", "no such page"),
    ):
        with pytest.raises(BadInput, match=told):
            dora.ask("PUT", bad, data)
    assert dora.ask("PUT", path, data) == {"here": len(data)}
    for bad in ("tries/0", "tries/x", "tries", "tries/1/2/3"):
        with pytest.raises(BadInput):
            dora.ask("GET", bad)
    assert FROM_A_PROGRAM == "X-Ostci"
