# SPDX-License-Identifier: LGPL-2.1-or-later
"""Make a commit's disk out of another commit's: a layer that holds what differs.

It takes time by the size of the change. Whatever it meets that it does not know raises Unfit, and
the disk is made in full; what it believes of a system root that ostree made (title, options and
checksum of the boot entry) is compared with the old disk before anything is written.
"""

import hashlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from pipeline.ports import image
from pipeline.ports.ext4 import Ext4
from pipeline.ports.files import flush
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.ports.ostree_objects import Objects
from pipeline.stages.disking.deployment import Deployment, fixture_content, settings
from pipeline.stages.disking.silent import PLACES, silent_among
from pipeline.words.dirtree import EMPTY, Listing
from pipeline.words.disk_change import (
    Census,
    Meta,
    Own,
    TreeChange,
    Unfit,
    census,
    compare,
    etc_of,
)
from pipeline.words.disk_steps import (
    OBJECTS,
    Boot,
    Sources,
    State,
    Steps,
    boot_entry,
    boot_entry_path,
    boot_options,
    prefixes,
    steps,
)
from pipeline.words.fixture import fixture_of
from pipeline.words.refs import Commit, is_commit

MAX_LAYERS = 8
"""Layers over a full disk; each is one more file that a guest's reads may have to look at."""
LARGEST_PART = 1 / 3
"""Of a tree's files; a larger change is made in full, which is faster then."""
_MODULES = "usr/lib/modules"
_STRANGE = frozenset({"initrd", "devicetree", "dtb", ".vmlinuz.hmac"})


@dataclass(frozen=True, kw_only=True)
class Predecessor:
    """A disk of the same settings that is there, and the commit that it is of."""

    path: Path
    commit: Commit


@dataclass(frozen=True, kw_only=True)
class BootFile:
    """A kernel or an initramfs on this machine; ``shared`` where the predecessor boots it, too."""

    path: Path
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Grown:
    """What a layer boots."""

    name: str
    title: str
    options: str
    kernel: BootFile
    initramfs: BootFile
    silent: tuple[str, ...]
    """Units that may fail without a word in the journal."""
    changed: int
    """Paths that differ between the two trees."""


def is_whole(path: Path) -> bool:
    """Tell whether a disk is there and every one that it stands on."""
    return path.is_file() and all(one.is_file() for one in image.below(path))


def predecessor(disks: Path, spec: str, commit: Commit, *, repo: Repo) -> Predecessor:
    """Choose the disk to start from: the parent commit's, else the newest; raises Unfit."""
    found = {}
    for path in disks.glob(f"*-{spec}.qcow2"):
        of = path.name.partition("-")[0]
        if is_commit(of) and of != commit and is_whole(path) and repo.has_commit(Commit(of)):
            found[Commit(of)] = path
    if not found:
        raise Unfit("there is no other disk with these settings")
    parent = repo.info(commit).parent
    if parent is None or parent not in found:
        parent = max(found, key=lambda of: (found[of].stat().st_mtime_ns, of))
    path = found[parent]
    if len(image.below(path)) >= MAX_LAYERS:
        raise Unfit(f"{path.name} stands on {MAX_LAYERS} others")
    return Predecessor(path=path, commit=parent)


def grow(what: Deployment, old: Predecessor, layer: Path, *, repo: Repo, log: Log) -> Grown:
    """Write a layer on the predecessor, beside it, that holds the disk of ``what``.

    Raises Unfit where that is not known to go, and Trouble where it went wrong.
    """
    if not image.can_export():
        raise Unfit("/dev/fuse cannot be opened")
    if "mode=bare-user\n" not in (repo.path / "config").read_text():
        raise Unfit(f"{repo.path} is not a repository that is built in")
    trees = _Trees(repo)
    change, count = trees.change(old.commit, what.commit)
    before = trees.state(what, old.commit)
    image.overlay_beside(old.path, layer, log=log)
    with image.exported(layer, log=log, writable=True) as raw:
        system = Ext4(raw, log=log)
        there = system.read(boot_entry_path(what.osname)).decode()
        before, after = trees.booted(what, before, trees.state(what, what.commit), there)
        places = sorted(prefixes(change, before, after))
        listed = system.names([f"{OBJECTS}/{prefix}" for prefix in places])
        given = Steps(
            osname=what.osname,
            old=before,
            new=after,
            change=change,
            census=count,
            objects={path.rpartition("/")[2]: names.keys() for path, names in listed.items()},
            sources=Sources(
                place=lambda checksum, kind: str(trees.objects.path(checksum, kind)),
                meta=trees.objects.meta,
                target=trees.target,
                is_copied=trees.is_copied,
            ),
        )
        system.change(steps(given))
        flush(raw)  # the layer's own tables, too
        system.check()
    was, now = before.boot, after.boot

    def boot_file(checksum: bytes, before: bytes) -> BootFile:
        return BootFile(path=trees.objects.path(checksum, "file"), shared=checksum == before)

    return Grown(
        name=Path(boot_entry_path(what.osname)).stem,
        title=now.title,
        options=boot_options(now, what.osname),
        kernel=boot_file(now.kernel, was.kernel),
        initramfs=boot_file(now.initramfs, was.initramfs),
        silent=silent_among(trees.units(what.commit)),
        changed=change.size,
    )


class _Trees:
    """Two commits' trees as the repository has them; each directory is read once."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self.objects = Objects(repo)
        self._listings: dict[bytes, Listing] = {}

    def read(self, tree: bytes) -> Listing:
        """Read a directory."""
        found = self._listings.get(tree)
        if found is None:
            found = self._listings[tree] = self.objects.listing(tree)
        return found

    def target(self, checksum: bytes) -> str:
        """Read where a link points to: ``bare-user`` keeps that as a file's content."""
        return self.objects.path(checksum, "file").read_bytes().rstrip(b"\0").decode()

    def units(self, commit: Commit) -> Iterator[tuple[PurePath, bytes]]:
        """Read what a commit keeps where units are."""
        root = self.objects.root(commit)[0]
        for place in PLACES:
            path = f"usr/{place}" if place.startswith("etc/") else place
            at = self._at(root, path)
            if at is not None:
                yield from self._files(at[0], PurePath(path))

    def _files(self, tree: bytes, path: PurePath) -> Iterator[tuple[PurePath, bytes]]:
        listing = self.read(tree)
        for name, checksum in listing.files.items():
            if not self.objects.is_symlink(checksum):
                yield path / name, self.objects.path(checksum, "file").read_bytes()
        for name, (inner, _) in listing.dirs.items():
            yield from self._files(inner, path / name)

    def is_copied(self, checksum: bytes) -> bool:
        """Tell whether a deployed file is not one more name of its object."""
        return self.objects.size(checksum) == 0 or self.objects.is_symlink(checksum)

    def change(self, old: Commit, new: Commit) -> tuple[TreeChange, Census]:
        """Compare two commits, and count the new one's objects; raises Unfit for too much."""
        before, after = self.objects.root(old), self.objects.root(new)
        change, count = compare(before, after, self.read), census(after, self.read)
        if change.size > LARGEST_PART * count.size:
            raise Unfit(f"{change.size} paths changed in a tree of {count.size} files")
        # Of what ostree makes more than files when it deploys.
        for path in ("var", "boot", "usr/lib/ostree-boot", "usr/etc/selinux"):
            if self._at(before[0], path) != self._at(after[0], path):
                raise Unfit(f"/{path} changed")
        selinux = self._at(after[0], "usr/etc/selinux")
        if selinux is not None and "config" in self.read(selinux[0]).files:
            raise Unfit("the tree has an SELinux policy")
        for path in [*change.added, *change.added_dirs]:
            if path.rpartition("/")[2].startswith((".ostree-wh.", ".wh.")):
                raise Unfit(f"{path} has a meaning of its own to ostree")
            if path.startswith("/etc/") or path == "/etc":
                raise Unfit("the tree has an /etc")
        return change, count

    def state(self, what: Deployment, commit: Commit) -> State:
        """Tell what a disk has of a commit; the boot checksum is still to be found."""
        root = self.objects.root(commit)[0]
        etc = self._at(root, "usr/etc")
        if etc is None:
            raise Unfit("the tree has no /usr/etc")
        return State(
            commit=commit,
            boot=self._boot(what, commit, root),
            etc=etc_of(*etc, dict(_additions(what)), self.read),
            detached=self.objects.path(bytes.fromhex(commit), "commitmeta").is_file(),
        )

    def booted(self, what: Deployment, old: State, new: State, entry: str) -> tuple[State, State]:
        """Fill in boot checksums; raises Unfit unless the old disk's entry is as we believe."""
        same = (old.boot.kernel, old.boot.initramfs) == (new.boot.kernel, new.boot.initramfs)
        told = _checksum_in(entry)
        if not same and self._boot_checksum(old.boot) != told:
            raise Unfit("the boot checksum is made of more than kernel and initramfs")
        checksum = told if same else self._boot_checksum(new.boot)
        before = replace(old, boot=replace(old.boot, checksum=told))
        after = replace(new, boot=replace(new.boot, checksum=checksum))
        if boot_entry(before.boot, what.osname) != entry:
            raise Unfit("the old disk's boot entry is not as this ostree's are known to be")
        return before, after

    def _boot(self, what: Deployment, commit: Commit, root: bytes) -> Boot:
        modules = self._at(root, _MODULES)
        versions = self.read(modules[0]).dirs if modules else {}
        found = {name: self.read(tree).files for name, (tree, _) in versions.items()}
        bootable = {name: files for name, files in found.items() if "vmlinuz" in files}
        if len(bootable) != 1:
            raise Unfit(f"the tree has {len(bootable)} kernels")
        ((version, files),) = bootable.items()
        if _STRANGE & (files.keys() | self.read(versions[version][0]).dirs.keys()):
            raise Unfit("the kernel has files beside it that count at boot")
        if "initramfs.img" not in files:
            raise Unfit("the tree has no initramfs, and another way to its root")
        return Boot(
            checksum="",
            version=version,
            kernel=files["vmlinuz"],
            initramfs=files["initramfs.img"],
            title=self._title(commit, root),
            options=what.options,
        )

    def _boot_checksum(self, boot: Boot) -> str:
        digest = hashlib.sha256()
        for checksum in (boot.kernel, boot.initramfs):
            digest.update(self.objects.path(checksum, "file").read_bytes())
        return digest.hexdigest()

    def _title(self, commit: Commit, root: bytes) -> str:
        name = self._pretty_name(root)
        version = self.repo.info(commit).metadata.get("version", "")
        more = f" {version}" if version and version not in name else ""
        return f"{name}{more} (ostree:0)"

    def _pretty_name(self, root: bytes) -> str:
        for path in ("usr/etc", "usr/lib"):
            at = self._at(root, path)
            checksum = self.read(at[0]).files.get("os-release") if at else None
            if checksum is None or self.objects.is_symlink(checksum):
                continue
            text = self.objects.path(checksum, "file").read_text()
            fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
            told = fields.get("PRETTY_NAME") or fields.get("ID", "")
            return " ".join(shlex.split(told))
        raise Unfit("the tree has no os-release")

    def _at(self, root: bytes, path: str) -> tuple[bytes, bytes] | None:
        """Find a directory: its (dirtree, dirmeta)."""
        found: tuple[bytes, bytes] | None = None
        listing = self.read(root)
        for part in path.split("/"):
            found = listing.dirs.get(part)
            listing = self.read(found[0]) if found else EMPTY
        return found


def _additions(what: Deployment) -> Iterator[tuple[str, Own]]:
    """List what is put over a deployment's ``/etc``, in the order in which that happens."""
    for path, (mode, content) in settings(what).items():
        yield path, Own(meta=Meta(mode=0o100000 | mode), content=content)
    for entry in fixture_of(what.session):
        if entry.symlink:
            yield entry.path, Own(meta=Meta(mode=0o120777), symlink=entry.symlink)
        else:
            meta = Meta(mode=0o100000 | entry.mode)
            yield entry.path, Own(meta=meta, content=fixture_content(entry))


def _checksum_in(entry: str) -> str:
    options = image.parse_entry("", entry).fields.get("options", "").split()
    found = [word.split("/") for word in options if word.startswith("ostree=/ostree/boot.1/")]
    if not found or len(found[0]) != 6:
        raise Unfit("the old disk's boot entry names no deployment")
    return found[0][4]
