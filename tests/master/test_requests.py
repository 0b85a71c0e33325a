# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks of merge requests over HTTP, a real git daemon, and what the forge is told in return."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.master_settings import write_secret
from pipeline.words.push import Push, PushState, Via
from pipeline.words.refs import is_revision
from pipeline.words.request import Told
from tests.forges import Request
from tests.masters import FakeUp
from tests.receivers import Kept, http_server
from tests.repos import GitRepo, git_daemon

pytestmark = pytest.mark.slow
SECRET = "correct horse"
KINDS = ("github", "gitlab", "gitea")


@dataclass
class Forge:
    """A master, and a server of git that it watches as if it were a forge of each kind."""

    up: FakeUp
    http: Kept
    repo: GitRepo
    url: str
    numbers: int = 0

    def open(self, kind: str = "github", **given: Any) -> Request:
        """Open a request; its hook is not sent yet."""
        self.numbers += 1
        number = self.numbers
        made = Request(kind=kind, url=self.url, number=number, target="master", **given)
        return self.push(made)

    def push(self, request: Request, **given: Any) -> Request:
        """Push a new head to a request."""
        tip = self.repo.git("rev-parse", "master")
        tree = self.repo.git("rev-parse", "master^{tree}")
        text = f"request {request.number} {request.kind} {request.head} {given}"
        head = self.repo.git("commit-tree", "-p", tip, "-m", text, tree)
        self.repo.git("update-ref", self.ref(request), head)
        return request.but(head=head, **given)

    def ref(self, request: Request) -> str:
        """Tell where the forge keeps the head of a request."""
        place = "merge-requests" if request.kind == "gitlab" else "pull"
        return f"refs/{place}/{request.number}/head"

    def send(self, request: Request, secret: str = SECRET, **more: Any) -> int:
        """Send the hook of a request."""
        body = request.body(**more)
        headers = request.headers(body, secret)
        code, _ = self.up.post(f"change_hook/{request.kind}", body, **headers)
        return code

    def tries(self, request: Request) -> list[Push]:
        """List the tries of a request, oldest first."""
        ref = self.ref(request)
        return [one for one in self.up.ledger.pushes.newest(500) if one.branch == ref]

    def wait_tried(self, request: Request) -> Push:
        """Wait until the head of a request is tried."""
        told = f"{request.head[:9]} of {self.ref(request)} is tried"
        self.up.wait(
            lambda: [one.after for one in self.tries(request)][-1:] == [request.head], told
        )
        return self.tries(request)[-1]

    def settle(self) -> None:
        """Wait until all hooks that were sent are followed.

        Looks are one after the other: that of the second begins when that of the first is over.
        """
        for _ in range(2):
            self.numbers += 1
            stranger = Request(kind="github", url=self.url, number=self.numbers)
            assert self.send(stranger) == 200
            told = f"pull request {self.numbers} is not tried: whoever opened it is no member"
            self.up.wait(partial(self.has_logged, told), told)

    def has_logged(self, text: str) -> bool:
        """Tell whether the master has logged something."""
        return text in (self.up.home / "master" / "twistd.log").read_text()

    def states(self, request: Request) -> list[str]:
        """List the states that the head of a request was given at its forge."""
        path = f"/repos/git/greeting/statuses/{request.head}"
        return [one["state"] for one in self.http.of(path)]


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    root: Path = tmp_path_factory.mktemp("requests")
    with ExitStack() as stack:
        http = stack.enter_context(http_server())
        report = {"github": {"host": "127.0.0.1", "api": f"http://127.0.0.1:{http.port}"}}
        # A round is far away: what is seen soon was seen because of a hook.
        up = FakeUp(root, poll=3600, reconcile=3600, report=report, runs=4)
        home = up.home / "master"
        home.mkdir(parents=True)
        for kind in KINDS:
            write_secret(home, f"hook-{kind}", SECRET)
        write_secret(home, "report-github", "token")
        sample = up.work.sample
        address = stack.enter_context(git_daemon(sample.root))
        url = f"{address}/git/greeting"
        set_policy(up, url, "members")
        (up.fake / "keep-all").touch()
        stack.enter_context(up)
        up.wait(lambda: len(up.ledger.pushes.heads()) == 4, "the first round is over")
        yield Forge(up, http, GitRepo(sample.repository("greeting")), url)


def set_policy(up: FakeUp, url: str, policy: str) -> None:
    """Have the manifest fetch the greeting from a server, and say whose requests are tried."""
    lines = []
    for line in up.work.sample.manifest.read_text().splitlines():
        is_mine = "greeting" in line and "git:" in line
        lines.append(line.replace("git:./git/greeting", f"git:{url}") if is_mine else line)
    text = "\n".join(one for one in lines if not one.startswith("merge-requests:"))
    up.work.sample.manifest.write_text(f"merge-requests: {policy}\n{text}\n")


@pytest.mark.parametrize("kind", KINDS)
def test_a_members_request_is_tried_once_and_its_forge_is_told(forge: Forge, kind: str) -> None:
    request = forge.open(kind, author="alice", source=1296269)
    assert forge.send(request) == 200
    push = forge.wait_tried(request)
    assert (push.via, push.component, push.url) == (Via.REQUEST, "greeting", forge.url)
    (done,) = forge.up.wait_ended(push)
    assert done.state is PushState.DONE and done.note == request_page(request)
    calls = [call.split()[0] for call in forge.up.calls() if str(done.run) in call.split()]
    assert calls[-2:] == ["judge", "end"] and "promote" not in calls
    forge.up.wait(lambda: forge.states(request) == ["pending", "success"], "the forge is told")
    path = f"/repos/git/greeting/statuses/{request.head}"
    (build,) = [one for one in forge.up.builds() if one["props"].get("push") == push.id]
    status = forge.http.of(path)[-1]
    assert status["context"] == "ostci/tiny/merge-request"
    assert status["target_url"].endswith(f"builders/{build['builderid']}/builds/{build['number']}")
    # The same hook once more, and another of the same head.
    assert forge.send(request) == forge.send(request.but(minute=3, action="edited")) == 200
    forge.settle()
    assert len(forge.tries(request)) == 1


def request_page(request: Request) -> str:
    place = "-/merge_requests" if request.kind == "gitlab" else "pull"
    return f"https://forge.example/own/zlib/{place}/{request.number}"


def test_a_failed_try_is_a_failure_of_that_commit_alone(forge: Forge) -> None:
    forge.up.tell("plan", 1)
    forge.up.tell("end-ending", "failed")
    request = forge.open(association="MEMBER")
    forge.send(request)
    forge.up.wait_ended(forge.wait_tried(request))
    forge.up.wait(lambda: forge.states(request) == ["pending", "failure"], "the forge is told")


def test_what_nobody_who_may_has_signed_starts_nothing(forge: Forge) -> None:
    known = len(forge.up.ledger.pushes.newest(500))
    for kind in KINDS:
        forged = forge.open(kind, author="alice", association="OWNER", source=1296269)
        assert forge.send(forged, secret="a fork's own") == 400
        # What one forge has signed is not taken for another's.
        body = forged.body()
        headers = forged.headers(body, SECRET)
        for other in KINDS:
            if other != kind:
                code, _ = forge.up.post(f"change_hook/{other}", body, **headers)
                assert code == 400
        changed = body.replace(b"alice", b"malory")
        if kind != "gitlab":
            assert forge.up.post(f"change_hook/{kind}", changed, **headers)[0] == 400
    forge.settle()
    assert len(forge.up.ledger.pushes.newest(500)) == known


def test_a_stranger_and_a_fork_have_nothing_tried(forge: Forge) -> None:
    stranger = forge.open(association="CONTRIBUTOR")
    assert forge.send(stranger) == 200
    # The hook of a fork, whose owner is of course a member there.
    own = {"id": 35129377, "clone_url": "git://127.0.0.1/mallory/greeting.git"}
    fork = forge.open(association="OWNER")
    assert forge.send(fork, repository=own) == 200
    for_another = forge.open(association="OWNER").but(target="stable")
    assert forge.send(for_another) == 200
    forge.settle()
    assert forge.tries(stranger) == forge.tries(fork) == forge.tries(for_another) == []
    assert forge.has_logged(f"pull request {stranger.number} is not tried: whoever opened it")


def test_what_is_tried_is_what_the_server_has_and_not_what_the_hook_says(forge: Forge) -> None:
    request = forge.open(association="OWNER")
    moved = forge.push(request)
    assert forge.send(request) == 200, "it names the head before"
    forge.up.wait_ended(forge.wait_tried(moved))
    vanished = forge.open(association="OWNER")
    forge.repo.git("update-ref", "-d", forge.ref(vanished))
    assert forge.send(vanished) == 200
    forge.settle()
    assert len(forge.tries(request)) == 1 and forge.tries(vanished) == []
    assert all(is_revision(push.after) for push in forge.tries(moved))


def running(forge: Forge, request: Request) -> Push:
    """Have the try of a request run until it is stopped."""
    forge.up.tell("plan", "silent")
    forge.send(request)
    push = forge.wait_tried(request)
    forge.up.wait(lambda: forge.up.calls()[-1:] == ["hangs plan"], f"push {push.id} runs")
    return push


def test_a_new_head_stops_the_try_of_the_one_before(forge: Forge) -> None:
    request = forge.open(association="OWNER")
    old = running(forge, request)
    moved = forge.push(request, minute=1, action="synchronize")
    assert forge.send(moved) == 200
    new = forge.wait_tried(moved)
    before = forge.up.ledger.pushes.get(old.id)
    assert (before.state, before.superseded_by) == (PushState.SUPERSEDED, new.id)
    (done,) = forge.up.wait_ended(new)
    assert done.note.endswith(f"in the place of push {old.id}")
    wait_stopped(forge, old, f"pull request {request.number} has moved on")
    forge.up.wait(lambda: forge.states(request) == ["pending", "error"], "the forge is told")
    assert forge.up.ledger.pushes.get(old.id).state is PushState.SUPERSEDED
    assert len(forge.tries(request)) == 2


def wait_stopped(forge: Forge, push: Push, why: str) -> None:
    """Wait until the build of a push was stopped, and its run has ended."""

    def build() -> dict[str, Any]:
        return [one for one in forge.up.builds() if one["props"].get("push") == push.id][-1]

    forge.up.wait(lambda: build()["word"] == "cancelled", f"the build of push {push.id} is stopped")
    run = str(forge.up.ledger.pushes.get(push.id).run)
    cancels = [call for call in forge.up.calls() if call.startswith(f"cancel {run} ")]
    assert len(cancels) == 1 and why in cancels[0], cancels


def test_closing_a_request_stops_its_try_and_opening_it_again_begins_one(forge: Forge) -> None:
    request = forge.open(association="OWNER")
    push = running(forge, request)
    closed = request.but(is_open=False, action="closed", minute=5)
    assert forge.send(closed) == 200
    (ended,) = forge.up.wait_ended(push)
    assert (ended.state, ended.message) == (
        PushState.CANCELLED,
        f"pull request {request.number} was closed",
    )
    wait_stopped(forge, push, "was closed")
    forge.up.wait(lambda: forge.states(request)[-1:] == ["error"], "the forge is told")
    # Hooks of before, sent once more, open nothing.
    assert forge.send(request) == forge.send(request.but(minute=4, action="reopened")) == 200
    moved = forge.push(request)
    forge.settle()
    assert len(forge.tries(request)) == 1
    assert forge.send(moved.but(minute=6, action="reopened")) == 200
    forge.up.wait_ended(forge.wait_tried(moved))
    assert forge.send(closed) == 200
    forge.settle()
    assert [one.state for one in forge.tries(request)] == [PushState.CANCELLED, PushState.DONE]


@pytest.mark.full
def test_a_master_that_is_killed_before_it_could_stop_a_try_stops_it_then(forge: Forge) -> None:
    request = forge.open(association="OWNER")
    push = running(forge, request)
    closed = Told(ref=forge.ref(request), is_open=False, is_member=True, when=2e9)
    assert forge.up.ledger.requests.note_told(forge.url, closed, even_new=False)[0]
    forge.up.kill("master")
    forge.up.wait(forge.up.is_up, "the master is up again")
    wait_stopped(forge, push, "")
    assert forge.up.ledger.pushes.get(push.id).state is PushState.CANCELLED


def test_everybodys_requests_are_found_by_rounds_where_the_manifest_says_so(
    forge: Forge,
) -> None:
    stranger = forge.open(association="NONE")
    up = forge.up
    up.stop()
    with (up.root / "ostci.toml").open() as file:
        settings = file.read()
    (up.root / "ostci.toml").write_text(settings.replace("poll = 3600", "poll = 1"))
    set_policy(up, forge.url, "all")
    up.start()
    up.wait(lambda: "" in up.ledger.requests.known(forge.url), "those of before are seen")
    assert forge.tries(stranger) == []
    new = forge.open()
    up.wait_ended(forge.wait_tried(new))
    moved = forge.push(stranger)
    up.wait_ended(forge.wait_tried(moved))


def test_a_tag_that_moves_is_seen_by_a_hook_or_a_round(forge: Forge) -> None:
    """In the same master, which looks every second by now."""
    up, repo = forge.up, forge.repo
    repo.git("tag", "--annotate", "-m", "one", "v1")
    text = up.work.sample.manifest.read_text()
    up.work.sample.manifest.write_text(tagged(text, forge.url))
    key = (forge.url, "tag:v1")
    up.wait(lambda: key in up.ledger.pushes.heads(), "the tag is followed")
    after = repo.commit("more", NEWS="more\n")
    repo.git("tag", "--annotate", "--force", "-m", "two", "v1")
    up.wait(lambda: up.ledger.pushes.heads()[key] == after, "the tag is seen to move")
    (push,) = [one for one in up.ledger.pushes.newest(500) if one.branch == "tag:v1"]
    assert push.rewritten and push.after == after
    repo.git("tag", "--delete", "v1")
    up.wait(
        lambda: any(one["category"] == "refused" for one in up.get("changes")["changes"]),
        "that it is gone is on the page",
    )
    refused = [one for one in up.get("changes")["changes"] if one["category"] == "refused"]
    assert "there is no tag v1 any more" in refused[-1]["comments"]
    up.wait_ended(push)


def tagged(text: str, url: str) -> str:
    """Have the greeting follow a tag."""
    return text.replace(f'"git:{url}"', f'"git:{url}", tag: v1')
