# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a suite upgrades from: what was promoted before the tree, here and on a worker elsewhere."""

from pathlib import Path

import pytest

from pipeline.cli.beside import KnownBeside, baseline_of, beside_file, beside_of, elsewhere
from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.results import Trees
from pipeline.ports.dock import docking
from pipeline.ports.ledger import PromotionState
from pipeline.ports.log import Log
from pipeline.ports.worker_home import IDENTITY
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit
from pipeline.words.tree import Disk, Tree
from tests.cheap import NO_KERNEL, OSNAME, TREE, Cheap
from tests.remote import prepare_anvil
from tests.work import run_ostci


def no_disk(tree: Tree, target: Target) -> Disk:
    """Make no disk: a tree of this OS has no kernel."""
    return Disk(commit=tree.commit, path="", ref=target.name, osname=OSNAME, size=0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Cheap:
    cheap = Cheap(tmp_path_factory.mktemp("beside"), one=0.0)
    for _ in range(3):
        cheap.change("one")
        cheap.ostci("run", code=NO_KERNEL)
    return cheap


def passages(cheap: Cheap) -> list[tuple[Passage, Tree]]:
    """Open the three runs, oldest first."""
    house = cheap.house()
    found = []
    for version in sorted(house.workdir.versions()):
        passage = Passage(house, house.workdir.run(version))
        found.append((passage, passage.read("trees", Trees).trees[0]))
    return found


def moved(passage: Passage, tree: Tree, state: PromotionState = PromotionState.DONE) -> None:
    with passage.house.ledger.deciding() as sitting:
        sitting.write(
            batch=sitting.new_batch(),
            run=passage.run.version,
            osname=OSNAME,
            tree=TREE,
            commit=tree.commit,
            previous=None,
            state=state,
            gate={},
        )


def test_it_is_the_newest_that_was_promoted_before_the_tree(made: Cheap) -> None:
    (first, one), (second, two), (third, three) = passages(made)
    moved(first, one, PromotionState.HELD)
    beside = beside_of(second, two, "upgrade", disk_of=no_disk)
    assert (beside.baseline, beside.is_first) == (None, True)

    moved(first, one)
    assert baseline_of(first, one) == (None, ()), "not itself"
    assert baseline_of(second, two)[0] == one.commit
    moved(third, three)
    assert baseline_of(second, two)[0] == one.commit, "not what is newer"
    moved(second, two)
    assert baseline_of(third, three)[0] == two.commit
    beside = beside_of(third, three, "upgrade/test_var_is_kept", disk_of=no_disk)
    assert beside.baseline is not None and not beside.is_first
    assert beside.baseline.tree.commit == beside.baseline.disk.commit == two.commit
    assert beside.baseline.tree.version == second.run.version

    beside = beside_of(first, one, "rollback", disk_of=no_disk)
    assert (beside.baseline, beside.is_first) == (None, False)
    assert beside.why_no_baseline == "what was promoted before is newer"
    assert beside_of(third, three, "smoke", disk_of=no_disk).baseline is None
    other = beside_of(third, three, "switch", disk_of=no_disk)
    assert (other.other, other.why_no_other) == (None, "runtime is the only target of this run")


def test_a_worker_elsewhere_goes_by_what_the_master_says(made: Cheap) -> None:
    _, (_, two), (third, three) = passages(made)
    known, besides = elsewhere(third, three, "upgrade")
    assert known == KnownBeside(promoted=(two.commit,))
    assert besides == [two.commit]
    assert elsewhere(third, three, "smoke") == (None, [])

    path = third.run.file(beside_file(TREE))
    path.parent.mkdir(exist_ok=True)
    third.write(beside_file(TREE), KnownBeside())
    assert baseline_of(third, three)[0] == two.commit, "the master's own ledger counts"
    identity = Path(third.house.workdir.root) / IDENTITY
    identity.write_text("{}")
    try:
        assert baseline_of(third, three) == (None, ())
        gone = Commit("0" * 64)
        third.write(beside_file(TREE), KnownBeside(promoted=(gone,)))
        beside = beside_of(third, three, "upgrade", disk_of=no_disk)
        assert (beside.baseline, beside.is_first) == (None, False)
        assert beside.why_no_baseline == "what was promoted is not here"
    finally:
        identity.unlink()
        path.unlink()


def test_a_worker_fetches_what_a_suite_upgrades_from(made: Cheap, tmp_path: Path) -> None:
    _, (_, two), (third, three) = passages(made)
    home = prepare_anvil(tmp_path, "of anvil\n")
    worker = home.workdir.root
    job = ("test", TREE, "--suite", "upgrade", "--run", third.run.version)
    made.ostci("assign", *job)
    workdir = third.house.workdir
    with docking(
        "127.0.0.1:0", workdir, passwords={"anvil": "of anvil"}, certificate=None, log=Log()
    ) as url:
        run_ostci(worker, "fetch", "--from", url, *job)
    house = House(worker, log=Log())
    house.manifest = third.manifest
    there = Passage(house, house.workdir.run(third.run.version))
    beside = beside_of(there, three, "upgrade", disk_of=no_disk)
    assert beside.baseline is not None
    assert beside.baseline.tree.commit == two.commit
    house.repo.fsck()
