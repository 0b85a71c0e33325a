# SPDX-License-Identifier: LGPL-2.1-or-later
"""One machine goes through all of this in the order of the file: four boots, and those that fail.

What was promoted last upgrades to the commit under test and is pinned. From there the guest
takes a tree that cannot boot, and comes back by itself once its tries are used up. At the end it
goes back, as somebody would who does not like the commit under test.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pipeline.words.suite import SuiteParameters
from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.following import GuestFailed
from vmtests.upgrading import PULL_S, Entry, Guest, from_promoted

pytestmark = pytest.mark.cold

_COUNT = "/etc/ostci-guest/boot-count"


@dataclass
class Way:
    """How far the machine has come; ``failed`` are the causes of boots that came to nothing."""

    guest: Guest
    parameters: SuiteParameters
    failed: list[Cause] = field(default_factory=list)
    is_upgraded: bool = False
    is_back: bool = False

    @property
    def tries(self) -> int:
        """How often a new tree may fail; skips the test where nobody counts."""
        if not self.parameters.target.boot_tries:
            pytest.skip("boot-counting is off for this target")
        return self.parameters.target.boot_tries

    def need(self, is_there: bool, what: str) -> Guest:
        """Give up where an earlier test has failed."""
        if not is_there:
            raise GuestFailed(what)
        return self.guest


@pytest.fixture(scope="module")
def way(bench: Bench) -> Iterator[Way]:
    """The machine, booted as what was promoted last, and its way from there."""
    with from_promoted(bench) as guest:
        yield Way(guest=guest, parameters=bench.parameters)


def _count(way: Way, verb: str) -> None:
    """Do by hand what a unit of systemd's does, in a guest without it."""
    if way.parameters.target.boot_tries and not way.guest.machine.has("systemctl"):
        tries = str(way.parameters.target.boot_tries) if verb == "arm" else ""
        way.guest.sh(f"sh {_COUNT} {verb} {tries}")


def _entry(guest: Guest, commit: str) -> Entry:
    found = [one for one in guest.entries() if one.deployment.startswith(commit)]
    assert len(found) == 1, f"entries of {commit[:12]}: {found}"
    return found[0]


def test_the_upgraded_guest_boots_and_is_blessed(way: Way) -> None:
    guest, commit = way.guest, way.parameters.tree.commit
    guest.connect()
    _count(way, "bless")
    guest.upgrade()
    _count(way, "arm")
    guest.machine.reboot(timeout_s=60.0)
    assert guest.machine.booted_commit() == commit
    if way.parameters.target.boot_tries and not guest.machine.has("systemctl"):
        assert "+" in _entry(guest, commit).name, "its boot was counted"
    _count(way, "bless")
    assert "+" not in _entry(guest, commit).name
    way.is_upgraded = True


def test_a_tree_that_cannot_boot_is_given_up_after_its_tries(way: Way) -> None:
    tries = way.tries
    guest = way.need(way.is_upgraded, "the guest did not upgrade")
    machine, own = guest.machine, guest.own
    assert own.unbootable is not None
    machine.succeeds(["ostree", "admin", "pin", "1"])
    guest.connect()
    guest.traffic.instead = {name: f"{name}.unbootable" for name in ("summary", "summary.sig")}
    guest.upgrade()
    guest.traffic.instead = {}
    assert guest.deployments()[0] == f"{own.unbootable}.0"
    _count(way, "arm")
    for number in range(tries + 2):
        try:
            if number:
                machine.boot()
            else:
                machine.reboot(timeout_s=60.0)
            break
        except GuestFailed as failure:
            machine.note(f"boot {number + 1} of {machine.entry} failed: {failure.cause}")
            way.failed.append(failure.cause)
            machine.crash()
    assert machine.booted_commit() == way.parameters.tree.commit
    assert len(way.failed) == tries, f"it failed {len(way.failed)} times: {way.failed}"
    way.is_back = True


def test_what_could_not_boot_is_named_so_by_its_entry(way: Way) -> None:
    tries = way.tries
    guest = way.need(way.is_back, "the guest did not come back")
    assert guest.own.unbootable is not None
    entry = _entry(guest, guest.own.unbootable)
    guest.machine.note(f"failed: {entry.name}")
    assert entry.name.endswith(f"+0-{tries}.conf")
    assert "+" not in _entry(guest, way.parameters.tree.commit).name


def test_the_earlier_deployment_boots_again(way: Way) -> None:
    guest = way.need(way.is_upgraded, "the guest did not upgrade")
    machine, baseline = guest.machine, way.parameters.baseline
    assert baseline is not None
    guest.connect()
    # ostree 2022.7 can neither choose among deployments nor take away the one that runs.
    back = ["upgrade", f"--override-commit={baseline.tree.commit}", "--allow-downgrade"]
    machine.succeeds(["ostree", "admin", *back], timeout_s=PULL_S)
    machine.reboot(timeout_s=60.0)
    assert machine.booted_commit() == baseline.tree.commit
    there = [one.partition(".")[0] for one in guest.deployments()]
    assert way.parameters.tree.commit in there, "what it left is there still"
