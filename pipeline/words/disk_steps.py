# SPDX-License-Identifier: LGPL-2.1-or-later
"""The steps from one commit's disk to another's, where the deployment's whole system root is known.

The order is that of safety for space: what goes, goes first. A deployed file is one more name of
its object in the repository, a file of ``/etc`` is a copy; kernel and initramfs in ``/boot`` are
names of their objects, too. As ``ostree admin deploy`` of 2022.7 leaves a new system root.
"""

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass

from pipeline.words.disk_change import (
    MAX_LINKS,
    Census,
    Copied,
    Copy,
    Etc,
    Link,
    MakeDir,
    Meta,
    Operation,
    Own,
    Remove,
    RemoveDir,
    Rename,
    SetLinks,
    SetMeta,
    Symlink,
    TreeChange,
    Unfit,
    Write,
    deepest_first,
    is_directory,
)

OBJECTS = "/ostree/repo/objects"
_FILE = Meta(mode=0o100644)
_DIR = Meta(mode=0o40755)
_LINK = Meta(mode=0o120777)


@dataclass(frozen=True, kw_only=True)
class Boot:
    """What a deployment boots: ``checksum`` is OSTree's, over kernel and initramfs."""

    checksum: str
    version: str
    kernel: bytes
    initramfs: bytes
    title: str
    options: tuple[str, ...]

    def names(self) -> dict[str, bytes]:
        """Name the files in the boot directory, with their objects."""
        return {
            f"vmlinuz-{self.version}": self.kernel,
            f"initramfs-{self.version}.img": self.initramfs,
        }


@dataclass(frozen=True, kw_only=True)
class State:
    """One commit as a disk has it."""

    commit: str
    boot: Boot
    etc: Etc
    detached: bool = False
    """The commit has detached metadata (a signature), which is an object of its own."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where objects are found on this machine, and what they say."""

    place: Callable[[bytes, str], str]
    meta: Callable[[bytes, str], Meta]
    target: Callable[[bytes], str]
    """Where a symbolic link's object points to."""
    is_copied: Callable[[bytes], bool]
    """Is the deployed file one of its own? A file without content is, as OSTree deploys it, and a
    symbolic link, as mke2fs writes it; all others are one more name of the object."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """All that the steps follow from; ``objects`` are names on the old disk by their directory."""

    osname: str
    old: State
    new: State
    change: TreeChange
    census: Census
    objects: Mapping[str, Set[str]]
    sources: Sources


def boot_entry_path(osname: str) -> str:
    """Name the one boot entry of a new system root."""
    return f"/boot/loader.1/entries/ostree-1-{osname}.conf"


def boot_options(boot: Boot, osname: str) -> str:
    """Write the kernel's options as they stand in the boot entry."""
    return " ".join([*boot.options, f"ostree=/ostree/boot.1/{osname}/{boot.checksum}/0"])


def boot_entry(boot: Boot, osname: str) -> str:
    """Write the boot entry as ostree does."""
    place = f"/ostree/{osname}-{boot.checksum}"
    lines = [f"title {boot.title}", "version 1", f"options {boot_options(boot, osname)}"]
    lines.append(f"linux {place}/vmlinuz-{boot.version}")
    lines.append(f"initrd {place}/initramfs-{boot.version}.img")
    return "\n".join([*lines, ""])


def prefixes(change: TreeChange, old: State, new: State) -> set[str]:
    """Name the object directories that the steps have to know."""
    sums = {*change.removed.values(), *change.added.values(), *change.trees_gone}
    sums |= {*change.trees_new, *change.metas_gone, *change.metas_new}
    sums |= {*old.boot.names().values(), *new.boot.names().values()}
    sums |= {bytes.fromhex(old.commit), bytes.fromhex(new.commit)}
    return {f"{one[0]:02x}" for one in sums}


def steps(given: Steps) -> list[Operation]:
    """List what to do, in order; raises Unfit for what cannot be done so."""
    for path in given.change.changed_dirs:
        for meta in given.change.metas_gone:
            if given.sources.meta(meta, "dirmeta").xattrs:
                raise Unfit(f"{path or '/'} may lose extended attributes")
    return [
        *_deployment(given),
        *_removals(given),
        *_objects(given),
        *_additions(given),
        *_boot(given),
        *_links(given),
        *_etc(given),
    ]


def _top(given: Steps, commit: str) -> str:
    return f"/ostree/deploy/{given.osname}/deploy/{commit}.0"


def _deployment(given: Steps) -> Iterator[Operation]:
    old, new = _top(given, given.old.commit), _top(given, given.new.commit)
    yield Rename(old, new)
    yield Rename(f"{old}.origin", f"{new}.origin")
    boot = f"/ostree/boot.1.1/{given.osname}"
    if given.old.boot.checksum != given.new.boot.checksum:
        yield Rename(f"{boot}/{given.old.boot.checksum}", f"{boot}/{given.new.boot.checksum}")
    link = f"{boot}/{given.new.boot.checksum}/0"
    yield Remove(link)
    target = f"../../../deploy/{given.osname}/deploy/{given.new.commit}.0"
    yield Symlink(link, target, _LINK)
    ref = "/ostree/repo/refs/heads/ostree/1/1/0"
    yield Remove(ref)
    yield Write(ref, f"{given.new.commit}\n".encode(), _FILE)
    entry = boot_entry_path(given.osname)
    yield Remove(entry)
    yield Write(entry, boot_entry(given.new.boot, given.osname).encode(), _FILE)


def _removals(given: Steps) -> Iterator[Operation]:
    top = _top(given, given.new.commit)
    for path in sorted(given.change.removed):
        yield Remove(top + path)
    for path in deepest_first(given.change.removed_dirs):
        yield RemoveDir(top + path)
    if _boot_differs(given):
        old = _boot_dir(given, given.old.boot)
        for name in given.old.boot.names():
            yield Remove(f"{old}/{name}")
        if old != _boot_dir(given, given.new.boot):
            yield RemoveDir(old)


def _boot_dir(given: Steps, boot: Boot) -> str:
    return f"/boot/ostree/{given.osname}-{boot.checksum}"


def _boot_differs(given: Steps) -> bool:
    old, new = given.old.boot, given.new.boot
    return (old.checksum, old.names()) != (new.checksum, new.names())


def _objects(given: Steps) -> Iterator[Operation]:
    """Bring the repository's objects from the old commit's to the new one's."""
    gone, new = _objects_gone(given), _objects_new(given)
    there = {prefix: set(names) for prefix, names in given.objects.items()}
    for name in sorted(gone):
        prefix, rest = _split(name)
        if rest in there.get(prefix, ()):
            there[prefix].discard(rest)
            yield Remove(f"{OBJECTS}/{prefix}/{rest}")
    for name, (checksum, kind) in sorted(new.items()):
        prefix, rest = _split(name)
        if rest in there.get(prefix, ()):
            continue
        if prefix not in there:
            there[prefix] = set()
            yield MakeDir(f"{OBJECTS}/{prefix}", _DIR)
        there[prefix].add(rest)
        yield _new_object(given, f"{OBJECTS}/{prefix}/{rest}", checksum, kind)
    for prefix in sorted(prefix for prefix, names in there.items() if not names):
        yield RemoveDir(f"{OBJECTS}/{prefix}")


def _objects_gone(given: Steps) -> set[str]:
    change, census = given.change, given.census
    files = {one for one in change.removed.values() if not census.files[one]}
    found = {f"{one.hex()}.file" for one in files}
    found |= {f"{one.hex()}.dirtree" for one in change.trees_gone - census.trees}
    found |= {f"{one.hex()}.dirmeta" for one in change.metas_gone - census.metas}
    return found | {f"{given.old.commit}.{kind}" for kind in ("commit", "commitmeta")}


def _objects_new(given: Steps) -> dict[str, tuple[bytes, str]]:
    change, commit = given.change, bytes.fromhex(given.new.commit)
    found = {f"{one.hex()}.file": (one, "file") for one in change.added.values()}
    found |= {f"{one.hex()}.dirtree": (one, "dirtree") for one in change.trees_new}
    found |= {f"{one.hex()}.dirmeta": (one, "dirmeta") for one in change.metas_new}
    kinds = ("commit", "commitmeta") if given.new.detached else ("commit",)
    return found | {f"{given.new.commit}.{kind}": (commit, kind) for kind in kinds}


def _split(name: str) -> tuple[str, str]:
    return name[:2], name[2:]


def _new_object(given: Steps, path: str, checksum: bytes, kind: str) -> Operation:
    place = given.sources.place(checksum, kind)
    if kind != "file":
        return Copy(path, place, _FILE)
    return _copy(given, path, checksum, links=_names(given, checksum))


def _copy(given: Steps, path: str, checksum: bytes, *, links: int = 1) -> Operation:
    meta = given.sources.meta(checksum, "file")
    if meta.mode & 0o170000 == 0o120000:
        if meta.xattrs:
            raise Unfit(f"{path} is a symbolic link with extended attributes")
        return Symlink(path, given.sources.target(checksum), meta)
    return Copy(path, given.sources.place(checksum, "file"), meta, links)


def _additions(given: Steps) -> Iterator[Operation]:
    top, change = _top(given, given.new.commit), given.change
    for path in sorted(change.added_dirs):
        yield MakeDir(top + path, given.sources.meta(change.added_dirs[path], "dirmeta"))
    for path in sorted(change.changed_dirs):
        yield SetMeta(top + path, _plain(given, change.changed_dirs[path], path))
    for path, checksum in sorted(change.added.items()):
        if given.sources.is_copied(checksum):
            yield _copy(given, top + path, checksum)
        else:
            yield Link(top + path, _object_path(checksum))


def _plain(given: Steps, dirmeta: bytes, path: str) -> Meta:
    meta = given.sources.meta(dirmeta, "dirmeta")
    if meta.xattrs:
        raise Unfit(f"{path or '/'} is a directory that changed, with extended attributes")
    return meta


def _object_path(checksum: bytes) -> str:
    name = checksum.hex()
    return f"{OBJECTS}/{name[:2]}/{name[2:]}.file"


def _boot(given: Steps) -> Iterator[Operation]:
    if _boot_differs(given):
        directory = _boot_dir(given, given.new.boot)
        if directory != _boot_dir(given, given.old.boot):
            yield MakeDir(directory, _DIR)
        for name, checksum in given.new.boot.names().items():
            yield Link(f"{directory}/{name}", _object_path(checksum))


def _links(given: Steps) -> Iterator[Operation]:
    """Set the count of names of every object that was there before and may have another now."""
    touched = {*given.change.removed.values(), *given.change.added.values()}
    touched |= {*given.old.boot.names().values(), *given.new.boot.names().values()}
    for checksum in sorted(touched):
        prefix, rest = _split(f"{checksum.hex()}.file")
        if given.census.files[checksum] and rest in given.objects.get(prefix, ()):
            yield SetLinks(_object_path(checksum), _names(given, checksum))


def _names(given: Steps, checksum: bytes) -> int:
    """Count the names that an object has on the new disk."""
    if given.sources.is_copied(checksum):
        return 1
    booted = list(given.new.boot.names().values()).count(checksum)
    names = 1 + given.census.files[checksum] + booted
    if names > MAX_LINKS:
        raise Unfit(f"one file has {names} names")
    return names


def _etc(given: Steps) -> Iterator[Operation]:
    top, old, new = _top(given, given.new.commit), given.old.etc, given.new.etc
    differ = {path for path in old.keys() | new.keys() if old.get(path) != new.get(path)}
    kept = {
        path
        for path in differ & old.keys() & new.keys()
        if is_directory(old[path]) and is_directory(new[path])
    }
    gone = (differ & old.keys()) - kept
    for path in sorted(path for path in gone if not is_directory(old[path])):
        yield Remove(top + path)
    for path in deepest_first(path for path in gone if is_directory(old[path])):
        yield RemoveDir(top + path)
    for path in sorted(differ & new.keys()):
        one = new[path]
        if path in kept:
            yield SetMeta(top + path, _etc_meta(given, one, path))
        elif is_directory(one):
            yield MakeDir(top + path, _etc_meta(given, one, path))
        elif isinstance(one, Copied):
            yield _copy(given, top + path, one.checksum)
        elif one.symlink:
            yield Symlink(top + path, one.symlink, one.meta)
        else:
            yield Write(top + path, one.content, one.meta)


def _etc_meta(given: Steps, one: Own | Copied, path: str) -> Meta:
    return one.meta if isinstance(one, Own) else _plain(given, one.checksum, path)
