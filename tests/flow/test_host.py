# SPDX-License-Identifier: LGPL-2.1-or-later
"""The whole role played on a host with a systemd of its own, and its units at work."""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cheap import Cheap
from tests.hosts import Host, own_systemd
from tests.wheels import make_wheel
from tests.work import TOP

pytestmark = [pytest.mark.slow, pytest.mark.full]
_WORK = "/var/lib/ostci/work"
_PROGRAM = "/opt/ostci/bin/ostci"
_API = "http://127.0.0.1:8010/api/v2"
_AGAIN_S = 15.0
"""So soon is what was killed at work again."""
_MASTER = "runs = 1\npoll = 2\nreconcile = 2\n"


@dataclass
class Deployed:
    """A host on which the role was played."""

    host: Host
    first: str
    second: str

    def ostci(self, *words: str) -> str:
        return self.host.as_user("ostci", "env", "-C", "/", _PROGRAM, "-C", _WORK, *words)

    def connected(self) -> set[str]:
        """Tell which slots the page shows as connected."""
        found = self.host.get(f"{_API}/workers")
        workers = found["workers"] if found else ()
        return {one["name"] for one in workers if one["connected_to"]}

    def is_whole(self) -> bool:
        """Tell whether master, worker and the worker user's one are together."""
        return self.connected() == {"host", "run-0", "run-1", "work-1", "away-local-1"}


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    if shutil.which("ansible-playbook") is None:
        pytest.skip("there is no ansible (Debian: ansible-core)")
    root = tmp_path_factory.mktemp("host")
    wheel = make_wheel(root)
    (root / "os").mkdir()
    Cheap(root / "os", one=0.0)
    given = root / "given"
    given.mkdir()
    for name in ("cheap.yaml", "rootfs.tar"):
        shutil.copy(root / "os" / name, given / name)
    shutil.copytree(root / "os" / "git", given / "git")
    scratch = root / "tmp"
    scratch.mkdir()
    scratch.chmod(0o1777)
    binds = {
        scratch: "/tmp",
        root / "var": "/var/lib/ostci",
        root / "worker": "/var/lib/ostci-worker",
        root / "backups": "/var/backups/ostci",
        TOP: "/srv/ostci",
        given: "/srv/given",
        wheel.parent: "/srv/wheels",
    }
    with own_systemd(binds) as host:
        first = play(host, wheel.name)
        yield Deployed(host, first, play(host, wheel.name))


def play(host: Host, wheel: str) -> str:
    """Play the role on a host, from there, but over this machine's network; tells what it said."""
    told = {
        "ansible_become": False,
        "ansible_python_interpreter": "/usr/bin/python3",
        "ostci_manifest": "cheap.yaml",
        "ostci_manifests": "/srv/given/",
        "ostci_master": _MASTER,
        "ostci_nightly": ["backup", "clean"],
        "ostci_secrets": {"hook-plain": "hush"},
        "ostci_slots": 1,
        "ostci_wheel": f"/srv/wheels/{wheel}",
    }
    pip = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    env = {**pip, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "default"}
    argv = ["ansible-playbook", "-c", "local", "-i", "localhost,", "/srv/ostci/ansible/site.yml"]
    done = host.run(*argv, "-e", json.dumps(told), network=True, env=env, timeout_s=900.0)
    return done.stdout


def test_the_role_sets_up_a_host_and_the_second_time_changes_nothing(deployed: Deployed) -> None:
    host = deployed.host
    assert "failed=0" in deployed.first and "changed=0" in deployed.second, deployed.second
    for unit in ("ostci", "ostci-worker", "ostci-serve"):
        assert host.show(f"{unit}.service", "ActiveState") == "active"
        assert host.show(f"{unit}.service", "UnitFileState") == "enabled"
    states = {one: host.show(f"ostci-{one}.timer", "ActiveState") for one in ("backup", "newest")}
    assert states == {"backup": "active", "newest": "inactive"}
    host.wait(deployed.is_whole, "all workers are connected")


def test_a_push_is_built_by_a_user_who_cannot_read_the_keys(deployed: Deployed) -> None:
    host = deployed.host
    host.wait(deployed.is_whole, "all workers are connected")
    deployed.ostci("push", "one")
    host.wait(lambda: not json.loads(deployed.ostci("pushes", "--open", "--json")), "it has ended")
    (push,) = json.loads(deployed.ostci("pushes", "--json"))
    log = host.run("cat", f"{_WORK}/last-run/log.txt").stdout
    assert "built on worker local" in log, push
    # It has come as far as an OS without a kernel can: composed, and not deployed.
    assert "Failed to find kernel" in push["message"], push
    pid = host.show("ostci-worker.service", "MainPID")
    assert host.run("ps", "-o", "user=", "-p", pid).stdout.strip() == "ostci-worker"
    inside = ["nsenter", f"--target={pid}", "--mount", "runuser", "-u", "ostci-worker", "--"]
    for place in (f"{_WORK}/keys", f"{_WORK}/buildbot/master/secrets", f"{_WORK}/ledger.sqlite"):
        said = host.as_user("ostci-worker", "cat", place, code=1)
        assert "Permission denied" in said, said
        said = host.run(*inside, "ls", place, code=2).stderr
        assert "Permission denied" in said or "No such file" in said, said


@pytest.mark.parametrize("unit", ["ostci.service", "ostci-worker.service"])
def test_what_is_killed_is_at_work_again(deployed: Deployed, unit: str) -> None:
    host = deployed.host
    host.wait(deployed.is_whole, "all workers are connected")
    before = host.show(unit, "MainPID")
    host.run("kill", "-KILL", before)
    host.wait(lambda: host.show(unit, "MainPID") not in ("0", before), "it was started again")
    host.wait(deployed.is_whole, "all workers are connected", within_s=_AGAIN_S * 4)
    assert host.show(unit, "NRestarts") == "1"


def test_what_is_done_at_night_is_done(deployed: Deployed) -> None:
    for unit in ("ostci-backup.service", "ostci-clean.service"):
        deployed.host.run("systemctl", "start", unit)
        assert deployed.host.show(unit, "Result") == "success"
    assert (deployed.host.run("ls", "/var/backups/ostci").stdout).split()


def test_nothing_is_alive_after_a_stop(deployed: Deployed) -> None:
    host = deployed.host
    units = ["ostci.service", "ostci-worker.service", "ostci-serve.service"]
    host.run("systemctl", "stop", *units)
    for unit in units:
        assert host.show(unit, "Result") == "success", unit
    told = host.run("ps", "-o", "args=", "-u", "ostci,ostci-worker", code=None).stdout
    assert told == ""
