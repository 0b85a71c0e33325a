# SPDX-License-Identifier: LGPL-2.1-or-later
"""Merge requests found by rounds over real repositories: each head is tried once, and bounded."""

from pathlib import Path

import pytest

from pipeline.cli.watching import Round, look
from pipeline.words.push import PushState, Via
from pipeline.words.request import MOST_OPEN, Told
from tests.repos import GitRepo, git_daemon
from tests.town import Town

REF = "refs/pull/1/head"


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Two repositories, of which one is told to have its requests tried."""
    made = Town.make(tmp_path, "zlib", "png")
    write(made, "all")
    made.ostci("resolve")
    return made


def write(town: Town, policy: str) -> None:
    """Have the manifest say whose requests of ``zlib`` are tried."""
    town.write_manifest("zlib", "png", keys={"zlib": f"merge-requests: {policy}"})


def watch(town: Town) -> Round:
    """Look once, as a new command does."""
    house = town.house()
    found, _ = look(house)
    house.ledger.close()
    return found


def request(repo: GitRepo, text: str, ref: str = REF) -> str:
    """Open a request, or move it on; the repository's branch stays where it is."""
    head = repo.commit(text, file_txt=text)
    repo.git("update-ref", ref, head)
    repo.git("reset", "--quiet", "--hard", "HEAD~")
    return head


def tries(town: Town) -> list[tuple[str, str, str]]:
    """List what is tried: ref, head and state."""
    return [
        (push.branch, push.after, str(push.state))
        for push in town.pushes()
        if push.via is Via.REQUEST
    ]


def test_a_request_that_comes_is_tried_and_one_that_was_there_before_is_not(town: Town) -> None:
    zlib, png = town.repos["zlib"], town.repos["png"]
    old = request(zlib, "old", "refs/merge-requests/1/head")
    assert watch(town).pushes == ()
    head = request(zlib, "new")
    request(png, "nobody asked for this one")
    (push,) = watch(town).pushes
    assert (push.component, push.branch, push.after, push.via) == ("zlib", REF, head, Via.REQUEST)
    assert push.is_try and push.note == "pull request 1"
    assert watch(town) == Round(), "each head is tried once"
    run = town.json("resolve", "--push", str(push.id))["run"]
    assert town.pins(run)["zlib"] == head and town.house().workdir.run(run).file("try").is_file()
    listed = town.ostci("pushes")
    assert "by request; pull request 1" in listed and f"new→{head[:7]} {REF}" in listed
    zlib.git("update-ref", "refs/merge-requests/1/head", request(zlib, "moved", "refs/x"), old)
    assert [one.branch for one in watch(town).pushes] == ["refs/merge-requests/1/head"]


def test_a_new_head_takes_the_place_of_the_one_before_which_is_told_on_both(town: Town) -> None:
    watch(town)
    repo = town.repos["zlib"]
    first = request(repo, "one")
    (old,) = watch(town).pushes
    town.house().ledger.pushes.begin_attempt(old.id)
    run = town.json("resolve", "--push", str(old.id))["run"]
    second = request(repo, "two")
    (new,) = watch(town).pushes
    assert tries(town) == [(REF, first, "superseded"), (REF, second, "waiting")]
    before = town.house().ledger.pushes.get(old.id)
    assert before.superseded_by == new.id
    assert before.message == f"pull request 1 has moved on: push {new.id} tries that"
    assert new.note == f"pull request 1, in the place of push {old.id}"
    assert f"cancelled by {before.message}" in town.ostci("log"), "its run has ended"
    assert run in town.ostci("log")
    # Whoever works on the old one still can no more change what became of it.
    assert not town.house().ledger.pushes.end(old.id, PushState.DONE)


def test_a_request_that_vanishes_is_tried_no_more(town: Town) -> None:
    watch(town)
    repo = town.repos["zlib"]
    head = request(repo, "one")
    watch(town)
    repo.git("update-ref", "-d", REF)
    assert watch(town).pushes == ()
    assert tries(town) == [(REF, head, "cancelled")]
    assert "pull request 1 is gone from its server" in town.ostci("pushes")
    repo.git("update-ref", REF, head)
    assert [one.after for one in watch(town).pushes] == [head], "it is a new one then"


def test_so_many_are_tried_at_once_and_pushes_give_way_to_none(town: Town) -> None:
    town.write_manifest("zlib", "png", keys={"zlib": "merge-requests: all"}, more="queue-bound: 2")
    watch(town)
    repo = town.repos["zlib"]
    for number in range(MOST_OPEN + 2):
        request(repo, f"{number}", f"refs/pull/{number + 1}/head")
    assert len(watch(town).pushes) == MOST_OPEN
    assert watch(town).pushes == ()
    first = town.pushes()[0]
    pushed = town.repos["png"].commit("pushed")
    found = watch(town)
    assert [one.after for one in found.pushes] == [pushed] and not found.superseded
    town.house().ledger.pushes.end(first.id, PushState.DONE)
    assert [one.branch for one in watch(town).pushes] == [f"refs/pull/{MOST_OPEN + 1}/head"]


def test_of_members_and_of_nobody(town: Town) -> None:
    repo = town.repos["zlib"]
    url = str(repo.path)
    write(town, "off")
    request(repo, "off")
    assert watch(town).pushes == ()
    write(town, "members")
    assert watch(town).pushes == (), "nobody knows whose it is"
    house = town.house()
    told = Told(ref=REF, is_open=True, is_member=True, author="alice", target="main", when=100.0)
    assert house.ledger.requests.note_told(url, told, even_new=True) == (True, ())
    (push,) = watch(town).pushes
    assert push.wish.by == "alice" and "asked for by alice" in town.ostci("pushes")
    later = Told(ref=REF, is_open=False, is_member=True, when=200.0)
    fresh, (ended,) = house.ledger.requests.note_told(url, later, even_new=False)
    assert fresh and ended.id == push.id
    assert house.ledger.requests.note_told(url, told, even_new=True) == (False, ()), "a replay"
    request(repo, "after it was closed")
    assert watch(town).pushes == ()
    house.ledger.close()


def test_a_request_of_a_server_is_fetched_by_its_run(town: Town) -> None:
    with git_daemon(town.root / "git") as address:
        text = (town.root / "os.yaml").read_text()
        (town.root / "os.yaml").write_text(text.replace("git:./git/zlib", f"git:{address}/zlib"))
        town.ostci("resolve")
        watch(town)
        head = request(town.repos["zlib"], "far away")
        (push,) = watch(town).pushes
        house = town.house()
        commits = [text for text in town.sink.texts() if " fetch " in text and "refs/pull" in text]
        assert commits == [], "whoever watches fetches nothing of a stranger's"
        run = town.json("resolve", "--push", str(push.id))["run"]
        assert town.pins(run)["zlib"] == head
        house.ledger.close()


def test_a_manifest_that_tries_requests_gives_the_same_trees(town: Town) -> None:
    digest = town.snapshot(town.house().workdir.versions()[-1]).digest
    write(town, "off")
    assert watch(town).pushes == (), "it is no push of the manifest"
    town.ostci("resolve")
    assert town.snapshot(town.house().workdir.versions()[-1]).digest == digest
