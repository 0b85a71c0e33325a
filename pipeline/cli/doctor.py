# SPDX-License-Identifier: LGPL-2.1-or-later
"""Check every prerequisite by using it for real, and print the command that mends what is missing.

A version number proves little: a sandbox is entered, an overlay mounted, a commit made and a
machine booted. What cannot be had but is not needed either is told as a remark. Of a work
directory it is looked whether the one rule holds.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import process, userns
from pipeline.ports.image import FUSE
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
    "gpgv": "gpgv",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "newuidmap": "uidmap",
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
        ("user namespaces", _namespaces),
        ("fuse", _fuse),
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
                mend = _hint(name, error)
                findings.append(Finding(name=name, ok=False, words=str(error), mend=mend))
    return findings


def examine_rule(root: Path, log: Log) -> Finding:
    """Look whether every ``buildmaster`` ref of a work directory has its recorded pass.

    Changes nothing, and takes no lock: what is being promoted at the moment is in the ledger.
    """
    from pipeline.ports.ledger import Ledger
    from pipeline.ports.ostree import Repo
    from pipeline.ports.workdir import Workdir
    from pipeline.stages.promote import violations

    name = "recorded passes"
    workdir = Workdir(root)
    repo, archive = Repo(workdir.repo, log=log), Repo(workdir.archive, log=log)
    refs = {ref for one in (repo, archive) for ref in one.refs() if "/buildmaster/" in ref}
    judge = f"ostci -C {root} run --again"
    if not workdir.ledger.is_file():
        # Opening it would make an empty one.
        words = f"{workdir.ledger} is not there" if refs else "nothing was promoted yet"
        return Finding(name=name, ok=not refs, words=words, mend=judge)
    ledger = Ledger(f"sqlite:///{workdir.ledger}")
    try:
        broken = violations(repo=repo, archive=archive, ledger=ledger)
        # What a start does first is to move refs to where the ledger says that they are.
        mend = f"ostci -C {root} clean --dry-run" if ledger.promoted() else judge
    except Ending as error:
        return Finding(name=name, ok=False, words=str(error), mend=error.hint)
    finally:
        ledger.close()
    words = "; ".join(broken) or f"each of {len(refs)} buildmaster refs has its own"
    return Finding(name=name, ok=not broken, words=words, mend=mend)


def _hint(name: str, error: Exception) -> str:
    """Tell what mends a check: where this kernel forbids namespaces, that comes first."""
    lack = userns.forbidden() if name in ("sandbox", "overlay") and os.geteuid() != 0 else None
    return lack.mend if lack is not None else getattr(error, "hint", "")


def _programs(_scratch: Path, _log: Log) -> Finding:
    missing = {name: package for name, package in _PROGRAMS.items() if not _which(name)}
    if not missing:
        return Finding(name="programs", ok=True, words=f"all {len(_PROGRAMS)} are installed")
    packages = " ".join(sorted(set(missing.values())))
    words = "missing: " + ", ".join(sorted(missing))
    return Finding(
        name="programs", ok=False, words=words, mend=f"{_sudo()}apt-get install {packages}"
    )


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


def _namespaces(_scratch: Path, _log: Log) -> Finding:
    if os.geteuid() == 0:
        return Finding(name="user namespaces", ok=True, words="not needed as root", needed=False)
    lack = userns.missing()
    if lack is not None:
        return Finding(name="user namespaces", ok=False, words=lack.words, mend=lack.mend)
    words = "files of every user can be made, with your subordinate ids"
    return Finding(name="user namespaces", ok=True, words=words)


def _fuse(_scratch: Path, _log: Log) -> Finding:
    if os.access(FUSE, os.R_OK | os.W_OK):
        words = "a disk can be looked into after its machine has written to it"
        return Finding(name="fuse", ok=True, words=words)
    lack = "cannot be opened" if FUSE.exists() else "is not there"
    words = f"{FUSE} {lack}: a disk that a guest has written to is copied to be looked into"
    mend = f"{_sudo()}chmod 666 {FUSE}" if FUSE.exists() else f"{_sudo()}modprobe fuse"
    return Finding(name="fuse", ok=False, words=words, mend=mend, needed=False)


def _sudo() -> str:
    return "" if os.geteuid() == 0 else "sudo "


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
    # What would make machines faster is a remark.
    return Finding(
        name="machine", ok=not found.mend, words=found.words, mend=found.mend, needed=False
    )
