# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mirrors: every source of a manifest as a bare git repository on this machine.

Git sources are fetched from their servers; archives and Debian's source packages are imported
into repositories of their own (``imports``, ``debsource``), so that everything downstream sees git.
A working copy (``local:``) is the one that has no mirror: it is read where it lies.

Layout: ``git/SCHEME/HOST/PATH.git``, ``archive/SHA256.git``, ``debian/SUITE/NAME.git``.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pipeline.ports import work_copy
from pipeline.ports.files import lock
from pipeline.ports.git_commands import Git
from pipeline.ports.git_fetch import fetch_revision, make_bare, update
from pipeline.ports.git_known import recalled
from pipeline.ports.git_revision import find_revision, read_commit, read_submodules
from pipeline.ports.log import Log
from pipeline.ports.submodules import Submodule
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.mirror_names import absolute_url, mirror_place
from pipeline.words.refs import Revision, is_revision
from pipeline.words.snapshot import Pin

if TYPE_CHECKING:
    from pipeline.ports.debsource import DebianSources

_WAIT_S = 1800.0
_MOST_SUBJECTS = 1000
_DEEPEST = 8
"""Submodules within submodules."""
ARCHIVES = (SourceKind.TARBALL, SourceKind.ZIPFILE)
_FIELDS = "%H%x00%s%x00%an%x00%ct"


@dataclass(frozen=True, kw_only=True)
class GitCommit:
    """One git commit, for people; ``time`` is in seconds since 1970."""

    revision: Revision
    subject: str
    author: str
    time: int


class Mirrors:
    """All mirrors of a work directory; safe between threads and processes."""

    def __init__(
        self,
        root: Path,
        *,
        log: Log,
        suite: str = "bookworm",
        debian_mirrors: tuple[str, ...] = (),
        downloads: Path | None = None,
    ) -> None:
        """``suite`` is where the newest of a Debian source package is looked for.

        ``downloads`` keeps what was downloaded, for other work directories too.
        """
        self.root = root
        self.log = log
        self.git = Git(root, log=log)
        self._downloads = downloads or root / "downloads"
        self._suite = suite
        self._debian_mirrors = debian_mirrors
        self._between: dict[tuple[Path, Revision, Revision], list[GitCommit]] = {}

    @cached_property
    def _debian(self) -> "DebianSources":
        # What downloads takes a while to load, and most commands fetch nothing.
        from pipeline.ports.debsource import DebianSources

        return DebianSources(
            self.root / "debian",
            suite=self._suite,
            mirrors=self._debian_mirrors,
            downloads=self._downloads,
            git=self.git,
        )

    # Fetching

    def fetch(self, source: Source, *, max_age_s: float = 0.0) -> None:
        """Bring what is here of a source up to date, its submodules too.

        Nothing is asked for again that was fetched within ``max_age_s`` seconds. Raises Failed
        for a branch, tag or checksum that is not there, Trouble for a server that cannot be
        reached.
        """
        if source.kind is SourceKind.LOCAL:
            work_copy.need(Path(source.location))
        elif source.kind is SourceKind.DEBIAN:
            self._debian.fetch(source.location, source.versions, max_age_s=max_age_s)
        elif source.kind in ARCHIVES:
            from pipeline.ports.imports import import_archive

            mirror = self.path(source)
            with self._locked(mirror):
                import_archive(source, mirror, downloads=self._downloads, git=self.git)
        else:
            self._fetch_git(source.location, max_age_s, _names(source), source.revision)
            revision = self._revision(source)
            self._fetch_submodules(source.location, self.path(source), revision, max_age_s, 0)

    def _fetch_git(
        self, url: str, max_age_s: float, names: Sequence[str], revision: str = ""
    ) -> None:
        """Fetch; not where ``revision`` is here, nor ``names`` and they are young enough."""
        mirror = self._git_path(url)
        with self._locked(mirror):
            stamp = mirror / "ostci-fetched"
            age = time.time() - stamp.stat().st_mtime if stamp.is_file() else float("inf")
            is_young = 0 <= age <= max_age_s
            if (revision or is_young) and any(self._has(mirror, name) for name in names):
                return
            make_bare(mirror, git=self.git)
            update(mirror, url, git=self.git)
            if is_revision(revision) and not self._has(mirror, revision):
                fetch_revision(mirror, url, revision, git=self.git)
            stamp.touch()

    def fetch_ref(self, url: str, ref: str, revision: str) -> None:
        """Have a revision that a ref of a server leads to which is neither branch nor tag.

        Where the ref has moved on, the revision itself is asked for. Whether it came is told by
        what is fetched or pinned next; raises Trouble for a server that cannot be reached.
        """
        mirror = self._git_path(url)
        with self._locked(mirror):
            make_bare(mirror, git=self.git)
            for wanted in (ref, revision):
                if not self._has(mirror, revision):
                    fetch_revision(mirror, url, wanted, git=self.git)

    def _fetch_submodules(
        self, url: str, mirror: Path, revision: Revision, max_age_s: float, depth: int
    ) -> None:
        if depth > _DEEPEST:
            raise Failed(f"submodules are nested deeper than {_DEEPEST}", where=url)
        for one in read_submodules(mirror, revision, where=url, git=self.git):
            inner = absolute_url(one.url, url)
            self._fetch_git(inner, max_age_s, [one.revision], one.revision)
            place = self._git_path(inner)
            if not self._has(place, one.revision):
                what = f"submodule {one.path} wants {one.revision[:12]}, which {inner} has not"
                raise Failed(what, where=url)
            self._fetch_submodules(inner, place, one.revision, max_age_s, depth + 1)

    # Reading

    def pin(self, source: Source) -> Pin:
        """Tell what a source is at, from what is here; raises Failed or Trouble as ``fetch``."""
        if source.kind is SourceKind.LOCAL:
            return work_copy.pin(Path(source.location), git=self.git)
        mirror = self._need(source)
        revision = self._revision(source)
        pin = read_commit(mirror, revision, git=self.git)
        submodules = {}
        if source.kind is SourceKind.GIT:
            found = self._walk(source.location, mirror, revision, "")
            submodules = {one.path: one.revision for one, _ in found}
        return replace(pin, submodules=submodules)

    def have(self, source: Source, pin: Pin) -> None:
        """See to it that a pin's files are here: a resolve has fetched them."""

    def check_out(self, source: Source, pin: Pin, into: Path) -> None:
        """Write the files of a pin into a directory that is empty or not there, without ``.git``.

        Submodules come from their mirrors. A build sees no history, because a history differs
        between machines and would end in what is built.
        """
        into.mkdir(parents=True, exist_ok=True)
        if source.kind is SourceKind.LOCAL:
            work_copy.copy(Path(source.location), pin, into, git=self.git)
            return
        self.write_files(source, pin, into)
        self.write_submodules(source, pin, into)

    def write_files(self, source: Source, pin: Pin, into: Path) -> None:
        """Write what a pin's own repository holds, without submodules."""
        self._write(self._need(source), pin.revision, into)

    def write_submodules(self, source: Source, pin: Pin, into: Path) -> None:
        """Write the files of a pin's submodules where they belong."""
        if source.kind is not SourceKind.GIT or not pin.submodules:
            return
        for one, mirror in self._walk(source.location, self._need(source), pin.revision, ""):
            self._write(mirror, one.revision, _room_for(one.path, into, source.location))

    def _write(self, mirror: Path, revision: Revision, into: Path) -> None:
        index = into.with_name(f".{into.name}.index")
        env = {"GIT_INDEX_FILE": str(index.absolute()), "GIT_LFS_SKIP_SMUDGE": "1"}
        common: list[str | Path] = ["--git-dir", mirror, "--work-tree", into]
        try:
            self.git.run([*common, "read-tree", revision], env=env)
            self.git.run([*common, "checkout-index", "--all", "--force", "--quiet"], env=env)
        finally:
            index.unlink(missing_ok=True)

    def read_file(self, source: Source, pin: Pin, path: str) -> bytes | None:
        """Read one file of a source at its pin; None where it is not there."""
        if source.kind is SourceKind.LOCAL:
            return work_copy.read_file(Path(source.location), path)
        name = f"{pin.revision}:{path}"
        argv: list[str | Path] = ["--git-dir", self._need(source), "cat-file", "blob", name]
        done = self.git.run(argv, ok=())
        return done.stdout if done.code == 0 else None

    def sha256_of(self, source: Source, pin: Pin, path: str) -> str | None:
        """Hash one file of a source at its pin; None where it is not there."""

        def ask() -> str | None:
            content = self.read_file(source, pin, path)
            return None if content is None else hashlib.sha256(content).hexdigest()

        if source.kind is SourceKind.LOCAL:
            return ask()
        return recalled(self._need(source), f"sha256 of {pin.revision}:{path}", ask)

    def log_between(self, source: Source, old: Revision, new: Revision) -> list[GitCommit]:
        """List the git commits after ``old`` up to ``new``, newest first, at most 1,000.

        Where no history leads from one to the other only ``new`` is told. It is asked for more
        than once of what is built, and never changes.
        """
        mirror = self._need(source)
        key = (mirror, old, new)
        if key not in self._between:
            self._between[key] = self._log_between(source, mirror, old, new)
        return self._between[key]

    def _log_between(
        self, source: Source, mirror: Path, old: Revision, new: Revision
    ) -> list[GitCommit]:
        for one in (old, new):
            if not is_revision(one) or not self._has(mirror, one):
                raise Failed(f"the mirror has no revision {one}", where=source.location)
        is_known = self.git.run(["--git-dir", mirror, "merge-base", old, new], ok=(0, 1)).code == 0
        what = ["--max-count", str(_MOST_SUBJECTS), f"{old}..{new}"]
        argv: list[str | Path] = ["--git-dir", mirror, "log", f"--format={_FIELDS}"]
        argv += what if is_known else ["--max-count", "1", new]
        # A subject may hold what Python, unlike git, takes for the end of a line.
        lines = self.git.run([*argv, "--"]).text.split("\n")
        return [_git_commit(line) for line in lines if line]

    def diffstat(self, source: Source, old: Revision, new: Revision) -> str:
        """Sum up what files changed between two revisions, as ``git diff --stat`` has it."""
        argv: list[str | Path] = ["--git-dir", self._need(source), "diff", "--stat"]
        return self.git.run([*argv, "--no-ext-diff", "--no-textconv", old, new, "--"]).text

    # Places

    def path(self, source: Source) -> Path:
        """Name the mirror of a source."""
        if source.kind is SourceKind.GIT:
            return self._git_path(source.location)
        if source.kind is SourceKind.DEBIAN:
            return self._debian.path(source.location)
        return self.root / "archive" / f"{source.checksum}.git"

    def _git_path(self, url: str) -> Path:
        return self.root / "git" / mirror_place(url)

    def _need(self, source: Source) -> Path:
        mirror = self.path(source)
        if not (mirror / "HEAD").is_file():
            raise Trouble(
                f"{source.kind}:{source.location} was never fetched", hint="ostci resolve"
            )
        return mirror

    @contextmanager
    def _locked(self, mirror: Path) -> Iterator[None]:
        with lock(mirror.with_suffix(".lock"), what=f"mirror {mirror.name}", wait_s=_WAIT_S):
            yield

    def _has(self, mirror: Path, revision: str) -> bool:
        return find_revision(mirror, revision, git=self.git) is not None

    def _revision(self, source: Source) -> Revision:
        if source.kind is SourceKind.DEBIAN:
            return self._debian.revision(source.location, source.versions)
        mirror = self._need(source)
        for name in _names(source):
            found = find_revision(mirror, name, git=self.git)
            if found is not None:
                return found
        raise Failed(_missing(source), where=source.location, hint=self._known(source))

    def _known(self, source: Source) -> str:
        place = "refs/tags" if source.tag else "refs/heads"
        argv: list[str | Path] = ["--git-dir", self._need(source), "for-each-ref", "--count=8"]
        argv += ["--sort=-creatordate", "--format=%(refname:strip=2)", place]
        names = self.git.run(argv).text.split()
        return f"it has {', '.join(names)}" if names else f"it has no {place.rpartition('/')[2]}"

    def _walk(
        self, url: str, mirror: Path, revision: Revision, prefix: str
    ) -> Iterator[tuple[Submodule, Path]]:
        """List all submodules with their mirrors, a module before those within it."""
        for one in read_submodules(mirror, revision, where=url, git=self.git):
            inner = absolute_url(one.url, url)
            place = self._git_path(inner)
            if not self._has(place, one.revision):
                what = f"submodule {one.path}, {inner} at {one.revision[:12]}, was never fetched"
                raise Trouble(what, where=url, hint="ostci resolve")
            yield replace(one, path=f"{prefix}{one.path}"), place
            yield from self._walk(inner, place, one.revision, f"{prefix}{one.path}/")


def _names(source: Source) -> list[str]:
    if source.kind in ARCHIVES:
        return ["refs/heads/import"]
    if source.revision:
        return [source.revision]
    if source.tag:
        # The original's manifests name any revision as a tag.
        return [f"refs/tags/{source.tag}", f"refs/heads/{source.tag}", source.tag]
    return [f"refs/heads/{source.branch}"]


def _room_for(path: str, into: Path, where: str) -> Path:
    """Make the directory of a submodule; a patch may have put a link there, to anywhere."""
    place = into
    for part in PurePosixPath(path).parts:
        place = place / part
        if place.is_symlink() or place.is_file():
            told = f"there is a file or a link where its submodule {path} goes"
            raise Failed(told, where=where)
        place.mkdir(exist_ok=True)
    return place


def _missing(source: Source) -> str:
    kind = "revision" if source.revision else "tag" if source.tag else "branch"
    return f"there is no {kind} {source.revision or source.tag or source.branch}"


def _git_commit(line: str) -> GitCommit:
    revision, subject, author, time_s = line.split("\0")
    return GitCommit(revision=Revision(revision), subject=subject, author=author, time=int(time_s))
