# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make the bootable disk of a commit: its deployment in an ext4, as qcow2.

A disk is never changed once it is there; a boot gets a layer on it. It may itself be a layer on
the disk of another commit (``disking.growing``), which takes time by the size of the change. It is
booted directly, with the kernel, initramfs and options of its own boot entry, copies of which lie
beside it.
"""

import hashlib
import os
import re
import shutil
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports import image
from pipeline.ports.files import Held, flush, no_space, write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.ostree_objects import Missing
from pipeline.ports.userns import remove_tree
from pipeline.stages.disking.boot_files import BootRecord, boot_files, can_boot
from pipeline.stages.disking.copying import copy_disk
from pipeline.stages.disking.deployment import (
    Deployment,
    Remote,
    deploy,
    fixture_state,
    furnish,
    settings,
)
from pipeline.stages.disking.growing import Grown, Predecessor, grow, is_whole, predecessor
from pipeline.stages.disking.locks import ground, making
from pipeline.stages.disking.silent import silent_units
from pipeline.words.disk_change import Unfit
from pipeline.words.errors import Ending, Interrupted
from pipeline.words.fixture import fixture_of
from pipeline.words.manifest import Target
from pipeline.words.records import to_json
from pipeline.words.refs import Commit, RefName
from pipeline.words.snapshot import canonical_json
from pipeline.words.tree import Disk

DISK_VERSION = 3
"""To be raised when a change here makes other disks of the same commit."""
LABEL = "ostci"
_UUID = "6f737463-6900-4000-8000-000000000001"
_HALF_MADE = re.compile(
    r"\.([0-9a-f]{64}-[0-9a-f]{16})(?:\.boot)?\.(?:making|growing|copying\..+|json\..+)"
)
"""What has another name than a disk until it is one; it is somebody's who has the disk's lock."""


@dataclass(frozen=True, kw_only=True)
class DiskRequest:
    """``ref`` is what the deployment follows at ``url``, verified by the public key ``key``."""

    osname: str
    ref: RefName
    commit: Commit
    target: Target
    arch: str = "x86_64"
    url: str = ""
    key: bytes = b""


def make_disk(
    request: DiskRequest,
    *,
    repo: Path,
    disks: Path,
    log: Log,
    full: bool = False,
    beside: Path | None = None,
) -> Disk:
    """Make the disk of a commit, or find the one that is there.

    It is copied where it lies in ``beside``, another's disks on this machine; a layer on another
    commit's disk where there is one with the same settings; and made anew in full where not or
    where ``full`` asks for it. What is in it is the same.
    """
    spec = _spec(request)
    name = f"{request.commit}-{spec}"
    path = disks / f"{name}.qcow2"
    found = Disk(
        commit=request.commit,
        path=str(path),
        ref=request.ref,
        osname=request.osname,
        size=request.target.disk_size,
    )
    if _is_there(path, full=full):
        return found
    disks.mkdir(parents=True, exist_ok=True)
    with making(path, what=f"disk of {request.ref}"):
        if not _is_there(path, full=full):
            for left in half_made(disks):
                remove_half_made(left)
            _forget(path)
            if full or not (_copy(path, beside, log) or _grow(request, spec, path, repo, log)):
                _make(request, path, repo=repo, log=log)
    return found


def half_made(disks: Path) -> Iterator[Path]:
    """Find what is being made among disks, or was by somebody who was killed."""
    for path in sorted(disks.glob(".*")):
        if _HALF_MADE.fullmatch(path.name):
            yield path


def remove_half_made(path: Path) -> None:
    """Remove what a killed process left, and nothing that somebody works on."""
    found = _HALF_MADE.fullmatch(path.name)
    assert found is not None, path
    try:
        with making(path.with_name(f"{found[1]}.qcow2"), what="cleaning up", wait_s=0.0):
            remove_tree(path)
    except Held:
        return  # it is being made


def _is_there(path: Path, *, full: bool) -> bool:
    return is_whole(path) and can_boot(path) and not (full and image.below(path))


def _forget(path: Path) -> None:
    """Remove a disk that is not whole, and those that were layers on it.

    What stood on a disk that is gone does not stand on the one that takes its name.
    """
    gone = [other for other in path.parent.glob("*.qcow2") if path in (other, *image.below(other))]
    if gone:
        with ground(path.parent, what=f"disk {path.name}", shared=False):
            for other in path.parent.glob("*.qcow2"):
                if path in image.below(other):
                    other.unlink(missing_ok=True)
            path.unlink(missing_ok=True)


def _copy(path: Path, beside: Path | None, log: Log) -> bool:
    """Copy the disk from where another user has made it; tells whether it is here."""
    if beside is None or not copy_disk(path, beside):
        return False
    log.fact(f"the disk is copied from {beside}")
    return True


def _grow(request: DiskRequest, spec: str, path: Path, repo: Path, log: Log) -> bool:
    """Make the disk as a layer on another commit's; tells whether that went."""
    layer = path.with_name(f".{path.stem}.growing")
    layer.unlink(missing_ok=True)
    of = Repo(repo, log=log)
    try:
        # Whoever takes away what this stands on waits until it can be seen, and takes it, too.
        with ground(path.parent, what="growing", shared=True):
            old = predecessor(path.parent, spec, request.commit, repo=of)
            with log.step("grow"):
                grown = grow(_deployment(request), old, layer, repo=of, log=log)
            _link_boot_files(grown, old, path)
            layer.chmod(0o444)
            if not is_whole(layer):
                raise Unfit(f"{old.path.name} is gone")
            layer.rename(path)
    except (Unfit, Missing) as why:
        log.fact(f"the disk is made in full: {why}")
        return False
    except Interrupted:
        raise
    except Exception as error:
        # A way to save time must not cost a disk; that it is broken is for us to hear of.
        log.warning(f"growing the disk failed, it is made in full: {error!r}")
        if not isinstance(error, Ending):
            log.detail(traceback.format_exc())
        return False
    finally:
        layer.unlink(missing_ok=True)
    log.fact(f"{grown.changed} paths differ from {old.commit[:12]}, whose disk it stands on")
    return True


def _link_boot_files(grown: Grown, old: Predecessor, disk: Path) -> None:
    """Keep beside a layer what a first boot needs: the predecessor's files where they are equal."""
    record_path, *places = boot_files(disk)
    _, *theirs = boot_files(old.path)
    for file, shared, place in zip((grown.kernel, grown.initramfs), theirs, places, strict=True):
        place.unlink(missing_ok=True)
        if file.shared and shared.is_file():
            os.link(shared, place)
        else:
            shutil.copyfile(file.path, place)
            flush(place)
    record = BootRecord(
        title=grown.title,
        options=grown.options,
        name=grown.name,
        initramfs=True,
        silent=grown.silent,
    )
    write_text(record_path, to_json(record))


def _spec(request: DiskRequest) -> str:
    """Hash what besides the commit decides the disk."""
    what = _deployment(request)
    value = {
        "version": DISK_VERSION,
        "ref": request.ref,
        "osname": request.osname,
        "size": request.target.disk_size,
        "options": what.options,
        "settings": {path: (mode, text.hex()) for path, (mode, text) in settings(what).items()},
        "fixture": fixture_state(what.fixture),
    }
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def _deployment(request: DiskRequest) -> Deployment:
    unit = request.target.default_unit
    return Deployment(
        osname=request.osname,
        ref=request.ref,
        commit=request.commit,
        options=(
            f"root=LABEL={LABEL}",
            "rw",
            # The last one is /dev/console; the first is what a screenshot shows.
            "console=tty0",
            "console=ttyS0",
            *((f"systemd.unit={unit}",) if unit else ()),
            *request.target.kernel_options,
        ),
        remote=Remote(name=request.osname, url=request.url, key=request.key),
        fixture=fixture_of(unit, request.target.boot_tries, request.target.session),
    )


def _make(request: DiskRequest, path: Path, *, repo: Path, log: Log) -> None:
    room = path.with_name(f".{path.stem}.making")
    remove_tree(room)
    room.mkdir()
    try:
        with no_space(path):
            _make_in(room, _deployment(request), request.target.disk_size, path, repo, log)
    finally:
        remove_tree(room)


def _make_in(room: Path, what: Deployment, size: int, path: Path, repo: Path, log: Log) -> None:
    sysroot = room / "sysroot"
    sysroot.mkdir()
    with log.step("deploy"):
        root = deploy(what, sysroot, repo=repo, log=log)
        silent = silent_units(root)
        furnish(root, what)
    with log.step("file system"):
        raw = room / "raw"
        image.make_ext4(sysroot, raw, size=size, label=LABEL, uuid=_UUID, log=log)
    with log.step("qcow2"):
        image.to_qcow2(raw, room / "disk.qcow2", log=log)
        raw.unlink()
    _copy_boot_files(sysroot, path, silent)
    flush(room / "disk.qcow2")
    (room / "disk.qcow2").chmod(0o444)
    (room / "disk.qcow2").rename(path)


def _copy_boot_files(sysroot: Path, disk: Path, silent: tuple[str, ...]) -> None:
    """Keep what a first boot needs beside the disk; the record is written last."""
    entries = [
        image.parse_entry(path.name, path.read_text())
        for path in sorted((sysroot / "boot/loader/entries").glob("*.conf"))
    ]
    chosen = image.choose_entry(entries)
    record_path, kernel, initramfs = boot_files(disk)
    pairs = [("linux", kernel), ("initrd", initramfs)]
    for field, to in pairs:
        if field in chosen.fields:
            to.unlink(missing_ok=True)  # it may be shared with another disk
            shutil.copyfile(sysroot / f"boot{chosen.fields[field]}", to)
            flush(to)
    record = BootRecord(
        title=chosen.fields.get("title", ""),
        options=chosen.fields.get("options", ""),
        name=chosen.name,
        initramfs="initrd" in chosen.fields,
        silent=silent,
    )
    write_text(record_path, to_json(record))
