# SPDX-License-Identifier: LGPL-2.1-or-later
"""What suites do that move a guest from tree to tree: a remote in its /etc, upgrades, its files."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.words.errors import Trouble
from pipeline.words.fixture import fixture_paths
from pipeline.words.suite import OwnRepository, SuiteParameters
from vmtests.bench import Bench
from vmtests.commands import title_of
from vmtests.following import GuestFailed
from vmtests.machine import Machine
from vmtests.own_server import Served, serving_own

KEY = "/etc/ostci-guest/own.gpg"
PULL_S = 120.0
"""For a download and a deployment on a host with KVM."""


_TELL = """
# tell it of the repository and its key
set -e
echo '{text}' | base64 -d >{key}
mkdir -p /etc/ostree/remotes.d
cat >{remote} <<'END'
{lines}
END
"""
_ENTRIES = """
# look at the loader's entries
cd /sysroot/boot/loader/entries || exit
for entry in *.conf; do
    version= place=
    while read -r key rest; do
        [ "$key" != version ] || version=$rest
        [ "$key" = options ] || continue
        for word in $rest; do
            case "$word" in ostree=*) place=$(readlink -f "/sysroot${word#ostree=}") ;; esac
        done
    done <"$entry"
    echo "$version $entry ${place##*/}"
done | sort -rn
"""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the loader: its file's name, and the deployment (``CHECKSUM.N``) it boots."""

    name: str
    deployment: str


class Guest:
    """A machine and the repository that it upgrades from."""

    def __init__(self, machine: Machine, own: OwnRepository, served: Served) -> None:
        self.machine = machine
        self.own = own
        self.traffic = served.traffic
        self.osname = machine.parameters.disk.osname
        self.ref = own.refs[machine.parameters.tree.name]
        self._port = served.port

    @property
    def remote(self) -> str:
        """The file that names the remote."""
        return f"/etc/ostree/remotes.d/{self.osname}.conf"

    @property
    def settings(self) -> frozenset[str]:
        """All that the fixture and this suite put into /etc, with the directories made for it."""
        own = {KEY, self.remote, "/etc/ostree/remotes.d", "/etc/ostree"}
        target = self.machine.parameters.target
        return (
            frozenset(fixture_paths(target.default_unit, target.boot_tries, target.session))
            | own
            | {f"/etc/ostree/{self.osname}.gpg"}
        )

    def connect(self, key: str = "") -> None:
        """Bring the network up, and tell the guest of the repository and the key to trust."""
        host = self.machine.connect()
        lines = [f'[remote "{self.osname}"]', f"url=http://{host}:{self._port}"]
        lines += ["gpg-verify=true", "gpg-verify-summary=true", f"gpgkeypath={KEY}"]
        text = base64.b64encode(Path(key or self.own.key).read_bytes()).decode()
        script = _TELL.format(key=KEY, text=text, remote=self.remote, lines="\n".join(lines))
        self.sh(script)

    def sh(self, script: str, *, timeout_s: float = 10.0) -> str:
        """Run a script that must end well; tells what it printed."""
        done = self.machine.shell(script, timeout_s=timeout_s)
        if done.code != 0:
            said = "; ".join(done.error_text.splitlines()[-3:])
            raise GuestFailed(f"{title_of(script)} ended with {done.code}: {said}")
        return done.text

    @property
    def upgrade_argv(self) -> list[str]:
        """The command that upgrades: what was only tried has another ref, and no later time."""
        if self.ref == self.machine.parameters.disk.ref:
            return ["ostree", "admin", "upgrade"]
        return ["ostree", "admin", "switch", f"{self.osname}:{self.ref}"]

    def upgrade(self) -> None:
        """Have the guest take what its ref names now; it is booted by the next reboot."""
        self.machine.succeeds(self.upgrade_argv, timeout_s=PULL_S)

    def entries(self) -> list[Entry]:
        """List the entries of the loader, the newest first.

        ``ostree admin status`` would not do: it verifies what is deployed, which only a promotion
        signs for good, and fails for what is not signed.
        """
        found = [line.split() for line in self.sh(_ENTRIES).splitlines()]
        return [Entry(name=name, deployment=deployment) for _, name, deployment in found]

    def deployments(self) -> list[str]:
        """List the deployments as ``CHECKSUM.N``, the newest first."""
        return [entry.deployment for entry in self.entries()]

    def changes(self) -> dict[str, str]:
        """Tell what differs in /etc from the tree's: path → M, A or D; the settings left out."""
        found = {}
        for line in self.machine.succeeds(["ostree", "admin", "config-diff"]).splitlines():
            kind, _, name = line.partition(" ")
            path = f"/etc/{name.strip()}"
            if path not in self.settings:
                found[path] = kind
        return found


@contextmanager
def upgrading(machine: Machine, parameters: SuiteParameters) -> Iterator[Guest]:
    """Serve the suite's own repository to a machine for the length of the ``with``."""
    assert parameters.own is not None, "the stage makes it"
    with serving_own(parameters.own) as served:
        yield Guest(machine, parameters.own, served)


@contextmanager
def from_promoted(bench: Bench) -> Iterator[Guest]:
    """Have the machine as what was promoted last, the suite's own repository served to it."""
    machine = bench.booted()
    outcome = machine.watch.outcome
    if outcome.cause is not None:
        # It did so before it was promoted: that is not the fault of the commit under test.
        raise Trouble(f"what was promoted last does not boot: {outcome.message}")
    with upgrading(machine, bench.parameters) as guest:
        yield guest
