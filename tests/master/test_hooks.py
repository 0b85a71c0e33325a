# SPDX-License-Identifier: LGPL-2.1-or-later
"""Real hooks over HTTP and real git pushes: what starts a look, and what starts nothing."""

import hashlib
import hmac
import json
import os
import signal
import socket
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.ports.process import descendants
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


def push(up: FakeUp, text: str, component: str = "greeting") -> str:
    """Push to a repository of the sample with git."""
    (up.work.sample.repository(component) / "NEWS").write_text(text)
    return up.work.sample.push(component, text)


def greeting_head(up: FakeUp) -> list[str]:
    """Tell where the ledger knows the greeting to be."""
    heads = up.ledger.pushes.heads()
    return [at for (url, _), at in heads.items() if url.endswith("/greeting")]


def test_a_signed_hook_makes_a_run_of_a_push_at_once(up: FakeUp) -> None:
    after = push(up, "one")
    body = body_of(up, "greeting")
    code, _ = up.post("change_hook/plain", body, X_Ostci_Signature=sign(body))
    assert code == 200
    up.wait(lambda: bool(up.ledger.pushes.newest(1)), "the push is recorded")
    (found,) = up.ledger.pushes.newest(1)
    assert (found.component, found.after, found.via) == ("greeting", after, Via.HOOK)
    # It named nothing: no push of this server is left alone to wait for what a hook may name.
    assert not [name for _, _, names in os.walk(up.home) for name in names if name == "hooks.jsonl"]
    (done,) = up.wait_ended(found)
    assert done.state is PushState.DONE
    changes = "changes?limit=1&order=-changeid"
    up.wait(lambda: up.get(changes)["changes"][0]["revision"] == after, "it is on the page")
    change = up.get(changes)["changes"][0]
    assert (change["revision"], change["project"]) == (after, "greeting")


def test_a_push_that_a_person_writes_down_is_started_at_once(up: FakeUp) -> None:
    number = int(up.work.json("push", "hello")["id"])
    (done,) = up.wait_ended(up.ledger.pushes.get(number))
    assert done.state is PushState.DONE


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
    known = greeting_head(up)
    assert len(known) == 1
    push(up, f"unseen {path} {headers}")
    code, text = up.post(path, body_of(up, "greeting"), **headers)
    assert code == 400, text
    # Looks are one after the other: what the next signed hook starts comes after, or with it.
    after = push(up, f"seen {path} {headers}", "hello")
    signed = body_of(up, "hello")
    assert up.post("change_hook/plain", signed, X_Ostci_Signature=sign(signed))[0] == 200
    up.wait(lambda: after in up.ledger.pushes.heads().values(), "the other push is recorded")
    assert greeting_head(up) == known


def test_a_replayed_hook_starts_nothing_new(up: FakeUp) -> None:
    push(up, "once")
    body = body_of(up, "greeting")
    headers = {"X_Ostci_Signature": sign(body)}
    assert up.post("change_hook/plain", body, **headers)[0] == 200
    up.wait(lambda: up.ledger.pushes.newest(1)[0].after == head(up), "the push is recorded")
    known = len(up.ledger.pushes.newest(100))
    for _ in range(5):
        assert up.post("change_hook/plain", body, **headers)[0] == 200
    # Looks are one after the other: that of another push comes after them.
    after = push(up, "after it", "hello")
    signed = body_of(up, "hello")
    assert up.post("change_hook/plain", signed, X_Ostci_Signature=sign(signed))[0] == 200
    up.wait(lambda: after in up.ledger.pushes.heads().values(), "the other push is recorded")
    assert len(up.ledger.pushes.newest(100)) == known + 1
    up.wait_ended(*up.ledger.pushes.open())


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
    for form in ("force", "try"):
        assert up.control(f"forceschedulers/{form} force", component="hello")[0] == 403


def test_a_hook_is_followed_while_base_and_manifest_are_looked_at(tmp_path: Path) -> None:
    made = FakeUp(tmp_path, poll=3600, reconcile=3600)
    (made.home / "master").mkdir(parents=True)
    write_secret(made.home / "master", "hook-plain", SECRET)
    made.tell("watch", "hang")
    with made as up:
        up.wait(lambda: "hangs watch" in up.calls(), "the command looks")
        body = body_of(up, "greeting")
        assert up.post("change_hook/plain", body, X_Ostci_Signature=sign(body))[0] == 200
        up.wait(lambda: len(greeting_head(up)) == 1, "the hook is followed")
        assert len(up.ledger.pushes.heads()) == 1
        assert up.process is not None
        for pid, _ in descendants(up.process.pid):
            with suppress(
                FileNotFoundError, ProcessLookupError
            ):  # what is below the first goes too
                if "watch" in Path(f"/proc/{pid}/cmdline").read_text().split("\0"):
                    os.kill(pid, signal.SIGKILL)
        up.wait(lambda: len(up.ledger.pushes.heads()) == 4, "its trouble stops no round")


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
