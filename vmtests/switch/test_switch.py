# SPDX-License-Identifier: LGPL-2.1-or-later
"""One machine goes through all of this in the order of the file: three boots.

The tree under test becomes another target's tree and itself again, as somebody who needs a
compiler for an afternoon would have it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pipeline.words.refs import Commit
from pipeline.words.suite import SuiteParameters
from vmtests.bench import Bench
from vmtests.following import GuestFailed
from vmtests.upgrading import Guest, upgrading

pytestmark = pytest.mark.cold

_PULL_S = 600.0
"""Another target may be larger by a compiler and all that it needs."""
_MARKS = """
# leave a mark in /var and in /etc
set -e
mkdir -p /var/lib/ostci-switch
echo {0} >>/var/lib/ostci-switch/trees
echo {0} >>/etc/ostci-switch
"""


@dataclass
class Way:
    """How far the machine has come: ``seen`` are the trees that were booted."""

    guest: Guest
    parameters: SuiteParameters
    seen: list[Commit] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    """The objects that the guest has got by now."""

    def go(self, tree: str, commit: Commit) -> None:
        """Switch to a tree's ref, boot it, and leave a mark."""
        guest = self.guest
        guest.connect()
        guest.traffic.asked.clear()
        refspec = f"{guest.osname}:{guest.own.refs[tree]}"
        guest.machine.succeeds(["ostree", "admin", "switch", refspec], timeout_s=_PULL_S)
        guest.machine.reboot(timeout_s=60.0)
        assert guest.machine.booted_commit() == commit
        guest.sh(_MARKS.format(tree))
        self.seen.append(commit)

    def marks(self) -> list[str]:
        """Tell what the trees booted so far have left, which has to be the same in both places."""
        kept = self.guest.sh("cat /var/lib/ostci-switch/trees; echo; cat /etc/ostci-switch")
        var, etc = kept.split("\n\n")
        assert var == etc
        return var.split()


@pytest.fixture(scope="module")
def way(bench: Bench) -> Iterator[Way]:
    """The machine, booted as the tree under test, and its way from there."""
    machine = bench.booted()
    outcome = machine.watch.outcome
    if outcome.cause is not None:
        raise GuestFailed(outcome.message, cause=outcome.cause)
    with upgrading(machine, bench.parameters) as guest:
        yield Way(guest=guest, parameters=bench.parameters)


def test_it_becomes_the_other_targets_tree(way: Way) -> None:
    tree, other = way.parameters.tree, way.parameters.other
    assert other is not None
    way.guest.sh(_MARKS.format(tree.name))
    way.go(other.name, other.commit)
    asked = way.guest.traffic.objects()
    way.guest.machine.note(f"{len(asked)} objects were fetched for {other.name}")
    assert asked
    way.asked = set(asked)
    assert len(asked) == len(way.asked), "no object was asked for twice"


def test_var_and_etc_are_carried_there(way: Way) -> None:
    other = way.parameters.other
    assert other is not None
    if not way.seen:
        raise GuestFailed(f"{other.name} did not boot")
    assert way.marks() == [way.parameters.tree.name, other.name]


def test_it_becomes_itself_again_and_nothing_is_fetched_twice(way: Way) -> None:
    tree = way.parameters.tree
    if not way.seen:
        raise GuestFailed("it never became another tree")
    way.go(tree.name, tree.commit)
    files = [one for one in way.guest.traffic.objects() if not one.endswith(".commit")]
    way.guest.machine.note(f"{len(files)} objects were fetched for {tree.name}")
    assert files == []


def test_var_and_etc_are_carried_back(way: Way) -> None:
    tree, other = way.parameters.tree, way.parameters.other
    assert other is not None
    if len(way.seen) < 2:
        raise GuestFailed(f"{tree.name} did not boot again")
    assert way.marks() == [tree.name, other.name, tree.name]


def test_both_deployments_are_there(way: Way) -> None:
    tree, other = way.parameters.tree, way.parameters.other
    assert other is not None
    there = {one.partition(".")[0] for one in way.guest.deployments()}
    assert there == {tree.commit, other.commit}
