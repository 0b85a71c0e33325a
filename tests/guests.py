# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest small enough to be made anew for every fault: kernel, busybox, an init of ours.

It is a real tree: committed by OSTree, deployed, on a disk, booted by way of ostree-prepare-root.
The kernel comes from its Debian package, the rest from this machine; what was made is kept in the
cache for the next time.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pipeline.ports import initramfs, process
from pipeline.ports.domain_root import shared_cache
from pipeline.ports.files import Held, lock, remove_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.disk import DiskRequest, make_disk
from pipeline.stages.test import TestRequest
from pipeline.words.manifest import SmokeSpec, Target
from pipeline.words.refs import Commit, RefName, commit
from pipeline.words.tree import Disk, Tree

_INIT = Path(__file__).with_name("guest_init.sh")
_PACKAGES = ("linux-image-cloud-amd64", "ostree-boot")
_BASE = RefName("guest/base")
_UNUSED_S = 24 * 3600.0
TARGET = Target(
    name="guest",
    default_unit="multi-user.target",
    disk_size=256 * 1024**2,
    memory=256 * 1024**2,
    processors=1,
    smoke=SmokeSpec(deadline_s=20),
)


def _home() -> Path:
    made_of = (
        _INIT.read_bytes() + Path(__file__).read_bytes() + initramfs.initramfs_digest().encode()
    )
    state = hashlib.sha256(made_of).hexdigest()[:12]
    return shared_cache() / "test-guest" / state


def guest_repo(log: Log) -> Path:
    """Make the repository with the clean guest in it, once; tells where it is."""
    home = _home()
    repo = home / "repo"
    with lock(_lock_of(home), what="test guest", wait_s=600.0):
        if not repo.is_dir():
            with tempfile.TemporaryDirectory(prefix="ostci-guest-") as name:
                root = Path(name) / "root"
                _fill(root, log)
                making = home / "making"
                remove_tree(making)
                making.mkdir(parents=True)
                _ostree(["init", f"--repo={making}", "--mode=bare-user"], log)
                _commit(making, _BASE, [f"--tree=dir={root}"], log)
                making.rename(repo)
        os.utime(home)
    remove_unused(home)
    return repo


def remove_unused(home: Path) -> None:
    """Remove guests of other states of the sources, where nobody has used them for a day.

    Whoever has one asks for it again with each test, which is what marks its use.
    """
    for other in home.parent.iterdir():
        if other == home or not other.is_dir() or not _is_unused(other):
            continue
        with suppress(Held), lock(_lock_of(other), what="removing a test guest"):
            if _is_unused(other):
                remove_tree(other)


def _is_unused(home: Path) -> bool:
    with suppress(FileNotFoundError):
        return time.time() - home.stat().st_mtime > _UNUSED_S
    return False


def _lock_of(home: Path) -> Path:
    return home.parent / f"{home.name}.lock"


def commit_guest(layer: Mapping[str, str | None], *, log: Log) -> Commit:
    """Commit the guest with files added or replaced; ``None`` takes a file out.

    The same files are the same commit, whose disk and checkpoints are there from the last time.
    """
    repo = guest_repo(log)
    digest = hashlib.sha256(repr(sorted(layer.items())).encode()).hexdigest()[:16]
    ref = RefName(f"guest/fault-{digest}") if layer else _BASE
    found = Repo(repo, log=log).resolve(ref)
    if found is not None:
        return found
    with tempfile.TemporaryDirectory(prefix="ostci-layer-") as name:
        root = Path(name) / "root"
        if None in layer.values():
            _ostree(["checkout", f"--repo={repo}", "-U", _BASE, str(root)], log)
        for path, text in layer.items():
            target = root / path.lstrip("/")
            target.unlink(missing_ok=True)
            if text is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text)
                target.chmod(0o755)
        below = [] if None in layer.values() else [f"--tree=ref={_BASE}"]
        return _commit(repo, ref, [*below, f"--tree=dir={root}"], log)


def guest_disk(of: Commit, *, log: Log, target: Target = TARGET, disks: Path | None = None) -> Disk:
    """Make the disk of a guest, for all tests or in a directory of one's own."""
    request = DiskRequest(osname="guest", ref=_BASE, commit=of, target=target)
    return make_disk(request, repo=guest_repo(log), disks=disks or _home() / "disks", log=log)


def guest_request(
    layer: Mapping[str, str | None], into: Path, *, log: Log, target: Target = TARGET
) -> TestRequest:
    """Ask for the smoke suite on a guest."""
    of = commit_guest(layer, log=log)
    tree = Tree(
        name="x86_64-guest",
        arch="x86_64",
        target=target.name,
        commit=of,
        content="",
        version="20260101.0",
        snapshot="",
    )
    disk = guest_disk(of, log=log, target=target)
    return TestRequest(
        run="20260101.0", tree=tree, target=target, disk=disk, suite="smoke", into=into
    )


def fault(script: str) -> dict[str, str | None]:
    """Make a layer whose script overrides steps of the guest's init."""
    return {"/usr/lib/guest/fault": script + "\n"}


def with_smoke(**given: object) -> Target:
    """Make the guest's target with another idea of a clean boot."""
    return replace(TARGET, smoke=replace(TARGET.smoke, **given))  # type: ignore[arg-type]


def _ostree(argv: list[str], log: Log) -> str:
    return process.run(["ostree", *argv], log=log, deadline_s=120.0).text


def _commit(repo: Path, ref: RefName, trees: list[str], log: Log) -> Commit:
    argv = ["commit", f"--repo={repo}", f"--branch={ref}", "--owner-uid=0", "--owner-gid=0"]
    argv += ["--no-xattrs", "--timestamp=@1700000000", "--subject=guest"]
    return commit(_ostree([*argv, *trees], log))


def _fill(root: Path, log: Log) -> None:
    for name in ("usr/bin", "usr/sbin", "usr/etc", "usr/lib64", "usr/lib/ostree", "var", "sysroot"):
        (root / name).mkdir(parents=True)
    for name in ("dev", "proc", "sys", "run", "boot"):
        (root / name).mkdir()
    links = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
    links |= {"ostree": "sysroot/ostree", "tmp": "sysroot/tmp"}
    for name, to in links.items():
        (root / name).symlink_to(to)
    shutil.copy("/usr/bin/busybox", root / "usr/bin/busybox")
    for applet in process.run(["busybox", "--list"], log=log).text.split():
        if applet not in {"busybox", "init"}:
            (root / "usr/bin" / applet).symlink_to("busybox")
    shutil.copy(_INIT, root / "usr/sbin/init")
    (root / "usr/sbin/init").chmod(0o755)
    (root / "usr/lib/os-release").write_text("NAME=guest\nID=guest\nPRETTY_NAME=guest\n")
    (root / "usr/etc/os-release").symlink_to("../usr/lib/os-release")
    (root / "usr/etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    with tempfile.TemporaryDirectory(prefix="ostci-debs-") as name:
        _unpack(Path(name), log)
        _add_kernel(root, Path(name) / "x", log)


def _unpack(into: Path, log: Log) -> None:
    into.chmod(0o755)
    depends = process.run(["apt-cache", "depends", _PACKAGES[0]], log=log).text
    kernel = next(line.split()[-1] for line in depends.splitlines() if "Depends:" in line)
    process.run(["apt-get", "download", kernel, _PACKAGES[1]], log=log, cwd=into)
    for package in into.glob("*.deb"):
        process.run(["dpkg-deb", "-x", package, into / "x"], log=log)


def _add_kernel(root: Path, unpacked: Path, log: Log) -> None:
    modules = next((unpacked / "lib/modules").iterdir())
    version = modules.name
    process.run(["busybox", "depmod", "-b", unpacked, version], log=log)
    directory = root / "usr/lib/modules" / version
    directory.mkdir(parents=True)
    for path in (modules / "modules.dep", modules / "modules.builtin"):
        shutil.copy(path, directory)
    for path in initramfs.needed_modules(modules):
        target = directory / path.relative_to(modules)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(unpacked / f"boot/vmlinuz-{version}", directory / "vmlinuz")
    prepare = root / "usr/lib/ostree/ostree-prepare-root"
    shutil.copy(unpacked / "usr/lib/ostree/ostree-prepare-root", prepare)
    _add_libraries(root, prepare, log)
    (directory / "initramfs.img").write_bytes(initramfs.make_initramfs(root, version, log))


def _add_libraries(root: Path, program: Path, log: Log) -> None:
    for line in process.run(["ldd", program], log=log).text.splitlines():
        path = next((word for word in line.split() if word.startswith("/")), None)
        if path is None:
            continue
        below = "usr/lib64" if "ld-linux" in path else "usr/lib/x86_64-linux-gnu"
        (root / below).mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(path), root / below / Path(path).name)
