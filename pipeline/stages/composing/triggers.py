# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run what brings caches and lists of a tree up to date, each over an overlay of the tree.

A trigger's result is one more layer. It is remembered by what the trigger reads, so that in most
runs none is started and the tree is not even checked out. The checkout is hardlinked to the
repository: nothing ever writes into it.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipeline.ports import sandbox
from pipeline.ports.files import remove_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree_objects import Missing
from pipeline.stages.composing.merge import Merger
from pipeline.words.dirtree import Listing
from pipeline.words.errors import Failed
from pipeline.words.manifest import Limits, Trigger
from pipeline.words.refs import Commit
from pipeline.words.snapshot import canonical_json
from pipeline.words.trigger_text import TriggerText, parse_trigger

TRIGGERS_VERSION = 1
"""To be raised when a change here makes other layers of the same triggers."""
LIMITS = Limits(time_s=900, memory=4 * 1024**3, processes=256, output=2 * 1024**3)
_SCRIPTS = Path(__file__).with_name("triggers")
_SHELL = "/usr/bin/sh"
# Whatever a program of the tree is linked with may change what it writes.
_ALWAYS = (_SHELL, "/usr/lib/*.so*", "/usr/lib64/*.so*", "/usr/lib/*-linux-gnu*/*.so*")


@dataclass(frozen=True, kw_only=True)
class Result:
    """A layer and the paths that go before it is put over the tree."""

    layer: bytes
    deleted: tuple[str, ...] = ()


def house_triggers() -> tuple[TriggerText, ...]:
    """Read the triggers that the house brings, in the order of their names."""
    paths = sorted(_SCRIPTS.glob("[0-9]*"))
    return tuple(parse_trigger(path.name, path.read_text()) for path in paths)


def all_triggers(own: Sequence[Trigger]) -> tuple[TriggerText, ...]:
    """List the house's triggers and then a manifest's."""
    return (
        *house_triggers(),
        *(parse_trigger(one.name, one.script, deletes=one.deletes) for one in own),
    )


class Runner:
    """Runs triggers over one tree; a context manager, for its checkout."""

    def __init__(
        self, merger: Merger, meta: bytes, base: str, components: bytes, *, tmp: Path, log: Log
    ) -> None:
        self._merger = merger
        self._meta = meta
        self._base = base
        self._components = components
        self._tmp = tmp
        self._log = log
        self._stack = ExitStack()
        self._checked_out: tuple[bytes, Path] | None = None

    def __enter__(self) -> "Runner":
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def run(self, trigger: TriggerText, tree: bytes) -> bytes:
        """Bring a tree up to date by one trigger; tells the tree that results."""
        if self._merger.find(tree, _SHELL) is None:
            return tree  # tiny trees have no shell, and so nobody who would read a cache
        if not all(any(self._matching(tree, path)) for path in trigger.needs):
            return tree
        listed = self._listed(trigger)
        if trigger.components and not listed:
            return tree
        key = f"trigger {self._key(trigger, tree, listed)}"
        known = self._merger.merges.get(key)
        result = _from_plain(known) if known is not None else None
        if result is None or not self._is_whole(result):
            with self._log.step("trigger", about=trigger.name):
                result = self._start(trigger, tree, listed)
            told = [result.layer.hex(), list(result.deleted)]
            self._merger.merges.put(key, told)
        return self._apply(result, tree)

    def checkout(self, tree: bytes) -> Path:
        """Have a tree as files, only to be read."""
        if self._checked_out is not None and self._checked_out[0] == tree:
            return self._checked_out[1]
        repo, objects = self._merger.objects.repo, self._merger.objects
        self._tmp.mkdir(parents=True, exist_ok=True)
        room = Path(tempfile.mkdtemp(prefix="tree-", dir=self._tmp))
        self._stack.callback(remove_tree, room)
        place = room / "tree"
        with repo.without_prune():
            write_whole(self._merger, tree)
            commit = objects.write_commit(tree, self._meta, subject="for triggers")
            repo.checkout(commit, place)
        self._checked_out = (tree, place)
        return place

    def _start(self, trigger: TriggerText, tree: bytes, listed: Sequence[str]) -> Result:
        lower = self.checkout(tree)
        room = Path(tempfile.mkdtemp(prefix="over-", dir=self._tmp))
        try:
            upper, work, given = (room / name for name in ("upper", "work", "given"))
            for path in (upper, work, given):
                path.mkdir()
            (given / "trigger").write_text(trigger.script)
            (given / "files").write_text("".join(f"{path}\n" for path in listed))
            walls = sandbox.Walls(
                root=lower,
                readonly={"/run/ostci": given},
                env={"COMPONENT_FILES": "/run/ostci/files", "SOURCE_DATE_EPOCH": "0"},
                limits=LIMITS,
            )
            what = f"trigger {trigger.name}"
            argv = [_SHELL, "-c", "umask 022; exec /usr/bin/sh -e /run/ostci/trigger"]
            sandbox.run_over(
                walls,
                lower,
                upper,
                work,
                argv,
                log=self._log,
                what=what,
                on_line=lambda line: self._log.detail(line, about=trigger.name),
                merge=True,
            )
            return self._take(trigger, tree, upper)
        finally:
            remove_tree(room)

    def _take(self, trigger: TriggerText, tree: bytes, upper: Path) -> Result:
        """Commit what a trigger wrote, once what it deleted is known and allowed."""
        said = sandbox.read_upper(upper)
        gone = {path for path in said.deleted if self._merger.find(tree, path) is not None}
        for path in said.deleted:
            (upper / path.lstrip("/")).unlink()
        for path in said.replaced:
            found = self._merger.find(tree, path)
            if found is not None and found[0] == "d" and path != "/":
                inner = (f"{path}{below}" for below, _ in self._merger.files(found[1]))
                gone |= {one for one in inner if not _lexists(upper / one.lstrip("/"))}
        repo = self._merger.objects.repo
        commit: Commit = repo.commit_dir(upper, subject=f"trigger {trigger.name}")
        layer = self._merger.objects.root(commit)[0]
        gone |= {path for path, was, now in self._merger.over(tree, layer)[1] if was != now}
        for path in sorted(gone):
            if not trigger.may_delete(path):
                raise Failed(
                    f"trigger {trigger.name} removes {path} and does not declare it",
                    where=f"trigger {trigger.name}",
                    hint=f"add {path} to its deletes, or keep the file",
                )
        self._copy_directories(layer)
        return Result(layer=layer, deleted=tuple(sorted(gone)))

    def _copy_directories(self, tree: bytes) -> None:
        """Remember a layer's directories, which a prune would take from the repository."""
        here = self._merger.listing(tree)
        self._merger.remember(here)
        for below, _ in here.dirs.values():
            self._copy_directories(below)

    def _apply(self, result: Result, tree: bytes) -> bytes:
        return self._merger.over(self._merger.without(tree, result.deleted), result.layer)[0]

    def _is_whole(self, result: Result) -> bool:
        try:
            files = list(self._merger.files(result.layer))
        except Missing:
            return False
        return all(self._merger.objects.has(checksum, "file") for _, checksum in files)

    def _listed(self, trigger: TriggerText) -> list[str]:
        """List the files that components bring in the directories a trigger asks for."""
        found = []
        for path in trigger.components:
            entry = self._merger.find(self._components, path)
            if entry is not None and entry[0] == "d":
                found += [f"{path}{below}" for below, _ in self._merger.files(entry[1])]
        return found

    def _key(self, trigger: TriggerText, tree: bytes, listed: Sequence[str]) -> str:
        if trigger.reads is None:
            read = [["", tree.hex()]]
        else:
            patterns = (*_ALWAYS, *trigger.needs, *trigger.reads)
            read = [
                [path, checksum.hex()]
                for pattern in patterns
                for path, checksum in self._matching(tree, pattern)
            ]
            for path in listed:
                entry = self._merger.find(tree, path)
                read.append([path, entry[1].hex() if entry else ""])
        value = [TRIGGERS_VERSION, trigger.script, trigger.deletes, self._base, read, listed]
        return hashlib.sha256(canonical_json(value).encode()).hexdigest()

    def _matching(self, tree: bytes, pattern: str) -> Iterator[tuple[str, bytes]]:
        names = [name for name in pattern.split("/") if name]
        yield from self._expand(tree, names, "")

    def _expand(self, tree: bytes, names: list[str], at: str) -> Iterator[tuple[str, bytes]]:
        here = self._merger.listing(tree)
        name, *below = names
        if not below:
            for one, checksum in sorted(_entries(here)):
                if fnmatchcase(one, name):
                    yield f"{at}/{one}", checksum
            return
        for one in sorted(here.dirs) if any(sign in name for sign in "*?[") else (name,):
            if one in here.dirs and fnmatchcase(one, name):
                yield from self._expand(here.dirs[one][0], below, f"{at}/{one}")


def _entries(here: Listing) -> Iterator[tuple[str, bytes]]:
    yield from here.files.items()
    for name, (tree, _) in here.dirs.items():
        yield name, tree


def _from_plain(value: list[object]) -> Result:
    layer, deleted = value
    return Result(layer=bytes.fromhex(str(layer)), deleted=tuple(deleted))  # type: ignore[arg-type]


def _lexists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def write_whole(merger: Merger, tree: bytes, known: bytes | None = None) -> None:
    """Have all of a tree in the repository; raises Missing for what nobody has.

    ``known`` is a tree that a ref leads to: what it shares with the new one is there.
    """
    if tree == known:
        return
    objects = merger.objects
    here = merger.listing(tree)
    old = merger.listing(known) if known is not None else Listing(files={}, dirs={})
    for name, checksum in here.files.items():
        if old.files.get(name) != checksum and not objects.has(checksum, "file"):
            raise Missing(f"file object {checksum.hex()} of {name}")
    for name, (below, meta) in here.dirs.items():
        was = old.dirs.get(name)
        if (was is None or was[1] != meta) and not objects.has(meta, "dirmeta"):
            raise Missing(f"dirmeta object {meta.hex()} of {name}")
        write_whole(merger, below, None if was is None else was[0])
    if not objects.has(tree, "dirtree"):
        body = merger.merges.directory(tree)
        if body is None:
            raise Missing(f"directory object {tree.hex()}")
        objects.write_dirtree(body)
