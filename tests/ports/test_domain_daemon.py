# SPDX-License-Identifier: LGPL-2.1-or-later
"""The same machine through libvirt's daemon, in a mount namespace where it has nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import bare

_DAEMON = """
set -e
mount -t tmpfs tmpfs /run
for name in etc var; do
    mkdir -p /run/over/$name /run/work/$name
    mount -t overlay overlay /$name \\
        -o lowerdir=/$name,upperdir=/run/over/$name,workdir=/run/work/$name
done
mkdir -p /run/libvirt /etc/libvirt
# Its own mounts would undo that it has no /dev/kvm.
echo 'namespaces = []' > /etc/libvirt/qemu.conf
[ ! -e /dev/kvm ] || mount --bind "$1/no-kvm" /dev/kvm
virtlogd > "$1/virtlogd.txt" 2>&1 &
libvirtd > "$1/libvirtd.txt" 2>&1 &
until [ -S /run/libvirt/libvirt-sock ] && [ -S /run/libvirt/virtlogd-sock ]; do sleep 0.1; done
exec "$2" -c "$3" "$1"
"""
_BOOT = """
import sys
from pathlib import Path
from pipeline.ports.domain import hypervisor
from pipeline.ports.log import Log
from tests import bare
into = Path(sys.argv[1])
with hypervisor("qemu:///system", into / "root", log=Log()) as driver:
    with driver.start(bare.spec(into, script="echo $((6 * 7)); poweroff -f")) as machine:
        print(machine.wait_ended(bare.DEADLINE_S))
        print(machine.console.read_text())
    with driver.start(bare.spec(into)) as machine:
        print("running", machine.is_running())
    print(machine.ended())
"""


@pytest.mark.full
@pytest.mark.vm
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="not root: the system's daemon is not ours to start")
@pytest.mark.skipif(
    not (shutil.which("libvirtd") and shutil.which("virtlogd")), reason="libvirtd is not installed"
)
def test_the_daemon_takes_the_same_machine() -> None:
    bare.kernel()
    top = Path(__file__).resolve().parents[2]
    with bare.short_directory() as into:
        (into / "no-kvm").touch(mode=0o600)
        argv = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        argv += ["sh", "-c", _DAEMON, "sh", str(into), sys.executable, _BOOT]
        done = subprocess.run(
            argv, cwd=top, capture_output=True, text=True, timeout=300, check=False
        )
        told = [path.read_text() for path in into.glob("*d.txt")]
        assert done.returncode == 0, (done.stderr, told)
    lines = done.stdout.split()
    assert lines[0] == "shutdown" and "42" in lines
    assert lines[-3:] == ["running", "True", "destroyed"]
