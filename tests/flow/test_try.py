# SPDX-License-Identifier: LGPL-2.1-or-later
"""A try builds only what it changes, leaves nothing that others use, and can never be promoted."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.cli.record import read_record
from pipeline.ports.ledger import PromotionState
from pipeline.words.manifest import MergeRequests, Need
from pipeline.words.push import NewPush, PushState
from pipeline.words.records import from_json
from pipeline.words.refs import buildmaster_ref, compose_ref, try_ref
from pipeline.words.request import Follower, Known, new_request
from pipeline.words.run import RunEnding, place_of
from pipeline.words.snapshot import Snapshot
from pipeline.words.verdict import SuiteResult, Verdict
from tests.cheap import NO_KERNEL, OSNAME, TREE, Cheap
from tests.repos import GitRepo

BAD_INPUT = 2


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cheap]:
    """An OS of two components of which one run has composed."""
    found = Cheap.composed(tmp_path_factory.mktemp("try"), one=0, two=0)
    yield found
    found.kill_children()


def tried(work: Cheap, *words: str) -> dict[str, Any]:
    """Try something; it comes as far as this OS can."""
    found: dict[str, Any] = work.json("try", *words, code=NO_KERNEL)
    assert "kernel" in found["message"], found
    return found


def refs(work: Cheap) -> dict[str, str]:
    """Tell all refs but those of tries."""
    return {ref: at for ref, at in work.house().repo.refs().items() if "/try/" not in ref}


def test_a_directory_is_taken_as_it_is_with_what_is_not_committed(work: Cheap) -> None:
    place = work.root.parent / "mine"
    subprocess.run(["git", "clone", "--quiet", work.sources / "one", place], check=True)
    script = place / "build.sh"
    script.write_text(script.read_text() + "cp new $DESTDIR/usr/share/cheap/new\n")
    (place / "new").write_text("not committed\n")
    (place / ".gitignore").write_text("ignored\n")
    (place / "ignored").write_text("not taken\n")
    before = refs(work)
    told = tried(work, f"one={place}")
    assert list(told["rebuilt"]) == ["one"] and told["kept"] == 1
    (tree,) = told["trees"]
    repo = work.house().repo
    assert tree["ref"] == try_ref(OSNAME, told["run"], TREE)
    assert repo.read(tree["commit"], "/usr/share/cheap/new") == b"not committed\n"
    assert repo.info(tree["commit"]).bindings == (tree["ref"],)
    copied = work.house().workdir.run(told["run"]).path / "source" / "one"
    assert not (copied / "ignored").exists() and (copied / "new").is_file()
    assert refs(work) == before, "neither its line nor a component's newest nor a key has moved"


def test_a_branch_or_the_start_of_a_revision_is_found_in_its_repository(work: Cheap) -> None:
    repo = GitRepo(work.sources / "two")
    repo.git("checkout", "--quiet", "-b", "topic")
    work.change("two")
    topic = repo.git("rev-parse", "HEAD").strip()
    repo.git("checkout", "--quiet", "master")
    for given in ("topic", topic[:9]):
        told = tried(work, f"two={given}")
        assert told["replaced"][0]["revision"] == topic
        assert list(told["rebuilt"]) == ["two"], "what another try has built is not used"


def test_a_run_after_a_try_is_as_if_there_had_been_none(work: Cheap) -> None:
    place = work.root.parent / "broken"
    subprocess.run(["git", "clone", "--quiet", work.sources / "one", place], check=True)
    (place / "build.sh").write_text("exit 1\n")
    told = work.json("try", f"one={place}", code=1)
    assert told["rebuilt"]["one"]["outcome"] == "failed" and told["trees"] == []
    said = work.ostci("shell", "--run", told["run"], "one", "cat", "build.sh")
    assert "exit 1" in said.out
    before = refs(work)
    tried(work, "one=master", "--rebuild", "one")
    assert refs(work) == before
    work.change("one")
    work.ostci("run", code=NO_KERNEL)
    house = work.house()
    newest = house.repo.info(house.repo.need(compose_ref(OSNAME, TREE)))
    assert newest.parent == before[compose_ref(OSNAME, TREE)]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("three=master",), "the manifest has no component 'three'"),
        (("one=nothing-such",), "no directory here, and no branch or revision"),
        (("one",), "not COMPONENT=DIR, BRANCH or REVISION"),
        (("one=--upload-pack=x",), "would be read as an option"),
        (("one=master", "one=topic"), "one is replaced twice"),
        (("--rebuild", "three"), "the manifest has no component 'three'"),
        (("--from", "http://127.0.0.1:1", "--remote"), "--from and --remote do not go together"),
        (("--follow", "one=master"), "--follow is for a try that a master does"),
        (("--trust", "one=master"), "--tree, --key and --trust are about a server"),
    ],
)
def test_what_cannot_be_tried_is_told_before_anything_begins(
    work: Cheap, words: tuple[str, ...], told: str
) -> None:
    before = work.house().workdir.versions()
    assert told in work.ostci("try", *words, code=BAD_INPUT).err
    assert work.house().workdir.versions() == before


def test_nothing_whatever_promotes_a_try(work: Cheap) -> None:
    told = tried(work, "one=master", "--rebuild", "two")
    version, commit = told["run"], told["trees"][0]["commit"]
    house = work.house()
    passed = SuiteResult(suite="smoke", tree=TREE, commit=commit, verdict=Verdict.PASSED)
    ref = buildmaster_ref(OSNAME, TREE)

    def is_unmoved() -> None:
        for repo in (house.repo, house.archive):
            assert repo.resolve(ref) is None
        assert not house.ledger.promotions(states=(PromotionState.BEGUN, PromotionState.DONE))

    # It passes whatever a gate could ask for, and somebody gives the stage by hand.
    house.ledger.record_suite(version, passed)
    assert "a try is never promoted" in work.ostci("promote", "--run", version, code=1).err
    is_unmoved()
    # Its trees are put into a run of the line.
    run = house.workdir.versions()[0]
    trees = house.workdir.run(run).file("trees")
    before = trees.read_text()
    trees.write_text(house.workdir.run(version).file("trees").read_text())
    house.ledger.record_suite(run, passed)
    assert "is not bound to" in work.ostci("promote", "--run", run, code=1).err
    trees.write_text(before)
    is_unmoved()
    # The note that it is a try is lost, and its record says otherwise.
    note = house.workdir.run(version).file("try")
    note.rename(note.with_suffix(".gone"))
    said = work.ostci("promote", "--run", version, code=1).err
    assert "a try is never promoted" in said and "is not bound to" in said
    note.with_suffix(".gone").rename(note)
    is_unmoved()
    # A promotion of it was begun by a ledger that lies.
    with house.ledger.deciding() as sitting:
        sitting.write(
            batch=sitting.new_batch(),
            run=run,
            osname=OSNAME,
            tree=TREE,
            commit=commit,
            previous=None,
            state=PromotionState.BEGUN,
            gate={"smoke": Need.REQUIRED},
        )
    work.ostci("plan")
    work.ostci("judge", "--run", version)
    is_unmoved()
    (row,) = house.ledger.promotions(states=(PromotionState.UNDONE,))
    assert "is not bound to" in row.reason
    # A person moves the ref.
    house.repo.set_ref(ref, commit)
    assert "made to be thrown away" in work.ostci("doctor", "--no-boot", code=3).out
    work.ostci("judge", "--run", version)
    is_unmoved()
    house.ledger.close()


def test_a_try_goes_with_its_refs_and_its_artifacts(work: Cheap) -> None:
    told = [tried(work, "one=master", "--rebuild", "one") for _ in range(2)]
    house = work.house()
    line = [
        one for one in house.workdir.versions() if not house.workdir.run(one).file("try").is_file()
    ]
    work.ostci("clean", "--keep", "1")
    left = [ref for ref in house.repo.refs() if "/try/" in ref]
    assert left and all(f"/try/{told[-1]['run']}/" in ref for ref in left)
    assert set(line) <= set(house.workdir.versions()), "tries push out no run of the line"
    assert not house.workdir.is_run(told[0]["run"])
    house.repo.fsck()


def test_a_try_waits_for_no_turn_and_takes_none(work: Cheap) -> None:
    work.change("two", after_s=3600)
    slow = work.start("run")
    version = work.wait_for_run(tuple(work.house().workdir.versions()))
    work.wait_for(version, "two: compile")
    told = tried(work, "one=master")
    assert read_record(work.house().workdir.run(version)).ending is RunEnding.RUNNING
    work.wake(slow)
    assert work.end_of(slow) == NO_KERNEL
    assert "composed already" not in work.log_of(version)
    assert place_of(told["run"]) > place_of(version)
    work.change("two")  # others build it again, and need not wait for it
    work.ostci("run", code=NO_KERNEL)


def test_a_try_of_the_server_is_a_record_first_and_stands_in_no_line(work: Cheap) -> None:
    waiting = work.house().ledger.pushes.add(slow_push(work))
    made = work.json("try", "--remote", "one=master", "--rebuild", "two")
    assert (made["via"], made["state"]) == ("try", "waiting")
    told = work.json("resolve", "--push", str(made["id"]))
    house = work.house()
    assert house.ledger.pushes.get(waiting.id).run is None, "it waits for no push before it"
    run = told["run"]
    plan = work.json("plan", "--run", run)["components"]
    assert [one["component"] for one in plan if one["decision"] != "keep"] == ["two"]
    work.ostci("build", "two", "--run", run)
    work.ostci("build", "--run", run)
    built = house.workdir.run(run).file("build").read_text()
    assert '"forced"' in built, "it is built once, and not again when all is brought together"
    work.ostci("compose", "--run", run)
    (tree,) = [ref for ref in house.repo.refs() if f"/try/{run}/" in ref and "/keys/" not in ref]
    assert tree == try_ref(OSNAME, run, TREE)
    work.ostci("disk", "--run", run, code=NO_KERNEL)
    work.ostci("end", run)
    house.ledger.pushes.end(waiting.id, PushState.DONE)
    house.ledger.pushes.end(made["id"], PushState.DONE)


def test_a_merge_request_is_a_try_of_its_head_and_of_nothing_else(work: Cheap) -> None:
    repo = GitRepo(work.sources / "one")
    work.change("one")
    head = repo.git("rev-parse", "HEAD")
    repo.git("update-ref", "refs/pull/7/head", head)
    repo.git("reset", "--quiet", "--hard", "HEAD~")
    followers = (Follower(component="one", branch="master", policy=MergeRequests.ALL),)
    known = Known(ref="refs/pull/7/head", author="mallory")
    house = work.house()
    (push,) = house.ledger.requests.begin(new_request(str(repo.path), followers, known, head)).begun
    # Whatever comes later is tried by itself: this one was recorded with its head.
    repo.git("update-ref", "refs/pull/7/head", repo.git("rev-parse", "HEAD"))
    before = refs(work)
    assert "kernel" in work.ostci("run", "--push", str(push.id), code=NO_KERNEL).err
    run = str(house.ledger.pushes.get(push.id).run)
    snapshot = from_json(Snapshot, house.workdir.run(run).file("snapshot").read_bytes())
    assert snapshot.pins["one"].revision == head
    assert house.repo.resolve(try_ref(OSNAME, run, TREE)) is not None
    assert refs(work) == before
    assert "a try is never promoted" in work.ostci("promote", "--run", run, code=1).err
    # One whose head is nowhere any more fails alone, and says so.
    lost = new_request(str(repo.path), followers, known, "0123456789" * 4)
    (push,) = house.ledger.requests.begin(lost).begun
    assert "there is no revision" in work.ostci("run", "--push", str(push.id), code=1).err


def test_a_forced_run_builds_what_it_names_and_is_of_the_line(work: Cheap) -> None:
    made = work.json("push", "one", "--rebuild", "two", "--by", "dora", "--note", "to see")
    work.ostci("run", "--push", str(made["id"]), code=NO_KERNEL)
    house = work.house()
    push = house.ledger.pushes.get(made["id"])
    assert push.wish.by == "dora" and "asked for by dora" in work.ostci("pushes").out
    assert push.run is not None
    assert not house.workdir.run(push.run).file("try").is_file()
    assert "two: built in" in work.log_of(push.run)
    said = work.ostci("push", "one", "--rebuild", "three", code=BAD_INPUT).err
    assert "the manifest has no component 'three'" in said


def slow_push(work: Cheap) -> NewPush:
    """Make up a push of a component."""
    after = GitRepo(work.sources / "one").git("rev-parse", "HEAD").strip()
    place = str(work.sources / "one")
    return NewPush(component="one", url=place, branch="master", before="", after=after)
