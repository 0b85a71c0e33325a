# SPDX-License-Identifier: LGPL-2.1-or-later
"""OSTree repositories, by the ``ostree`` command; metadata objects are read directly.

What writes goes through the command. What only reads commits and directories opens the object
files: a look at 1,000 commits takes milliseconds so, and seconds by a process each.
Formats: ostree-core.h, ``OSTREE_COMMIT_GVARIANT_STRING`` and its neighbours.
"""

import fcntl
import json
import os
import re
import struct
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pipeline.ports import process
from pipeline.ports.files import full_disk, lock, no_space, unique_name
from pipeline.ports.log import Log
from pipeline.words import gvariant
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Commit, RefName, is_commit

COMMIT_FORMAT = "(a{sv}aya(say)sstayay)"
DIRTREE_FORMAT = "(a(say)a(sayay))"
DIRMETA_FORMAT = "(uuua(ayay))"
BINDING_KEY = "ostree.ref-binding"
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")
_PIECE = 30_000
_MORE = "#"
_LOCK_S = 300.0
_POLL_S = 0.05
# struct flock; an open file description's lock, as ostree takes it, leaves l_pid at 0.
_FLOCK_SHARED = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)


class Mode(StrEnum):
    """How a repository stores files: to build with, to serve, or as a booted system has it."""

    BARE_USER = "bare-user"
    ARCHIVE = "archive"
    BARE = "bare"


@dataclass(frozen=True, kw_only=True)
class CommitInfo:
    """A commit's own data. ``time`` is in seconds since 1970; ``content`` equal for equal trees."""

    commit: Commit
    parent: Commit | None
    subject: str
    body: str
    time: int
    metadata: Mapping[str, Any]
    tree: str
    dirmeta: str

    @property
    def content(self) -> str:
        return f"{self.tree}:{self.dirmeta}"

    @property
    def bindings(self) -> tuple[RefName, ...]:
        return tuple(RefName(name) for name in self.metadata.get(BINDING_KEY, ()))


@dataclass(frozen=True, kw_only=True)
class Dir:
    """One directory of a tree: files → checksum, directories → (dirtree, dirmeta) checksums."""

    files: Mapping[str, str]
    dirs: Mapping[str, tuple[str, str]]


class Repo:
    """An OSTree repository on this machine."""

    def __init__(self, path: Path, *, log: Log) -> None:
        self.path = path
        self.log = log

    def create(self, mode: Mode) -> "Repo":
        """Make the repository where it is missing; one that is there is left as it is."""
        if not (self.path / "config").is_file():
            self.path.mkdir(parents=True, exist_ok=True)
            with self.locked("making the repository"):
                self._init(mode)
        return self

    def _init(self, mode: Mode) -> None:
        if (self.path / "config").is_file():
            return  # somebody else was quicker
        self._ostree("init", f"--mode={mode}")
        # Only fsync of objects is given up for speed; refs and transactions stay ordered.
        if mode is Mode.BARE_USER:
            self._ostree("config", "set", "core.fsync", "false")

    # Reading

    def resolve(self, ref: str) -> Commit | None:
        """Tell the commit a ref (or a full checksum) stands for; None where there is none."""
        if is_commit(ref):
            return Commit(ref) if self.has_commit(Commit(ref)) else None
        path = self.path / "refs" / "heads" / ref
        try:
            return Commit(path.read_text().strip())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def need(self, ref: str) -> Commit:
        """Tell the commit a ref stands for; raises Trouble where there is none."""
        found = self.resolve(ref)
        if found is None and is_commit(ref) and self.has_metadata(Commit(ref)):
            raise Trouble(
                f"{self.path} has the files of {ref} no more: old trees are thinned",
                hint="compose it again from its snapshot; which trees stay is retention in the "
                "manifest",
            )
        if found is None:
            raise Trouble(f"{self.path} has no {ref}", hint=f"ostree refs --repo={self.path}")
        return found

    def refs(self, prefix: str = "") -> dict[RefName, Commit]:
        """List refs below a prefix (whole path elements), sorted by name."""
        heads = self.path / "refs" / "heads"
        top = heads / prefix if prefix else heads
        paths = [top] if top.is_file() else sorted(top.rglob("*"))
        found = {}
        for path in paths:
            if path.is_file() and not path.name.startswith("."):
                found[RefName(str(path.relative_to(heads)))] = Commit(path.read_text().strip())
        return found

    def has_commit(self, commit: Commit) -> bool:
        """Tell whether the commit object is here (a partial one counts as not)."""
        partial = self.path / "state" / f"{commit}.commitpartial"
        return self._object(commit, "commit").is_file() and not partial.exists()

    def has_metadata(self, commit: Commit) -> bool:
        """Tell whether the commit object is here, its files or not."""
        return self._object(commit, "commit").is_file()

    def info(self, commit: str, *, thinned: bool = False) -> CommitInfo:
        """Read a commit's metadata; raises Trouble where it is not here or damaged.

        ``thinned``: also of one whose files are not here.
        """
        checksum = Commit(commit) if thinned and is_commit(commit) else self.need(commit)
        parts = self._read_object(checksum, "commit", COMMIT_FORMAT)
        metadata, parent, _related, subject, body, time, tree, dirmeta = parts
        return CommitInfo(
            commit=checksum,
            parent=Commit(parent.hex()) if parent else None,
            subject=subject,
            body=body,
            time=gvariant.swapped(time, 8),
            metadata=_joined(metadata),
            tree=tree.hex(),
            dirmeta=dirmeta.hex(),
        )

    def history(self, ref: str) -> Iterator[CommitInfo]:
        """Walk from a ref to its parents, newest first, also over those without their files."""
        commit = self.resolve(ref)
        while commit is not None and self.has_metadata(commit):
            info = self.info(commit, thinned=True)
            yield info
            commit = info.parent

    def directory(self, dirtree: str) -> Dir:
        """Read one directory object by its checksum."""
        files, dirs = self._read_object(dirtree, "dirtree", DIRTREE_FORMAT)
        return Dir(
            files={name: checksum.hex() for name, checksum in files},
            dirs={name: (tree.hex(), meta.hex()) for name, tree, meta in dirs},
        )

    def dir_mode(self, dirmeta: str) -> tuple[int, int, int]:
        """Read (uid, gid, mode) of a directory's metadata object."""
        uid, gid, mode, _xattrs = self._read_object(dirmeta, "dirmeta", DIRMETA_FORMAT)
        return gvariant.swapped(uid, 4), gvariant.swapped(gid, 4), gvariant.swapped(mode, 4)

    def walk(self, commit: str) -> Iterator[tuple[str, str]]:
        """Yield (path from the root, checksum) of every file; directories end with ``/``.

        A directory's checksum is of its metadata object (mode and owner).
        """
        todo = [("", self.info(commit).tree)]
        while todo:
            path, dirtree = todo.pop()
            here = self.directory(dirtree)
            for name, checksum in here.files.items():
                yield f"{path}/{name}", checksum
            for name, (tree, meta) in here.dirs.items():
                yield f"{path}/{name}/", meta
                todo.append((f"{path}/{name}", tree))

    def changes(self, old: str, new: str) -> list[tuple[str, str]]:
        """List (``A``, ``D`` or ``M``, path) between commits; equal directories are not read."""
        found: list[tuple[str, str]] = []
        self._compare("", self.info(old).tree, self.info(new).tree, found)
        return sorted(found, key=lambda entry: entry[1])

    def _compare(
        self, path: str, old: str | None, new: str | None, found: list[tuple[str, str]]
    ) -> None:
        if old == new:
            return
        before = self.directory(old) if old else Dir(files={}, dirs={})
        after = self.directory(new) if new else Dir(files={}, dirs={})
        for name in before.files.keys() | after.files.keys():
            was, now = before.files.get(name), after.files.get(name)
            if was != now:
                kind = "A" if was is None else "D" if now is None else "M"
                found.append((kind, f"{path}/{name}"))
        for name in before.dirs.keys() | after.dirs.keys():
            was_dir, now_dir = before.dirs.get(name), after.dirs.get(name)
            if was_dir is None or now_dir is None:
                found.append(("A" if was_dir is None else "D", f"{path}/{name}/"))
            elif was_dir[1] != now_dir[1]:
                found.append(("M", f"{path}/{name}/"))
            was_tree = was_dir[0] if was_dir else None
            now_tree = now_dir[0] if now_dir else None
            self._compare(f"{path}/{name}", was_tree, now_tree, found)

    def find(self, commit: str, path: str) -> str | None:
        """Tell the checksum of the file object at a path; None where there is no file."""
        *parents, name = [part for part in path.split("/") if part] or [""]
        dirtree = self.info(commit).tree
        for parent in parents:
            entry = self.directory(dirtree).dirs.get(parent)
            if entry is None:
                return None
            dirtree = entry[0]
        return self.directory(dirtree).files.get(name)

    def file_size(self, checksum: str) -> int:
        """Tell the bytes of a file object; of a ``bare-user`` repository, which stores it plain."""
        try:
            return self._object(checksum, "file").stat().st_size
        except FileNotFoundError as error:
            hint = f"ostree fsck --repo={self.path}"
            raise Trouble(f"file object {checksum} is missing", hint=hint) from error

    def content(self, checksum: str, *, limit: int) -> bytes:
        """Read the first bytes of a file object; of a ``bare-user`` repository, as it is stored."""
        with self._object(checksum, "file").open("rb") as file:
            return file.read(limit)

    def below(self, commit: str, place: str) -> Iterator[tuple[str, str]]:
        """Yield (path from there, checksum) of every file below a directory, if it is one."""
        dirtree = self.info(commit).tree
        for name in place.split("/"):
            entry = self.directory(dirtree).dirs.get(name)
            if entry is None:
                return
            dirtree = entry[0]
        todo = [("", dirtree)]
        while todo:
            path, dirtree = todo.pop()
            here = self.directory(dirtree)
            yield from ((f"{path}{name}", checksum) for name, checksum in here.files.items())
            todo += [(f"{path}{name}/", tree) for name, (tree, _) in here.dirs.items()]

    def find_commits(self, prefix: str) -> list[Commit]:
        """List the commits here whose checksum starts with at least two hexadecimal digits."""
        place = self.path / "objects" / prefix[:2]
        found = sorted(place.glob(f"{prefix[2:]}*.commit")) if place.is_dir() else []
        return [Commit(f"{prefix[:2]}{path.stem}") for path in found]

    def read(self, commit: str, path: str) -> bytes:
        """Read a file out of a commit; raises Trouble where it is not there."""
        return self._ostree("cat", self.need(commit), path).stdout

    # Writing

    def set_ref(self, ref: RefName, commit: Commit | None) -> None:
        """Point a ref to a commit, or remove it."""
        if commit is None:
            self._ostree("refs", "--delete", ref)
        else:
            self._ostree("refs", "--create", ref, commit, "--force")

    def set_refs(self, refs: Mapping[RefName, Commit]) -> None:
        """Point many refs to commits at once, without a process for each.

        Each is replaced whole, as ostree does it, and under the lock that keeps a prune from
        taking a commit between the look at it and its ref. Raises Trouble for a commit that is
        not here; refs before it are then set already.
        """
        heads, tmp = self.path / "refs" / "heads", self.path / "tmp"
        with self.without_prune(), no_space(heads):
            for ref, commit in refs.items():
                if not _REF.fullmatch(ref):
                    raise ValueError(f"not a ref: {ref}")
                if self.resolve(ref) == commit:
                    continue
                if not self.has_commit(commit):
                    raise Trouble(f"{self.path} has no commit {commit} for {ref}")
                aside = tmp / f"ref-{unique_name()}"
                aside.write_text(f"{commit}\n")
                place = heads / ref
                place.parent.mkdir(parents=True, exist_ok=True)
                aside.replace(place)

    @contextmanager
    def without_prune(self) -> Iterator[None]:
        """Hold the repository's own lock as its transactions do: shared, against a prune."""
        until = time.monotonic() + _LOCK_S
        with (self.path / ".lock").open("a+b") as file:
            while True:
                try:
                    fcntl.fcntl(file, fcntl.F_OFD_SETLK, _FLOCK_SHARED)
                    break
                except (BlockingIOError, PermissionError):  # both mean that somebody has it
                    if time.monotonic() >= until:
                        raise Trouble(f"{self.path} was locked for {_LOCK_S:.0f} s") from None
                    time.sleep(_POLL_S)
            yield

    def commit_dir(
        self,
        directory: Path,
        *,
        subject: str,
        metadata: Mapping[str, str] | None = None,
        time_s: int = 0,
        owner_root: bool = True,
        skip_list: Path | None = None,
        modes: Mapping[str, int] | None = None,
        devino: bool = False,
    ) -> Commit:
        """Commit files of a directory, on no ref.

        ``owner_root`` gives all to root and drops extended attributes. ``modes`` adds mode bits
        to absolute paths (setuid, as the manifest grants). ``devino`` recognises files that were
        checked out by hardlink by their inode and does not read them.
        """
        options = [f"--tree=dir={directory}"]
        if owner_root:
            options += ["--owner-uid=0", "--owner-gid=0", "--no-xattrs"]
        if devino:
            options += ["--link-checkout-speedup", "--devino-canonical"]
        if skip_list is not None:
            options.append(f"--skip-list={skip_list}")
        with tempfile.NamedTemporaryFile("w", dir=self.path / "tmp", prefix="modes-") as override:
            if modes:
                override.write("".join(f"+{bits} {path}\n" for path, bits in modes.items()))
                override.flush()
                options.append(f"--statoverride={override.name}")
            return self._commit(options, subject, metadata or {}, None, (), time_s)

    def commit_layers(
        self,
        layers: Sequence[str],
        *,
        subject: str,
        body: str = "",
        metadata: Mapping[str, str] | None = None,
        parent: Commit | None = None,
        bind: Sequence[RefName] = (),
        time_s: int = 0,
    ) -> Commit:
        """Commit the union of commits, later ones over earlier ones, without reading a file.

        Raises Failed where a directory and a file meet at one path.
        """
        options = [f"--tree=ref={self.need(layer)}" for layer in layers]
        if body:
            options.append(f"--body={body}")
        return self._commit(options, subject, metadata or {}, parent, bind, time_s)

    def _commit(
        self,
        options: Sequence[str],
        subject: str,
        metadata: Mapping[str, str],
        parent: Commit | None,
        bind: Sequence[RefName],
        time_s: int,
    ) -> Commit:
        argv = ["commit", "--orphan", f"--subject={subject}", f"--timestamp=@{time_s}"]
        for name, text in _in_pieces(metadata):
            argv.append(f"--add-metadata-string={name}={text}")
        argv += [f"--bind-ref={ref}" for ref in bind]
        if parent is not None:
            argv.append(f"--parent={parent}")
        return Commit(self._ostree(*argv, *options).text.strip())

    def checkout(
        self,
        commit: str,
        destination: Path,
        *,
        union: bool = False,
        subpath: str = "",
        copy: bool = False,
    ) -> None:
        """Write a tree's files into a directory, hardlinked to the repository.

        The files must only be read then: writing into one damages the repository. ``copy`` makes
        files that may be written. ``union`` adds to what is there and lets the newer win.
        """
        options = ["--user-mode"]
        options += ["--force-copy"] if copy else ["--require-hardlinks"]
        options += ["--union"] if union else []
        options += [f"--subpath={subpath}"] if subpath else []
        self._ostree("checkout", *options, self.need(commit), str(destination))

    def pull_local(
        self, source: Path, refs: Iterable[str], *, depth: int = 0, metadata_only: bool = False
    ) -> None:
        """Take commits (or refs, which are then set here too) from a repository on this machine."""
        options = ["--commit-metadata-only"] if metadata_only else []
        self._ostree("pull-local", f"--depth={depth}", *options, str(source), *refs)

    def fsck(self) -> None:
        """Check every object; raises Trouble that names what is damaged."""
        self._ostree("fsck", "--quiet", deadline_s=3600)

    def prune(self) -> str:
        """Remove objects that no ref leads to; tells what ostree said."""
        return self._ostree("prune", "--refs-only", deadline_s=3600).text

    @contextmanager
    def locked(self, what: str, *, wait_s: float = 600.0) -> Iterator[None]:
        """Hold our own lock on the repository's refs; see ``files.lock``."""
        with lock(self.path / ".ostci.lock", what=what, wait_s=wait_s):
            yield

    def run(self, *argv: str, deadline_s: float = 1800.0) -> process.Finished:
        """Give any other command of ostree's on this repository."""
        return self._ostree(*argv, deadline_s=deadline_s)

    # Helpers

    def _object(self, checksum: str, kind: str) -> Path:
        return self.path / "objects" / checksum[:2] / f"{checksum[2:]}.{kind}"

    def _read_object(self, checksum: str, kind: str, form: str) -> Any:
        path = self._object(checksum, kind)
        try:
            return gvariant.decode(form, path.read_bytes())
        except (FileNotFoundError, ValueError) as error:
            hint = f"ostree fsck --repo={self.path}"
            raise Trouble(f"{kind} object {checksum} is missing or damaged", hint=hint) from error

    def _ostree(self, command: str, *argv: str, deadline_s: float = 1800.0) -> process.Finished:
        words = ["ostree", command, f"--repo={self.path}", *argv]
        try:
            return process.run(words, log=self.log, deadline_s=deadline_s)
        except process.CommandError as error:
            raise _classify(error, self.path) from error


def _in_pieces(metadata: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Cut long texts: one argument of a program may have 128 KiB (``MAX_ARG_STRLEN``)."""
    for name, text in metadata.items():
        yield name, text[:_PIECE]
        for number, start in enumerate(range(_PIECE, len(text), _PIECE), 1):
            yield f"{name}{_MORE}{number}", text[start : start + _PIECE]


def _joined(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    whole = {name: value for name, value in metadata.items() if _MORE not in name}
    for name in whole:
        number = 1
        while f"{name}{_MORE}{number}" in metadata:
            whole[name] += metadata[f"{name}{_MORE}{number}"]
            number += 1
    return whole


_KIND_CONFLICT = re.compile(
    r"(Can't replace (?:file with directory|directory with file): .*|Not a directory.*)"
)


def _classify(error: process.CommandError, path: Path) -> Exception:
    text = error.finished.error_text
    if "No space left on device" in text or "min-free-space" in text:
        return full_disk(path)
    conflict = _KIND_CONFLICT.search(text)
    if conflict:
        return Failed(f"two layers cannot be put over each other: {conflict[1]}", hint=error.hint)
    return error


def dump_metadata(value: Any) -> str:
    """Write a value for commit metadata, in one way only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
