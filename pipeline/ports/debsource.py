# SPDX-License-Identifier: LGPL-2.1-or-later
"""Debian's source packages as git: fetched by apt, which verifies them, unpacked and committed.

A version is a commit of its own, the same on every machine: its time is that of the package's
changelog. Several versions imported one after another are a history.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from pipeline.ports import process
from pipeline.ports.files import lock, remove_tree, write_text
from pipeline.ports.git_commands import Git
from pipeline.ports.git_fetch import clear, make_bare
from pipeline.ports.imports import commit_tree, room_beside
from pipeline.ports.mmdebstrap import Archive, PrivateApt, archive
from pipeline.words.errors import Failed
from pipeline.words.refs import Revision

_WAIT_S = 1800.0
_LISTS_AGE_S = 3600.0
_ABSENT = re.compile(r"Can ?not find version .*|Unable to find a source package .*")
_DSC = re.compile(r"'\S+/([^/']+\.dsc)'")


class DebianSources:
    """The source packages of one suite."""

    def __init__(
        self, root: Path, *, suite: str, mirrors: Sequence[str], downloads: Path, git: Git
    ) -> None:
        self._root = root / suite
        self._suite = suite
        self._mirrors = mirrors
        self._downloads = downloads
        self._git = git

    def path(self, name: str) -> Path:
        """Name the repository of a package."""
        return self._root / f"{name.partition('=')[0]}.git"

    def fetch(self, name: str, versions: Sequence[str], *, max_age_s: float) -> None:
        """Import the versions that were named, or the newest of the suite.

        Lists of packages that are not older than an hour, or ``max_age_s``, will do. Raises
        Failed for a package or version that the archive does not have.
        """
        repository = self.path(name)
        with lock(repository.with_suffix(".lock"), what=f"source of {name}", wait_s=_WAIT_S):
            if versions and self._ref(repository, _chain_ref(versions)) is not None:
                return
            self._apt.update(max_age_s=max(max_age_s, _LISTS_AGE_S))
            make_bare(repository, git=self._git)
            clear(repository)
            if not versions:
                found = self._import(name, self._newest(name), repository)
                self._set(repository, _newest_ref(), found)
                return
            at: Revision | None = None
            for version in versions:
                at = self._import(name, version, repository, parent=at)
            assert at is not None
            self._set(repository, _chain_ref(versions), at)

    def revision(self, name: str, versions: Sequence[str]) -> Revision:
        """Tell what was imported; raises Failed where nothing was."""
        ref = _chain_ref(versions) if versions else _newest_ref()
        found = self._ref(self.path(name), ref)
        if found is None:
            raise Failed(f"{name} {' '.join(versions)} was never imported", hint="ostci resolve")
        return found

    # Helpers

    @cached_property
    def _apt(self) -> PrivateApt:
        found = archive(self._suite, self._mirrors, "x86_64")
        lines = tuple(line.replace("deb ", "deb-src ", 1) for line in found.sources)
        source = Archive(suite=found.suite, architecture=found.architecture, sources=lines)
        digest = hashlib.sha256(" ".join(lines).encode()).hexdigest()[:16]
        return PrivateApt(source, self._downloads / "apt-sources" / digest, log=self._git.log)

    def _newest(self, name: str) -> str:
        """Ask apt for the newest version's .dsc file; its name stands for the version."""
        said = self._get_source(name, ["--print-uris", "--", name], None)
        found = _DSC.search(said)
        if found is None:
            raise Failed(f"the archive has no source package {name}", where=f"debian:{name}")
        return unquote(found[1])

    def _import(
        self, name: str, version: str, repository: Path, parent: Revision | None = None
    ) -> Revision:
        key = hashlib.sha256(f"{version} {parent or ''}".encode()).hexdigest()[:16]
        ref = f"refs/imports/{key}"
        known = self._ref(repository, ref)
        if known is not None:
            return known
        with self._git.log.step(f"import {version}", about=name):
            files = self._download(name, version)
            with room_beside(repository) as room:
                found = self._commit(files, room / "tree", repository, parent)
        self._set(repository, ref, found)
        return found

    def _get_source(self, name: str, argv: Sequence[str], cwd: Path | None) -> str:
        try:
            # Else apt takes the name of a binary package first, for whatever source it is of.
            return self._apt.get_source(["--only-source", "--download-only", *argv], cwd)
        except process.CommandError as error:
            told = _ABSENT.search(error.finished.error_text)
            if told is None:
                raise
            raise Failed(
                f"the archive has it not: {told[0]}",
                where=f"debian:{name}",
                hint=f"see what {self._suite} has: https://tracker.debian.org/pkg/{name}",
            ) from error

    def _download(self, name: str, version: str) -> Path:
        """Have the files of one version; tells its .dsc file."""
        is_newest = version.endswith(".dsc")
        place = self._downloads / "debian" / f"{name}_{version.replace('/', '_')}"
        # Other work directories may be at it, too.
        with lock(place.with_name(f"{place.name}.lock"), what=f"source of {name}", wait_s=_WAIT_S):
            if not (place / "done").is_file():
                remove_tree(place)
                place.mkdir(parents=True)
                wanted = name if is_newest else f"{name}={version}"
                self._get_source(name, ["--", wanted], place)
                write_text(place / "done", "")
        found = sorted(place.glob("*.dsc"))
        if len(found) != 1 or (is_newest and found[0].name != version):
            remove_tree(place)
            raise Failed(f"the archive has no version {version}", where=f"debian:{name}")
        return found[0]

    def _commit(self, dsc: Path, tree: Path, repository: Path, parent: Revision | None) -> Revision:
        log = self._git.log
        argv: list[str | Path] = ["dpkg-source", "--extract", dsc.absolute(), tree]
        process.run(argv, log=log, cwd=tree.parent)
        # quilt's notes on the patches that are applied; they hold every patched file once more.
        remove_tree(tree / ".pc")
        changelog = tree / "debian" / "changelog"
        told = process.run(
            ["dpkg-parsechangelog", "-l", changelog, "-S", "Timestamp"], log=log, ok=()
        )
        version = process.run(
            ["dpkg-parsechangelog", "-l", changelog, "-S", "Version"], log=log, ok=()
        )
        time_s = int(told.text) if told.text.isdigit() else 0
        subject = f"{dsc.name.partition('_')[0]} {version.text}"
        found = commit_tree(tree, repository, subject, time_s=time_s, git=self._git, parent=parent)
        tag = re.sub(r"[^A-Za-z0-9.+-]", "_", version.text)
        if parent is None:
            self._set(repository, f"refs/tags/debian-import-{tag}", found)
        return found

    def _set(self, repository: Path, ref: str, at: Revision) -> None:
        self._git.run(["--git-dir", repository, "update-ref", ref, at])

    def _ref(self, repository: Path, ref: str) -> Revision | None:
        if not (repository / "HEAD").is_file():
            return None
        argv: list[str | Path] = ["--git-dir", repository, "rev-parse", "--verify", "--quiet", ref]
        done = self._git.run(argv, ok=())
        return Revision(done.text) if done.code == 0 else None


def _newest_ref() -> str:
    return "refs/heads/newest"


def _chain_ref(versions: Sequence[str]) -> str:
    return f"refs/heads/versions-{hashlib.sha256(' '.join(versions).encode()).hexdigest()[:16]}"
