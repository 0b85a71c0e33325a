# SPDX-License-Identifier: LGPL-2.1-or-later
"""Check every prerequisite by using it for real, and print the command that mends what is missing.

A version number proves little: a sandbox is entered, an overlay mounted, a commit made and a
machine booted. What cannot be had but is not needed either is told as a remark.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.log import Log
from pipeline.words.errors import Ending, Trouble

_PROGRAMS = {
    "bwrap": "bubblewrap",
    "debugfs": "e2fsprogs",
    "dpkg-source": "dpkg-dev",
    "eu-readelf": "elfutils",
    "fusermount3": "fuse3",
    "git": "git",
    "gpg": "gnupg",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "ostree": "ostree",
    "qemu-img": "qemu-utils",
    "qemu-storage-daemon": "qemu-system-common",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "strace": "strace",
    "unshare": "util-linux",
    "zstd": "zstd",
}
_ROOM = 10 * 1024**3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One prerequisite: whether it is there, in words, and the command that mends it."""

    name: str
    ok: bool
    words: str
    mend: str = ""
    needed: bool = True


def examine(log: Log, *, boot: bool = True) -> list[Finding]:
    """Run every check; each answers even when another one fails. Takes about ten seconds."""
    checks: list[tuple[str, Callable[[Path, Log], Finding]]] = [
        ("programs", _programs),
        ("disk space", _space),
        ("sandbox", _sandbox),
        ("overlay", _overlay),
        ("ostree", _ostree),
        ("signing", _signing),
        ("user namespaces", _subuids),
        ("limits", _limits),
        ("libvirt", _libvirt),
        ("master", _master),
    ]
    if boot:
        checks.append(("machine", _machine))
    findings = []
    for name, check in checks:
        with tempfile.TemporaryDirectory(prefix="ostci-", dir="/tmp") as scratch:
            try:
                findings.append(check(Path(scratch), log))
            except (Ending, OSError) as error:
                mend = getattr(error, "hint", "")
                findings.append(Finding(name=name, ok=False, words=str(error), mend=mend))
    return findings


def _programs(_scratch: Path, _log: Log) -> Finding:
    missing = {name: package for name, package in _PROGRAMS.items() if not _which(name)}
    if not missing:
        return Finding(name="programs", ok=True, words=f"all {len(_PROGRAMS)} are installed")
    packages = " ".join(sorted(set(missing.values())))
    words = "missing: " + ", ".join(sorted(missing))
    return Finding(name="programs", ok=False, words=words, mend=f"apt-get install {packages}")


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _space(_scratch: Path, _log: Log) -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    words = f"{free // 1024**3} GiB free here, {_ROOM // 1024**3} GiB wanted for a Debian sample"
    return Finding(name="disk space", ok=free >= _ROOM, words=words, mend="ostci clean")


def _sandbox(_scratch: Path, log: Log) -> Finding:
    argv = ["bwrap", "--unshare-all", "--new-session", "--die-with-parent", "--ro-bind", "/", "/"]
    process.run([*argv, "true"], log=log, deadline_s=10)
    return Finding(name="sandbox", ok=True, words="bubblewrap walls a program off")


def _overlay(scratch: Path, log: Log) -> Finding:
    for name in ("lower", "upper", "work", "over"):
        (scratch / name).mkdir()
    options = f"lowerdir={scratch}/lower,upperdir={scratch}/upper,workdir={scratch}/work"
    if os.geteuid() != 0:
        options += ",userxattr"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(scratch / "over")]
    enter = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    process.run([*enter, *mount], log=log, deadline_s=10)
    return Finding(name="overlay", ok=True, words="the kernel mounts an overlay in a namespace")


def _ostree(scratch: Path, log: Log) -> Finding:
    from pipeline.ports.ostree import Mode, Repo

    (scratch / "tree").mkdir()
    (scratch / "tree" / "file").write_text("here\n")
    repo = Repo(scratch / "repo", log=log).create(Mode.BARE_USER)
    commit = repo.commit_dir(scratch / "tree", subject="probe")
    repo.fsck()
    if repo.find(commit, "/file") is None:
        raise Trouble("a commit was made but its file is not in it")
    version = process.run(["ostree", "--version"], log=log).text
    words = version.splitlines()[1].strip().strip("'") if version else "?"
    return Finding(name="ostree", ok=True, words=f"makes a commit and checks it ({words})")


def _signing(scratch: Path, log: Log) -> Finding:
    from pipeline.ports.gpg import Keyring

    keyring = Keyring(scratch / "keys", log=log)
    keyring.ensure("ostci doctor")
    return Finding(name="signing", ok=True, words="GnuPG makes a key and signs")


def _subuids(_scratch: Path, log: Log) -> Finding:
    if os.geteuid() == 0:
        return Finding(name="user namespaces", ok=True, words="not needed as root", needed=False)
    name = process.run(["id", "-un"], log=log).text
    argv = ["unshare", "--user", "--map-auto", "--map-root-user", "true"]
    done = process.run(argv, log=log, ok=(), deadline_s=10)
    if done.code == 0:
        return Finding(name="user namespaces", ok=True, words=f"{name} has subordinate ids")
    mend = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}"
    return Finding(name="user namespaces", ok=False, words=done.error_text, mend=mend)


def _limits(_scratch: Path, log: Log) -> Finding:
    from pipeline.ports.limits import describe_limits

    words, complete = describe_limits(log)
    return Finding(name="limits", ok=complete, words=words, needed=False)


def _libvirt(_scratch: Path, log: Log) -> Finding:
    from pipeline.ports.accelerator import describe_driver

    return Finding(name="libvirt", ok=True, words=describe_driver(log))


def _master(_scratch: Path, log: Log) -> Finding:
    from pipeline.ports.master_home import config_file, environment, twistd

    try:
        twistd()
        config = config_file()
    except Trouble as error:
        words = f"{error}; only ostci up needs it"
        return Finding(name="master", ok=False, words=words, mend=error.hint, needed=False)
    # The walls round every command of a worker.
    walls = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        walls += ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    process.run([*walls, "true"], log=log, deadline_s=10)
    buildbot = twistd().with_name("buildbot")
    version = process.run([buildbot, "--version"], log=log, env=environment()).text
    words = f"{version.partition(chr(10))[0]} reads {config}"
    return Finding(name="master", ok=True, words=words, needed=False)


def _machine(_scratch: Path, log: Log) -> Finding:
    from pipeline.ports.accelerator import choose

    found = choose(log=log)
    return Finding(name="machine", ok=True, words=found.words)
