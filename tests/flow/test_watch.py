# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds over real repositories: every push is recorded once, whatever else goes wrong."""

import json
from pathlib import Path

import pytest

from pipeline.cli.watching import Round, look
from pipeline.stages.watch import WatchRequest, WatchResult
from pipeline.stages.watch import watch as watch_stage
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.named import Named
from pipeline.words.push import Push, PushState, Via
from tests.town import Town


@pytest.fixture
def town(tmp_path: Path) -> Town:
    """Three repositories that nobody has looked at yet."""
    return Town.make(tmp_path, "zlib", "png", "hello")


def watch(town: Town) -> Round:
    """Look once, as a new command does."""
    house = town.house()
    found, _ = look(house)
    house.ledger.close()
    return found


def told(pushes: "tuple[Push, ...] | list[Push]") -> list[tuple[str, str, str]]:
    return [(push.component, push.before, push.after) for push in pushes]


def test_a_branch_seen_first_is_a_baseline_and_then_what_moves_is_a_push(town: Town) -> None:
    first = watch(town)
    assert (first.pushes, first.baselines) == ((), 3)
    assert watch(town) == Round()
    before = town.repos["zlib"].git("rev-parse", "HEAD")
    one = town.repos["zlib"].commit("one")
    two = town.repos["zlib"].commit("two")
    (push,) = watch(town).pushes
    assert (push.before, push.after, push.commits) == (before, two, (one, two))
    assert (push.via, push.rewritten, push.branch) == (Via.POLL, False, "main")
    assert watch(town) == Round()


def test_only_what_moved_is_fetched(town: Town) -> None:
    watch(town)
    town.repos["png"].commit("new")
    town.sink.lines.clear()
    watch(town)
    fetches = [text for text in town.sink.texts() if " fetch " in text]
    assert len(fetches) == 1 and "/png" in fetches[0], fetches


def test_each_commit_is_a_push_where_the_manifest_says_so(town: Town) -> None:
    town.write_manifest("zlib", "png", "hello", more="unit: commit")
    watch(town)
    repo = town.repos["zlib"]
    one = repo.commit("one")
    repo.git("checkout", "--quiet", "-b", "side")
    side = repo.commit("side", side="1\n")
    repo.git("checkout", "--quiet", "main")
    two = repo.commit("two")
    repo.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    merge = repo.git("rev-parse", "HEAD")
    found = watch(town).pushes
    assert [(push.after, push.commits) for push in found] == [
        (one, (one,)),
        (two, (two,)),
        (merge, (side, merge)),
    ]
    assert [push.before for push in found[1:]] == [one, two]


def look_for(town: Town, *hooks: tuple[str, str, str], awaited: bool = True) -> WatchResult:
    """Look at all repositories as a master does that was told of pushes by hooks, in this order."""
    house = town.house()
    named: dict[str, list[Named]] = {}
    for number, (name, before, after) in enumerate(hooks, 1):
        one = Named(branch="main", before=before, after=after, number=number)
        named.setdefault(str(town.repos[name].path), []).append(one)
    request = WatchRequest(
        manifest=house.manifest, named=named, awaited=frozenset(named) if awaited else frozenset()
    )
    found = watch_stage(request, mirrors=house.mirrors, ledger=house.ledger, log=house.log)
    house.ledger.close()
    return found


def test_pushes_that_hooks_named_are_in_the_order_of_hooks_though_all_are_there(town: Town) -> None:
    watch(town)
    at = {name: repo.git("rev-parse", "HEAD") for name, repo in town.repos.items()}
    made = []
    for number, name in enumerate(("png", "zlib", "png", "png", "zlib")):
        town.repos[name].commit(f"beside {number}")
        after = town.repos[name].commit(f"{number}")
        made.append((name, at[name], after))
        at[name] = after
    found = look_for(town, *made)
    assert told(found.pushes) == made
    assert {push.via for push in found.pushes} == {Via.HOOK}
    assert [len(push.commits) for push in found.pushes] == [2] * 5
    assert not found.held
    assert look_for(town, *made) == WatchResult(), "a hook that is sent again starts nothing"


def test_what_no_hook_has_named_yet_is_left_alone_and_then_taken(town: Town) -> None:
    watch(town)
    repo = town.repos["zlib"]
    start = repo.git("rev-parse", "HEAD")
    one, two, three = (repo.commit(name) for name in ("one", "two", "three"))
    found = look_for(town, ("zlib", start, one))
    assert told(found.pushes) == [("zlib", start, one)]
    assert list(found.held.values()) == [one]
    # The hook of the second is lost: there is a push that ends where the third begins.
    late = ("zlib", two, three)
    assert look_for(town, late).pushes == ()
    found = look_for(town, late, awaited=False)
    assert told(found.pushes) == [("zlib", one, two), ("zlib", two, three)]
    assert [push.via for push in found.pushes] == [Via.HOOK, Via.HOOK]


def test_names_that_are_not_in_the_history_change_nothing(town: Town) -> None:
    watch(town)
    repo = town.repos["zlib"]
    start = repo.git("rev-parse", "HEAD")
    after = repo.commit("one")
    forged = [("zlib", start, "f" * 40), ("zlib", "f" * 40, after), ("zlib", "e" * 40, "d" * 40)]
    found = look_for(town, *forged)
    assert told(found.pushes) == [("zlib", start, after)]


def test_a_rewritten_branch_is_one_push_marked_so(town: Town) -> None:
    town.write_manifest("zlib", "png", "hello", more="unit: commit")
    repo = town.repos["zlib"]
    old = repo.commit("old")
    watch(town)
    repo.git("reset", "--quiet", "--hard", "HEAD^")
    one = repo.commit("another", file_txt="3\n")
    two = repo.commit("and one more", file_txt="4\n")
    (push,) = watch(town).pushes
    assert (push.before, push.after, push.rewritten) == (old, two, True)
    repo.git("reset", "--quiet", "--hard", one)
    (back,) = watch(town).pushes
    assert (back.after, back.rewritten, back.commits) == (one, True, ())


def test_a_branch_that_is_gone_is_told_once_and_comes_back_as_a_push(town: Town) -> None:
    town.ostci("resolve")
    watch(town)
    repo = town.repos["zlib"]
    before = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "--quiet", "--detach")
    repo.git("branch", "--quiet", "-D", "main")
    seen = town.repos["png"].commit("seen")
    found = watch(town)
    (gone,) = (push for push in found.pushes if push.state is PushState.REFUSED)
    assert (gone.component, gone.before, gone.after, gone.run) == ("zlib", before, "", None)
    assert gone.message == (
        f"{repo.path}: there is no branch main any more: push it, or have the manifest name another"
    )
    assert told([push for push in found.pushes if push.is_open])[0][2] == seen, "others go on"
    assert found.gone == (f"{repo.path} main",)
    assert watch(town).pushes == (), "it is told once"
    listed = town.ostci("pushes")
    assert f"{before[:7]}→gone main" in listed and "there is no branch main any more" in listed
    repo.git("checkout", "--quiet", "-b", "main")
    (same,) = watch(town).pushes
    assert (same.before, same.after, same.note) == (before, before, "branch main is there again")
    run = town.json("resolve", "--push", str(same.id))["run"]
    assert town.pins(run)["zlib"] == before
    repo.git("checkout", "--quiet", "--detach")
    repo.git("branch", "--quiet", "-D", "main")
    assert [push.state for push in watch(town).pushes] == [PushState.REFUSED], "it is news again"
    repo.git("checkout", "--quiet", "-b", "main")
    after = repo.commit("back")
    assert told(watch(town).pushes) == [("zlib", before, after)]
    assert watch(town).pushes == ()


def test_a_branch_that_comes_later_than_the_manifest_that_names_it_is_a_push(town: Town) -> None:
    town.ostci("resolve")
    watch(town)
    town.write_manifest("zlib", "png", "hello", branches={"zlib": "topic"})
    found = watch(town)
    (asked, missed) = found.pushes
    assert (asked.via, missed.state) == (Via.MANIFEST, PushState.REFUSED)
    assert "there is no branch topic: push it" in missed.message
    assert "there is no branch topic" in town.ostci("resolve", "--push", str(asked.id), code=1)
    repo = town.repos["zlib"]
    repo.git("checkout", "--quiet", "-b", "topic")
    (push,) = watch(town).pushes
    head = repo.git("rev-parse", "topic")
    assert (push.before, push.after, push.branch) == ("", head, "topic")
    run = town.json("resolve", "--push", str(push.id))["run"]
    assert town.pins(run)["zlib"] == head
    after = repo.commit("more")
    assert told(watch(town).pushes) == [("zlib", head, after)]


def test_a_branch_that_is_renamed_is_followed_by_the_manifest_that_says_so(town: Town) -> None:
    town.ostci("resolve")
    watch(town)
    repo = town.repos["zlib"]
    repo.git("branch", "--quiet", "-m", "main", "trunk")
    moved = repo.commit("renamed")
    assert [push.state for push in watch(town).pushes] == [PushState.REFUSED]
    town.write_manifest("zlib", "png", "hello", branches={"zlib": "trunk"})
    (push,) = watch(town).pushes
    assert push.via is Via.MANIFEST
    assert town.pins(town.json("resolve", "--push", str(push.id))["run"])["zlib"] == moved
    after = repo.commit("more")
    assert told(watch(town).pushes) == [("zlib", moved, after)]


@pytest.mark.parametrize("annotated", [(), ("--annotate", "-m", "a tag")])
def test_a_tag_that_moves_is_one_push_marked_as_rewritten(
    town: Town, annotated: tuple[str, ...]
) -> None:
    repo = town.repos["zlib"]
    repo.git("tag", *annotated, "v1")
    town.write_manifest("zlib", "png", "hello", tags={"zlib": "v1"}, more="unit: commit")
    town.ostci("resolve")
    assert watch(town).baselines == 3
    before = repo.git("rev-parse", "v1^{commit}")
    repo.commit("one")
    after = repo.commit("two")
    assert watch(town).pushes == (), "its branch is not followed"
    repo.git("tag", *annotated, "--force", "v1")
    (push,) = watch(town).pushes
    assert told([push]) == [("zlib", before, after)] and push.rewritten
    assert len(push.commits) == 2
    run = town.json("resolve", "--push", str(push.id))["run"]
    assert town.pins(run)["zlib"] == after
    assert "tag:v1" in town.ostci("pushes") and "rewritten" in town.ostci("pushes")
    repo.git("tag", "--delete", "v1")
    (gone,) = watch(town).pushes
    assert gone.state is PushState.REFUSED and "there is no tag v1 any more" in gone.message
    repo.git("tag", *annotated, "v1", before)
    assert told(watch(town).pushes) == [("zlib", after, before)]


def test_a_server_that_is_away_holds_up_nobody_and_loses_nothing(town: Town) -> None:
    watch(town)
    before = town.repos["zlib"].git("rev-parse", "HEAD")
    missed = town.repos["zlib"].commit("missed")
    seen = town.repos["png"].commit("seen")
    path = town.repos["zlib"].path
    path.rename(town.root / "away")
    found = watch(town)
    assert [push.after for push in found.pushes] == [seen]
    assert isinstance(found.problems[str(path)], Trouble)
    assert "cannot be fetched" in town.ostci("watch", "--once", code=3)
    (town.root / "away").rename(path)
    assert told(watch(town).pushes) == [("zlib", before, missed)]


def test_a_manifest_that_changes_is_a_push_and_a_broken_one_leaves_the_last_good(
    town: Town,
) -> None:
    watch(town)
    town.ostci("resolve")
    (town.root / "os.yaml").write_text((town.root / "os.yaml").read_text() + "# a remark\n")
    assert watch(town).pushes == (), "a remark changes nothing"
    (town.root / "os.yaml").write_text("broken: [\n")
    seen = town.repos["png"].commit("seen")
    found = watch(town)
    assert isinstance(found.problems["manifest"], BadInput)
    assert [push.after for push in found.pushes if push.component == "png"] == [seen]
    (refused,) = (push for push in found.pushes if push.component == "manifest")
    assert refused.state is PushState.REFUSED and refused.run is None
    assert "os.yaml:2:1: " in refused.message
    assert watch(town).pushes == (), "it is told once"
    told = town.ostci("pushes")
    assert "refused" in told and "os.yaml:2:1: " in told
    assert "refused: " in town.ostci("run", "--push", str(refused.id), code=2)
    town.add("new")
    town.write_manifest("zlib", "png", "hello", "new")
    (push,) = watch(town).pushes
    assert (push.component, push.via) == ("manifest", Via.MANIFEST)
    told = town.json("resolve", "--push", str(push.id))
    assert "new" in town.pins(told["run"])
    (town.root / "os.yaml").write_text("broken: [\n")
    assert [one.state for one in watch(town).pushes] == [PushState.REFUSED], "it is news again"


def test_a_manifest_edited_before_anybody_watched_is_pushed(town: Town) -> None:
    town.ostci("resolve")
    town.add("new")
    town.write_manifest("zlib", "png", "hello", "new")
    found = watch(town)
    assert [(push.via, push.state) for push in found.pushes] == [(Via.MANIFEST, PushState.WAITING)]
    assert watch(town).pushes == ()


def test_a_base_that_changes_is_a_push(town: Town) -> None:
    watch(town)
    assert watch(town).pushes == ()
    town.change_base()
    (push,) = watch(town).pushes
    assert (push.component, push.via) == ("base", Via.BASE)
    assert watch(town).pushes == ()


def test_too_many_that_wait_give_way_to_the_oldest_that_stays(town: Town) -> None:
    town.write_manifest("zlib", "png", "hello", more="unit: commit\nqueue-bound: 2")
    watch(town)
    for number in range(5):
        town.repos["zlib"].commit(f"{number}")
    found = watch(town)
    ids = [push.id for push in found.pushes]
    assert found.superseded == dict.fromkeys(ids[:3], ids[3])
    states = [(push.state, push.superseded_by) for push in town.pushes()]
    assert states == [(PushState.SUPERSEDED, ids[3])] * 3 + [(PushState.WAITING, None)] * 2
    told = town.json("resolve", "--push", str(ids[3]))
    assert town.pins(told["run"])["zlib"] == found.pushes[3].after
    assert f"superseded by {ids[3]}" in town.ostci("pushes")
    assert "was superseded by push" in town.ostci("resolve", "--push", str(ids[0]), code=130)


def test_a_burst_is_a_run_each_and_each_snapshot_adds_just_its_own(town: Town) -> None:
    town.write_manifest("zlib", "png", "hello", more="unit: commit")
    town.ostci("resolve")
    watch(town)
    heads = {name: [repo.git("rev-parse", "HEAD")] for name, repo in town.repos.items()}
    for number in range(20):
        name = list(town.repos)[number % 3]
        heads[name].append(town.repos[name].commit(f"{number}", file_txt=f"{number}\n"))
    said = json.loads(town.ostci("watch", "--once", "--json"))
    assert len(said["pushes"]) == 20
    pushes = town.pushes()
    town.ostci("resolve", "--push", str(pushes[-1].id))
    runs = [str(push.run) for push in town.pushes()]
    first, *versions = town.house().workdir.versions()
    assert runs == versions
    before = town.pins(first)
    for push, run in zip(pushes, runs, strict=True):
        after = town.pins(run)
        assert after == {**before, push.component: push.after}
        assert before[push.component] == push.before
        before = after
    assert before == {name: revisions[-1] for name, revisions in heads.items()}


def test_pushes_are_listed_for_people(town: Town) -> None:
    assert "no pushes yet" in town.ostci("pushes")
    watch(town)
    town.repos["zlib"].commit("one")
    watch(town)
    town.ostci("push", "png", "--note", "once more")
    (head, first, second) = town.ostci("pushes").splitlines()
    assert head.split() == ["push", "received", "component", "what", "state", "run"]
    assert first.split()[0] == "1" and "zlib" in first and "waiting" in first
    assert "by force; once more" in second
    assert [row["id"] for row in town.json("pushes", "--open")] == [1, 2]
    assert "has no component 'nothing'" in town.ostci("push", "nothing", code=2)
    assert "there is no revision" in town.ostci("push", "png", "--after", "9" * 40, code=1)


def test_a_manifest_pushed_by_hand_is_where_its_head_is(town: Town) -> None:
    watch(town)
    for names in (["zlib", "png"], ["zlib"]):
        town.write_manifest(*names)
        town.ostci("push", "manifest")
    first, second = town.pushes()
    assert second.before == first.after != second.after
    assert not watch(town).pushes, "who watches records none of them once more"
    town.ostci("push", "manifest")
    assert town.pushes()[-1].after == second.after, "it can be pushed once more all the same"
