# SPDX-License-Identifier: LGPL-2.1-or-later
"""Promotion moves what passed, all of it or nothing, forward only; and proves it to clients."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.ports import process
from pipeline.ports.ledger import PromotionState
from pipeline.stages.promote import PromoteResult
from pipeline.stages.promoting import summary
from pipeline.words.gate import NOTHING_REQUIRED
from pipeline.words.manifest import Component, Need, Source, SourceKind
from pipeline.words.refs import buildmaster_ref, compose_ref
from pipeline.words.suite import NO_BASELINE
from pipeline.words.verdict import Verdict
from tests.shipping import ARCH, OSNAME, PASSED, Shop, manifest, target

RUNTIME, DEVEL = f"{ARCH}-runtime", f"{ARCH}-devel"
FAILED = {"smoke": Verdict.FAILED}


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A work directory for two targets that move together."""
    return Shop(tmp_path / "work", manifest())


def test_a_passed_run_moves_both_refs_in_both_repositories_to_the_same_checksum(
    shop: Shop,
) -> None:
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees, PASSED)
    result = shop.promote("20261124.0", trees)
    assert result.promoted == {tree.name: tree.commit for tree in trees}
    for tree in trees:
        assert shop.buildmaster(tree.target) == (tree.commit, tree.commit)
        ref = buildmaster_ref(OSNAME, tree.name)
        assert summary.served_refs(shop.archive)[ref] == tree.commit
        assert shop.archive.resolve(compose_ref(OSNAME, tree.name)) == tree.commit
    shop.archive.fsck()
    assert shop.violations() == []


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ({}, "smoke has no verdict yet"),
        (FAILED, "smoke failed: it said failed"),
        ({"smoke": Verdict.FLAKY}, "smoke is flaky: it passed and failed: it said flaky"),
        ({"smoke": Verdict.TROUBLE}, "smoke had trouble with our machines: it said trouble"),
    ],
)
def test_a_run_that_did_not_pass_is_held_with_the_reason(
    shop: Shop, verdicts: dict[str, Verdict], reason: str
) -> None:
    before = shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "two")
    shop.judge("20261124.1", trees, verdicts)
    result = shop.promote("20261124.1", trees)
    assert result.promoted == {}
    assert result.held == {RUNTIME: reason, DEVEL: reason}
    assert shop.buildmaster() == (before[RUNTIME], before[RUNTIME])
    row = shop.ledger.promotions(RUNTIME)[0]
    assert (row.state, row.reason) == (PromotionState.HELD, reason)


def test_a_pass_of_another_checksum_counts_for_nothing(shop: Shop) -> None:
    shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "one")
    assert shop.promote("20261124.1", trees).promoted == {}


def test_the_newest_verdict_counts(shop: Shop) -> None:
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees, PASSED)
    shop.judge("20261124.0", trees, FAILED)
    assert shop.promote("20261124.0", trees).promoted == {}
    shop.judge("20261124.0", trees, PASSED)
    assert set(shop.promote("20261124.0", trees).promoted) == {RUNTIME, DEVEL}


def test_one_target_that_failed_holds_the_others_of_its_group(shop: Shop) -> None:
    runtime, devel = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", (runtime,), PASSED)
    shop.judge("20261124.0", (devel,), FAILED)
    result = shop.promote("20261124.0", (runtime, devel))
    assert result.held == {
        RUNTIME: f"it moves only together with {DEVEL}",
        DEVEL: "smoke failed: it said failed",
    }
    assert shop.buildmaster("runtime") == (None, None)


def test_a_target_in_a_group_of_its_own_moves_alone(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime"), target("devel", group="slow")))
    runtime, devel = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", (runtime,), PASSED)
    result = shop.promote("20261124.0", (runtime, devel))
    assert result.promoted == {RUNTIME: runtime.commit}
    assert result.held == {DEVEL: "smoke has no verdict yet"}


UPGRADE = {"smoke": Need.REQUIRED, "upgrade": Need.REQUIRED}
NO_UPGRADE = {"smoke": Verdict.PASSED, "upgrade": Verdict.SKIPPED}


def test_only_the_first_promotion_of_a_tree_needs_no_upgrade_to_it(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime", gate=UPGRADE)))
    first = shop.compose("20261124.0", "one", targets=("runtime",))
    shop.judge("20261124.0", first, NO_UPGRADE)
    held = "upgrade was skipped: it said skipped"
    assert shop.promote("20261124.0", first).held == {RUNTIME: held}, "nobody said why"
    shop.judge("20261124.0", first, NO_UPGRADE, cause=NO_BASELINE)
    result = shop.promote("20261124.0", first)
    assert result.promoted == {RUNTIME: first[0].commit}
    assert result.notes == {RUNTIME: (held,)}
    assert shop.violations() == []

    # Of a run that was tested before the first one was promoted, and of one forced again.
    second = shop.compose("20261124.1", "two", targets=("runtime",))
    shop.judge("20261124.1", second, NO_UPGRADE, cause=NO_BASELINE)
    assert shop.promote("20261124.1", second).held == {RUNTIME: held}
    shop.judge("20261124.1", second, {"upgrade": Verdict.PASSED})
    assert shop.promote("20261124.1", second).promoted == {RUNTIME: second[0].commit}
    assert shop.violations() == []


def test_a_ref_that_was_moved_to_what_was_never_upgraded_to_breaks_the_rule(
    tmp_path: Path,
) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime", gate=UPGRADE)))
    first = shop.compose("20261124.0", "one", targets=("runtime",))
    shop.judge("20261124.0", first, NO_UPGRADE, cause=NO_BASELINE)
    shop.promote("20261124.0", first)
    second = shop.compose("20261124.1", "two", targets=("runtime",))
    shop.judge("20261124.1", second, NO_UPGRADE, cause=NO_BASELINE)
    with shop.ledger.deciding() as sitting:
        sitting.write(
            batch=9,
            run="20261124.1",
            osname=OSNAME,
            tree=RUNTIME,
            commit=second[0].commit,
            previous=None,
            state=PromotionState.DONE,
            gate=UPGRADE,
        )
    shop.repo.set_ref(buildmaster_ref(OSNAME, RUNTIME), second[0].commit)
    assert "no pass is recorded of upgrade" in "\n".join(shop.violations())


def test_a_run_without_all_trees_of_a_group_moves_none(shop: Shop) -> None:
    (runtime,) = shop.compose("20261124.0", "one", targets=("runtime",))
    shop.judge("20261124.0", (runtime,), PASSED)
    held = shop.promote("20261124.0", (runtime,)).held
    assert held == {RUNTIME: f"{DEVEL}, which moves with it, is not part of this run"}


def test_a_derived_target_moves_for_itself_and_holds_nothing(tmp_path: Path) -> None:
    strace = Component(name="strace", source=Source(kind=SourceKind.GIT, location="https://x/y"))
    known = replace(manifest(), components=(strace,))
    shop = Shop(tmp_path / "work", known)
    (derived,) = shop.compose("20261124.0", "one", targets=("runtime+strace",))
    shop.judge("20261124.0", (derived,), PASSED)
    result = shop.promote("20261124.0", (derived,))
    assert result.promoted == {f"{ARCH}-runtime+strace": derived.commit}
    assert shop.buildmaster("runtime+strace") == (derived.commit, derived.commit)
    assert shop.violations() == []


def test_an_older_run_that_passes_later_is_recorded_and_not_promoted(shop: Shop) -> None:
    old = shop.compose("20261124.0", "old")
    new = shop.ship("20261124.1", "new")
    shop.judge("20261124.0", old, PASSED)
    result = shop.promote("20261124.0", old)
    words = "it passed, but the newer run 20261124.1 was promoted before"
    assert result == PromoteResult(older={RUNTIME: words, DEVEL: words})
    assert shop.buildmaster() == (new[RUNTIME], new[RUNTIME])
    assert shop.ledger.promotions(RUNTIME)[0].state is PromotionState.OLDER
    assert shop.archive.resolve(compose_ref(OSNAME, RUNTIME)) == new[RUNTIME]


def test_runs_of_a_day_are_ordered_by_number_not_by_letters(shop: Shop) -> None:
    shop.ship("20261124.9", "nine")
    ten = shop.ship("20261124.10", "ten")
    assert shop.buildmaster() == (ten[RUNTIME], ten[RUNTIME])


def test_a_commit_made_to_be_thrown_away_cannot_be_promoted(shop: Shop) -> None:
    trees = shop.compose("20261124.0", "try", bound=False)
    shop.judge("20261124.0", trees, PASSED)
    held = shop.promote("20261124.0", trees).held
    ref = buildmaster_ref(OSNAME, RUNTIME)
    assert held[RUNTIME] == f"its commit is not bound to {ref}: it was made to be thrown away"
    assert shop.violations() == []


@pytest.mark.parametrize("gate", [{}, {"smoke": Need.ADVISORY}])
def test_a_target_that_requires_nothing_is_never_promoted(
    tmp_path: Path, gate: dict[str, Need]
) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime", gate)))
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees, PASSED)
    assert shop.promote("20261124.0", trees).held == {RUNTIME: NOTHING_REQUIRED}


def test_an_advisory_suite_that_failed_is_told_and_does_not_hold(tmp_path: Path) -> None:
    gate = {"smoke": Need.REQUIRED, "login": Need.ADVISORY}
    shop = Shop(tmp_path / "work", manifest(target("runtime", gate)))
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees, {**PASSED, "login": Verdict.FAILED})
    result = shop.promote("20261124.0", trees)
    assert result.promoted == {RUNTIME: trees[0].commit}
    assert result.notes == {RUNTIME: ("login failed: it said failed",)}


def test_promoting_again_changes_nothing(shop: Shop) -> None:
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees, PASSED)
    first = shop.promote("20261124.0", trees)
    before = _files(shop.archive.path)
    assert shop.promote("20261124.0", trees) == first
    assert _files(shop.archive.path) == before
    assert len(shop.ledger.promotions(RUNTIME)) == 1


def test_the_commit_is_signed_beside_itself_and_compose_is_not(shop: Shop) -> None:
    trees = shop.compose("20261124.0", "one")
    shop.judge("20261124.0", trees[:1], PASSED)
    shop.promote("20261124.0", trees)
    show = ("show", trees[0].commit)
    assert "signature" not in shop.archive.run(*show).text
    shop.judge("20261124.0", trees[1:], PASSED)
    shop.promote("20261124.0", trees)
    assert "Found 1 signature" in shop.archive.run(*show).text
    assert shop.archive.info(trees[0].commit).commit == trees[0].commit


def test_trees_that_failed_are_published_on_their_line_and_no_further(shop: Shop) -> None:
    shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "two")
    shop.judge("20261124.1", trees, FAILED)
    shop.promote("20261124.1", trees)
    served = summary.served_refs(shop.archive)
    assert served[compose_ref(OSNAME, RUNTIME)] == trees[0].commit
    assert served[buildmaster_ref(OSNAME, RUNTIME)] != trees[0].commit
    assert len(list(shop.archive.history(compose_ref(OSNAME, RUNTIME)))) == 2


def test_verdicts_are_published_with_a_signature_that_verifies(shop: Shop) -> None:
    commits = shop.ship("20261124.0", "one")
    place = shop.workdir.published / "verdicts"
    told = json.loads((place / f"{commits[RUNTIME]}.json").read_text())
    assert (told["state"], told["run"], told["tree"]) == ("done", "20261124.0", RUNTIME)
    assert [one["verdict"] for one in told["verdicts"]] == ["passed"]
    signed = place / f"{commits[RUNTIME]}.json.asc"
    verify = ["gpg", f"--homedir={shop.workdir.keys}", "--batch", "--verify"]
    process.run([*verify, signed], log=shop.log)
    signed.write_text(signed.read_text().replace("passed", "failed"))
    with pytest.raises(process.CommandError, match="BAD signature"):
        process.run([*verify, signed], log=shop.log)


def test_a_delta_leads_from_the_promoted_tree_to_the_next(shop: Shop) -> None:
    one = shop.ship("20261124.0", "one")
    two = shop.ship("20261124.1", "two")
    listed = shop.archive.run("static-delta", "list").text.split()
    assert f"{one[RUNTIME]}-{two[RUNTIME]}" in listed


def test_a_ref_moved_by_hand_is_a_violation_and_is_put_back(shop: Shop) -> None:
    good = shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "two")
    ref = buildmaster_ref(OSNAME, RUNTIME)
    for one in (shop.repo, shop.archive):
        if one is shop.archive:
            one.pull_local(shop.repo.path, [trees[0].commit])
        one.set_ref(ref, trees[0].commit)
    assert len(shop.violations()) == 2
    assert "no promotion of it is recorded" in shop.violations()[0]
    words = "was not where the ledger says (no promotion of it is recorded); it is again"
    assert shop.mend() == (f"{ref} {words}",)
    assert shop.violations() == []
    assert shop.buildmaster() == (good[RUNTIME], good[RUNTIME])
    assert shop.mend() == ()


@pytest.mark.parametrize("which", ["repo", "archive"])
def test_a_ref_that_a_power_cut_lost_is_where_the_ledger_says_again(shop: Shop, which: str) -> None:
    one = shop.ship("20261124.0", "one")
    two = shop.ship("20261124.1", "two")
    ref = buildmaster_ref(OSNAME, RUNTIME)
    place = shop.repo if which == "repo" else shop.archive
    for lost in (one[RUNTIME], None):
        place.set_ref(ref, lost)
        assert shop.mend() == (f"{ref} was not where the ledger says (it was lost); it is again",)
        assert shop.buildmaster() == (two[RUNTIME], two[RUNTIME])
    assert shop.mend() == ()


def test_a_ref_of_a_tree_that_was_never_promoted_is_removed(shop: Shop) -> None:
    commits = shop.ship("20261124.0", "one")
    stray = buildmaster_ref(OSNAME, f"{ARCH}-stray")
    shop.repo.set_ref(stray, commits[RUNTIME])
    assert len(shop.violations()) == 1
    shop.mend()
    assert shop.repo.resolve(stray) is None
    assert shop.violations() == []


def test_a_lost_ledger_is_told_and_costs_testers_nothing(shop: Shop) -> None:
    good = shop.ship("20261124.0", "one")
    shop.ledger.close()
    shop.workdir.ledger.unlink()
    assert all("no promotion of it is recorded" in line for line in shop.mend())
    assert shop.buildmaster() == (good[RUNTIME], good[RUNTIME])


def test_a_promotion_whose_commits_are_gone_is_undone(shop: Shop) -> None:
    good = shop.ship("20261124.0", "one")
    trees = shop.compose("20261124.1", "two")
    gone = trees[0].commit[:-1] + ("0" if trees[0].commit[-1] != "0" else "1")
    with shop.ledger.deciding() as sitting:
        sitting.write(
            batch=sitting.new_batch(),
            run="20261124.1",
            osname=OSNAME,
            tree=RUNTIME,
            commit=type(trees[0].commit)(gone),
            previous=good[RUNTIME],
            state=PromotionState.BEGUN,
            gate={"smoke": Need.REQUIRED},
        )
    assert shop.mend() == ("the promotion of run 20261124.1 was undone: its commits are gone",)
    assert shop.ledger.promotions(RUNTIME)[0].state is PromotionState.UNDONE
    assert shop.buildmaster() == (good[RUNTIME], good[RUNTIME])
    assert shop.violations() == []


def _files(path: Path) -> dict[str, str]:
    return {
        str(one.relative_to(path)): hashlib.sha256(one.read_bytes()).hexdigest()
        for one in path.rglob("*")
        if one.is_file() and not one.name.endswith(".lock")
    }
