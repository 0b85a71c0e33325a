# SPDX-License-Identifier: LGPL-2.1-or-later
"""One machine goes through all of this in the order of the file: two boots.

What testers have is booted from its own disk. It is told of the run's repository in ``/etc``,
refuses what is not signed as it should be, upgrades as a tester would, and boots the commit under
test. Where an earlier test failed, those that build on it fail with the same cause.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from pipeline.words.suite import SuiteParameters
from pipeline.words.symptoms import Cause
from vmtests.bench import Bench
from vmtests.following import GuestFailed
from vmtests.upgrading import Guest, from_promoted

pytestmark = pytest.mark.cold

_EDIT = "# edited on this machine\n"
# As if the tree that testers have were one step older: a default that it has is gone by now, and
# one that it has is another by now. Files of a deployment are links into the repository, so that
# they are replaced, never written to.
_AGE = """
# make it look a step older
set -e
root=/sysroot/ostree/deploy/{osname}/deploy/{deployment}
names=
for file in "$root"/usr/etc/*; do
    name=${{file##*/}}
    [ -f "$file" ] && [ ! -L "$file" ] && [ -s "$file" ] || continue
    case "$name" in passwd* | group* | *shadow* | sub?id* | fstab | machine-id) continue ;; esac
    cmp -s "$file" "/etc/$name" || continue
    names="$names $name"
done
set -- $names
[ $# -ge 3 ] || {{ echo "the tree has too few files in /usr/etc: $*" >&2; exit 1; }}
for etc in "$root/usr/etc" "$root/etc"; do
    echo "# an older default" >"$etc/.new"
    chmod 644 "$etc/.new"
    cp -p "$etc/.new" "$etc/ostci-gone"
    mv "$etc/.new" "$etc/$1"
done
cp -p "/etc/$2" "/etc/.new" && echo "{edit}" >>"/etc/.new" && mv "/etc/.new" "/etc/$2"
rm "/etc/$3"
echo "of this machine" >/etc/ostci-own
mkdir -p /var/lib/ostci-upgrade && echo kept >/var/lib/ostci-upgrade/kept
echo "$1 $2 $3"
"""


@dataclass
class Way:
    """How far the machine has come."""

    guest: Guest
    parameters: SuiteParameters
    old_default: str = ""
    edited: str = ""
    removed: str = ""
    before: dict[str, str] = field(default_factory=dict)
    is_upgraded: bool = False
    is_rebooted: bool = False


@pytest.fixture(scope="module")
def way(bench: Bench) -> Iterator[Way]:
    """The machine, booted as what was promoted last, and its way from there."""
    with from_promoted(bench) as guest:
        yield Way(guest=guest, parameters=bench.parameters)


def _upgraded(way: Way) -> Guest:
    if not way.is_upgraded:
        raise GuestFailed("the guest did not upgrade")
    return way.guest


def _rebooted(way: Way) -> Guest:
    if not way.is_rebooted:
        raise GuestFailed("the upgraded guest did not boot", cause=Cause.WRONG_COMMIT)
    return way.guest


def test_it_starts_as_what_was_promoted_last(way: Way) -> None:
    assert way.parameters.baseline is not None
    assert way.guest.machine.booted_commit() == way.parameters.baseline.tree.commit


def test_what_another_key_signed_is_refused(way: Way) -> None:
    guest = way.guest
    guest.connect(key=guest.own.stranger)
    before = guest.deployments()
    said = guest.machine.fails(guest.upgrade_argv, timeout_s=60.0)
    assert "signature" in said.lower(), said
    assert guest.deployments() == before


def test_a_summary_that_was_changed_on_its_way_is_refused(way: Way) -> None:
    guest = way.guest
    guest.connect()
    before = guest.deployments()
    guest.traffic.changed = {"summary"}
    said = guest.machine.fails(guest.upgrade_argv, timeout_s=60.0)
    guest.traffic.changed = set()
    assert "signature" in said.lower(), said
    assert guest.deployments() == before


def test_it_upgrades_to_the_commit_under_test(way: Way) -> None:
    guest = way.guest
    guest.connect()
    deployment = guest.deployments()[0]
    script = _AGE.format(osname=guest.osname, deployment=deployment, edit=_EDIT.strip())
    way.old_default, way.edited, way.removed = guest.sh(script).split()
    way.before = guest.changes()
    guest.traffic.asked.clear()
    guest.upgrade()
    assert guest.deployments()[0] == f"{way.parameters.tree.commit}.0"
    way.is_upgraded = True


def test_the_upgrade_comes_by_the_static_delta(way: Way) -> None:
    guest = _upgraded(way)
    if not guest.own.has_delta:
        pytest.skip("too much differs for a static delta, so that testers get none, either")
    traffic = guest.traffic
    guest.machine.note(f"{len(traffic.asked)} requests, of deltas {len(traffic.deltas())}")
    assert traffic.deltas(), f"asked for: {', '.join(traffic.asked[:20])}"
    # A directory may be asked for that the delta has, too: libostree looks at the new tree while
    # the delta's parts are on their way.
    assert [one for one in traffic.objects() if one.endswith(".filez")] == []


def test_the_upgraded_guest_boots_the_commit_under_test(way: Way) -> None:
    guest = _upgraded(way)
    guest.machine.reboot(timeout_s=60.0)
    assert guest.machine.booted_commit() == way.parameters.tree.commit
    way.is_rebooted = True


def test_a_local_edit_of_etc_is_kept(way: Way) -> None:
    guest = _rebooted(way)
    assert guest.sh(f"tail -n 1 /etc/{way.edited}") == _EDIT.strip()
    assert guest.sh("cat /etc/ostci-own") == "of this machine"


def test_a_file_that_was_removed_from_etc_stays_away(way: Way) -> None:
    guest = _rebooted(way)
    guest.sh(f"test ! -e /etc/{way.removed} && test -e /usr/etc/{way.removed}")


def test_a_new_default_arrives_in_etc(way: Way) -> None:
    guest = _rebooted(way)
    guest.sh(f"cmp /etc/{way.old_default} /usr/etc/{way.old_default}")


def test_a_default_that_the_new_tree_has_not_is_gone_from_etc(way: Way) -> None:
    guest = _rebooted(way)
    guest.sh("test ! -e /etc/ostci-gone && test ! -e /usr/etc/ostci-gone")


def test_config_diff_tells_what_was_changed_here_and_nothing_else(way: Way) -> None:
    guest = _rebooted(way)
    now = guest.changes()
    assert now[f"/etc/{way.edited}"] == "M"
    assert now["/etc/ostci-own"] == "A"
    assert now[f"/etc/{way.removed}"] == "D"
    fresh = {path: kind for path, kind in now.items() if way.before.get(path) != kind}
    assert fresh == {}, "the upgrade itself changed nothing here"


def test_var_is_kept(way: Way) -> None:
    assert _rebooted(way).sh("cat /var/lib/ostci-upgrade/kept") == "kept"
