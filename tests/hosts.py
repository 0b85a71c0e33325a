# SPDX-License-Identifier: LGPL-2.1-or-later
"""A host to try units and the role on: this machine's files, with a systemd of their own.

What is written goes to a layer that is thrown away; processes, mounts, network and control groups
are the host's own. Nothing outside is touched, and all of it is gone with the ``with``.
"""

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.process import descendants

_SYSTEMD = Path("/lib/systemd/systemd")
_WALLS = ("--pid", "--mount", "--ipc", "--uts", "--cgroup", "--net", "--propagation=private")
_UP_S = 90.0
_SPACES = ("--pid", "--mount", "--uts", "--ipc", "--cgroup")
# $1: the place; the rest: directories of this machine and where they are to be seen.
_BOOT = """
place=$1; shift
root=$place/root
mkdir -p $place/up $place/own $root
mount -t overlay overlay -o lowerdir=/,upperdir=$place/up,workdir=$place/own $root
mount -t proc proc $root/proc
# Settings of the kernel are everybody's: systemd would set some.
mount --bind $root/proc/sys $root/proc/sys
mount -o remount,bind,ro $root/proc/sys
mount -t sysfs sysfs $root/sys
if grep -q ' cgroup rw.*name=systemd' /proc/self/mounts; then
    mount -t tmpfs -o mode=755 tmpfs $root/sys/fs/cgroup
    mkdir $root/sys/fs/cgroup/systemd $root/sys/fs/cgroup/unified
    mount -t cgroup -o none,name=systemd cgroup $root/sys/fs/cgroup/systemd
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup/unified
else
    mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
fi
mount -t tmpfs -o mode=755 tmpfs $root/dev
for name in null zero full random urandom tty kvm fuse; do
    [ ! -e /dev/$name ] || cp -a /dev/$name $root/dev/$name
done
ln -s /proc/self/fd $root/dev/fd
mkdir $root/dev/pts $root/dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts $root/dev/pts
ln -s pts/ptmx $root/dev/ptmx
mount -t tmpfs -o mode=1777 tmpfs $root/dev/shm
mount -t tmpfs -o mode=755 tmpfs $root/run
while [ $# -gt 0 ]; do
    mkdir -p $1 $root$2
    mount --bind $1 $root$2
    shift 2
done
# What this machine has switched on is its own affair.
rm -rf $root/etc/systemd/system/*.wants
ip link set lo up
mkdir -p $root/.old
cd $root
pivot_root . .old
umount -l /.old
exec env -i container=tests PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --log-target=journal
"""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host that is up; ``pid`` is that of its first process, as it is known outside."""

    pid: int

    def argv(self, *words: str | Path, network: bool = False) -> list[str]:
        """Write a command to be given on it; with this machine's ``network`` or its own."""
        spaces = [*_SPACES, *(() if network else ("--net",))]
        enter = ["nsenter", f"--target={self.pid}", *spaces, "--root", "--wd", "--"]
        return [*enter, *map(str, words)]

    def run(
        self,
        *words: str | Path,
        code: int | None = 0,
        network: bool = False,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 600.0,
    ) -> "subprocess.CompletedProcess[str]":
        """Give a command, as root; it has to end with a code, or None for any."""
        path = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            self.argv(*words, network=network),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env={**path, **(env or {})},
        )
        told = f"{words} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert code in (None, done.returncode), told
        return done

    def as_user(self, user: str, *words: str | Path, code: int | None = 0) -> str:
        """Give a command as another user; tells what it wrote."""
        done = self.run("runuser", "-u", user, "--", *words, code=code)
        return done.stdout + done.stderr

    def show(self, unit: str, what: str) -> str:
        """Tell a property of a unit."""
        return self.run("systemctl", "show", "-P", what, unit).stdout.strip()

    def get(self, url: str) -> Any:
        """Ask something that listens on the host; None where nothing answers."""
        code = f"import urllib.request as u; print(u.urlopen({url!r}, timeout=10).read().decode())"
        done = self.run("/usr/bin/python3", "-c", code, code=None)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait(self, fact: Callable[[], object], what: str, *, within_s: float = 120.0) -> None:
        """Wait for a fact; told why it did not come from the journal."""
        until = time.monotonic() + within_s
        while not fact():
            if time.monotonic() > until:
                journal = self.run("journalctl", "--no-pager", "-o", "short", "-n", "80").stdout
                raise AssertionError(f"not within {within_s:.0f} s: {what}\n{journal}")
            time.sleep(0.2)


@contextmanager
def own_systemd(binds: Mapping[Path, str]) -> Iterator[Host]:
    """Bring up a host that sees some directories of this machine at other places.

    They are no layers, so that builds may put layers upon them. Skips the test where this machine
    cannot have such a host.
    """
    if os.geteuid() != 0 or not _SYSTEMD.is_file():
        pytest.skip("only root can start a systemd of its own" if os.geteuid() else "no systemd")
    place = Path(tempfile.mkdtemp(prefix="ostci-host-", dir="/var/tmp"))
    groups = [Path(mount) / f"ostci-host-{os.getpid()}" for mount in _group_mounts()]
    words = [str(place), *(str(word) for pair in binds.items() for word in pair)]
    join = "".join(f"mkdir {one} && echo $$ > {one}/cgroup.procs && " for one in groups)
    start = f'{join}exec unshare {" ".join(_WALLS)} --fork --kill-child sh -euc "$0" sh "$@"'
    try:
        child = subprocess.Popen(
            ["sh", "-uc", start, _BOOT, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield _when_up(child)
        finally:
            child.kill()
            child.communicate()
    finally:
        for one in groups:
            _remove_group(one)
        shutil.rmtree(place)


def _when_up(child: "subprocess.Popen[str]") -> Host:
    until = time.monotonic() + _UP_S
    while time.monotonic() < until:
        if child.poll() is not None:
            said = child.communicate()[1].strip()
            pytest.skip(f"a systemd of its own does not start here: {said}")
        below = descendants(child.pid)
        if below:
            host = Host(pid=below[0][0])
            state = host.run("systemctl", "is-system-running", code=None).stdout.strip()
            if state in ("running", "degraded"):
                # A build's own /proc can be mounted only where nothing of this one is hidden.
                host.run("umount", "--lazy", "/proc/sys")
                return host
        time.sleep(0.2)
    raise AssertionError(f"systemd was not up within {_UP_S:.0f} s")


def _group_mounts() -> list[str]:
    """Find what systemd wants of the control groups: version 2, and its own of version 1."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options):
            found.append(place)
    return found


def _remove_group(group: Path) -> None:
    """Remove a control group that has no process any more, as soon as the last one is gone."""
    until = time.monotonic() + _UP_S
    while group.is_dir():
        folders = [Path(top) for top, _, _ in os.walk(group, topdown=False)]
        try:
            for one in folders:
                one.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
