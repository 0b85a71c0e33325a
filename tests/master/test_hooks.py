# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real hooks over HTTP and real git pushes: what starts a look, and what starts nothing."""

import hashlib
import hmac
import json
import socket
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import PushState, Via
from tests.masters import FakeUp

pytestmark = pytest.mark.slow
SECRET = "correct horse"
BAD = "a hook with the signature of another body"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeUp]:
    # A round is far away: what is seen soon was seen because of a hook.
    made = FakeUp(tmp_path_factory.mktemp("hooks"), poll=3600, reconcile=3600)
    home = made.home / "master"
    home.mkdir(parents=True)
    for kind in ("github", "plain"):
        write_secret(home, f"hook-{kind}", SECRET)
    with made:
        made.wait(lambda: len(made.ledger.pushes.heads()) == 4, "the first round is over")
        yield made


def body_of(up: FakeUp, component: str) -> bytes:
    return json.dumps({"url": str(up.work.sample.repository(component))}).encode()


def sign(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def push(up: FakeUp, text: str) -> str:
    """Push to the sample's greeting with git."""
    (up.work.sample.repository("greeting") / "NEWS").write_text(text)
    return up.work.sample.push("greeting", text)


def test_a_signed_hook_makes_a_run_of_a_push_at_once(up: FakeUp) -> None:
    after = push(up, "one")
    body = body_of(up, "greeting")
    code, _ = up.post("change_hook/plain", body, X_Ostci_Signature=sign(body))
    assert code == 200
    up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push is recorded")
    (found,) = up.ledger.pushes.newest(1)
    assert (found.component, found.after, found.via) == ("greeting", after, Via.HOOK)
    (done,) = up.wait_ended(found)
    assert done.state is PushState.DONE
    change = up.get("changes?limit=1&order=-changeid")["changes"][0]
    assert (change["revision"], change["project"]) == (after, "greeting")


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("change_hook/plain", {}),
        ("change_hook/plain", {"X_Ostci_Signature": sign(BAD.encode())}),
        ("change_hook/plain", {"X_Ostci_Signature": "sha256="}),
        ("change_hook/github", {"X_Hub_Signature": "sha1=0"}),
        ("change_hook/gitlab", {"X_Gitlab_Token": SECRET}),
        ("change_hook/base", {}),
        ("change_hook/poller?poller=manifest", {}),
        ("change_hook/", {}),
    ],
)
def test_a_hook_that_nobody_signed_starts_nothing(
    up: FakeUp, path: str, headers: dict[str, str]
) -> None:
    known = up.ledger.pushes.heads()
    push(up, f"unseen {path} {headers}")
    code, text = up.post(path, body_of(up, "greeting"), **headers)
    assert code == 400, text
    # The next signed hook, of a repository that has not moved, comes after whatever it started.
    quiet = body_of(up, "hello")
    assert up.post("change_hook/plain", quiet, X_Ostci_Signature=sign(quiet))[0] == 200
    up.wait(lambda: not up.ledger.pushes.open(), "earlier pushes are over")
    assert up.ledger.pushes.heads() == known


def test_a_replayed_hook_starts_nothing_new(up: FakeUp) -> None:
    push(up, "once")
    body = body_of(up, "greeting")
    headers = {"X_Ostci_Signature": sign(body)}
    assert up.post("change_hook/plain", body, **headers)[0] == 200
    up.wait(lambda: up.ledger.pushes.newest(1)[0].after == head(up), "the push is recorded")
    known = len(up.ledger.pushes.newest(100))
    for _ in range(5):
        assert up.post("change_hook/plain", body, **headers)[0] == 200
    up.wait_ended(*up.ledger.pushes.open())
    assert len(up.ledger.pushes.newest(100)) == known


def head(up: FakeUp) -> str:
    place = up.work.sample.repository("greeting")
    return (place / ".git" / "refs" / "heads" / "master").read_text().strip()


def test_a_body_that_is_too_long_is_not_even_read(up: FakeUp) -> None:
    host, port = up.url.removeprefix("http://").rstrip("/").split(":")
    for length, wanted in ((b"Content-Length: 104857600", b"413"), (b"", b"411")):
        announced = length or b"Transfer-Encoding: chunked"
        with socket.create_connection((host, int(port)), timeout=20) as one:
            one.sendall(
                b"POST /change_hook/plain HTTP/1.1\r\nHost: x\r\n" + announced + b"\r\n\r\n"
            )
            assert one.recv(100).split()[1] == wanted


def test_nobody_may_change_anything_on_the_page(up: FakeUp) -> None:
    build = up.builds()[-1]
    for path in (f"builds/{build['buildid']}", f"buildrequests/{build['buildrequestid']}"):
        body = json.dumps({"jsonrpc": "2.0", "method": "stop", "id": 1, "params": {}}).encode()
        code, text = up.post(f"api/v2/{path}", body, Content_Type="application/json")
        assert code in (403, 400, 501) and "error" in text, (code, text)
    assert up.get("forceschedulers")["forceschedulers"] == []


def test_the_page_and_the_workers_port_are_of_this_host_alone(up: FakeUp) -> None:
    place = tomllib.loads((up.home / "master" / "master.toml").read_text())
    listening = [
        line.split()[1]
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        if line.split()[3] == "0A"
    ]
    for port in (place["port"], place["worker-port"]):
        found = [one for one in listening if int(one.rpartition(":")[2], 16) == port]
        assert found == [f"0100007F:{port:04X}"]
