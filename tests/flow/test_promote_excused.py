# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is promoted though not all of it is well: within a budget, before a baseline, and noted."""

from dataclasses import replace
from pathlib import Path

from pipeline.ports.ledger import PromotionState
from pipeline.words.manifest import Need
from pipeline.words.tree import Tree
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests.shipping import ARCH, PASSED, Shop, manifest, target

RUNTIME = f"{ARCH}-runtime"
BOTH = {"smoke": Need.REQUIRED, "installed": Need.REQUIRED}
ONCE = {"smoke": Need.REQUIRED, "upgrade": Need.ONCE_BASELINE}


def record(
    shop: Shop, run: str, tree: Tree, suite: str, verdict: Verdict, *, flaky: int = 0
) -> None:
    """Record a suite with so many flaky tests."""
    tests = tuple(TestResult(name=f"t{n}", verdict=Verdict.FLAKY) for n in range(flaky))
    result = SuiteResult(
        suite=suite, tree=tree.name, commit=tree.commit, verdict=verdict, tests=tests
    )
    shop.ledger.record_suite(run, result)


def test_flaky_tests_within_the_budget_are_promoted_and_the_reason_is_noted(tmp_path: Path) -> None:
    budget = replace(target("runtime", BOTH), flaky={"installed": 2})
    shop = Shop(tmp_path / "work", manifest(budget))
    run = "20261124.0"
    (tree,) = shop.compose(run, "one")
    shop.judge(run, (tree,), PASSED)
    record(shop, run, tree, "installed", Verdict.FLAKY, flaky=3)
    held = shop.promote(run, (tree,))
    assert held.held == {RUNTIME: "installed is flaky: it passed and failed"}
    record(shop, run, tree, "installed", Verdict.FLAKY, flaky=2)
    assert shop.promote(run, (tree,)).promoted == {RUNTIME: tree.commit}
    row = shop.ledger.promotions(RUNTIME)[0]
    assert (row.state, row.flaky) == (PromotionState.DONE, {"installed": 2})
    assert row.reason == "installed passed with 2 flaky, 2 allowed"
    # The pass that is recorded is of this gate, and of no stricter one.
    assert shop.violations() == []


def test_without_a_budget_a_ref_on_a_flaky_commit_is_a_violation(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime")))
    run = "20261124.0"
    (tree,) = shop.compose(run, "one")
    shop.judge(run, (tree,), PASSED)
    assert shop.promote(run, (tree,)).promoted
    run = "20261124.1"
    (other,) = shop.compose(run, "two")
    record(shop, run, other, "smoke", Verdict.FLAKY, flaky=1)
    with shop.ledger.deciding() as sitting:
        sitting.write(
            batch=9,
            run=run,
            osname="os",
            tree=RUNTIME,
            commit=other.commit,
            previous=tree.commit,
            state=PromotionState.DONE,
            gate={"smoke": Need.REQUIRED},
        )
    shop.archive.pull_local(shop.repo.path, [other.commit])
    for repo in (shop.repo, shop.archive):
        repo.set_ref(next(ref for ref in repo.refs() if "/buildmaster/" in ref), other.commit)
    assert any("no pass is recorded of smoke" in one for one in shop.violations())


def test_a_suite_is_required_once_it_has_passed_on_a_promoted_tree(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "work", manifest(target("runtime", ONCE)))

    def ship(number: int, upgrade: Verdict) -> tuple[dict[str, str], dict[str, Need]]:
        run = f"20261124.{number}"
        (tree,) = shop.compose(run, f"content {number}")
        shop.judge(run, (tree,), PASSED)
        record(shop, run, tree, "upgrade", upgrade)
        result = shop.promote(run, (tree,))
        return dict(result.held), dict(shop.ledger.promotions(RUNTIME)[0].gate)

    advisory = {"smoke": Need.REQUIRED, "upgrade": Need.ADVISORY}
    assert ship(0, Verdict.FAILED) == ({}, advisory)
    assert ship(1, Verdict.PASSED) == ({}, advisory)
    assert ship(2, Verdict.FAILED) == ({RUNTIME: "upgrade failed"}, BOTH_UPGRADE)
    assert ship(3, Verdict.PASSED) == ({}, BOTH_UPGRADE)
    assert shop.violations() == []


BOTH_UPGRADE = {"smoke": Need.REQUIRED, "upgrade": Need.REQUIRED}
