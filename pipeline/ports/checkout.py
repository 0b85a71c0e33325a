# SPDX-License-Identifier: LGPL-2.1-or-later
"""The source of a component as it is built: its own files, submodules, children, and patches.

The same snapshot gives the same files whenever, wherever and as whomever they are checked out.
"""

import hashlib
import json
import os
import re
from pathlib import Path

from pipeline.ports import process, trees
from pipeline.ports.files import remove_tree
from pipeline.ports.git import Mirrors
from pipeline.ports.git_commands import IDENTITY
from pipeline.ports.imports import commit_tree
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Component, Source, SourceKind
from pipeline.words.refs import Commit
from pipeline.words.snapshot import Pin, Snapshot

_DIFF = re.compile(rb"^(?:diff |--- |Index: )", re.MULTILINE)
_HEADER = re.compile(
    rb".*^(?:From[: ]|# HG changeset patch|# This series applies on GIT commit)",
    re.MULTILINE | re.DOTALL,
)
"""What git-am(1) knows a patch by: a mail, or what Mercurial and StGit write."""
META = "_ostbuild-meta.json"
"""The original's: what a source is, for build scripts that want to know."""


def check_out(
    component: Component, snapshot: Snapshot, into: Path, *, mirrors: Mirrors, log: Log
) -> None:
    """Write a component's source into a directory that is empty or not there.

    Raises Failed, with what git said, for a patch that does not apply.
    """
    pin = snapshot.pins[component.name]
    with log.step("source", about=component.name):
        _check_out(
            component.name, component.source, pin, component.patches, snapshot, into, mirrors
        )
        for child in component.children:
            place = into / child.name
            _make_room(place, child.name)
            inner = pin.children[child.name]
            _check_out(child.name, child.source, inner, child.patches, snapshot, place, mirrors)
        meta = {"name": component.name, "src": _src(component.source), "revision": pin.revision}
        text = json.dumps(meta | {"config-opts": list(component.config_opts)}, indent=2)
        target = into / META
        remove_tree(target)
        target.write_text(text + "\n")
        _settle(into, max(pin.commit_time, 1), component.name)


def check_out_commit(commit: Commit, pin: Pin, into: Path, *, name: str, repo: Repo) -> None:
    """Write what ``check_out`` gave elsewhere, where it was committed."""
    remove_tree(into)
    repo.checkout(commit, into, copy=True)
    _settle(into, max(pin.commit_time, 1), name)


def _settle(into: Path, time_s: int, name: str) -> None:
    """Give all one time and plain modes: neither the clock nor the umask is to be seen."""
    try:
        for entry in trees.entries(into):
            if entry.is_directory or entry.is_file:
                is_program = entry.is_directory or bool(entry.status.st_mode & 0o100)
                os.chmod(entry.name, 0o755 if is_program else 0o644, dir_fd=entry.where)
            times = (time_s, time_s)
            os.utime(entry.name, times, dir_fd=entry.where, follow_symlinks=False)
    except trees.TooDeep as error:
        told = f"the source has directories nested deeper than {trees.DEEPEST}"
        raise Failed(told, where=name) from error
    into.chmod(0o755)
    os.utime(into, (time_s, time_s))


def _src(source: Source) -> str:
    # A working copy's path is this machine's, and must not end in what is built.
    return f"{source.kind}:" + ("" if source.kind is SourceKind.LOCAL else source.location)


def _make_room(place: Path, name: str) -> None:
    """Have a child's own directory: a submodule of that place, or a link, makes way."""
    if place.is_symlink() or place.is_file():
        raise Failed(f"the parent has a file where its child {name} goes", where=name)
    remove_tree(place)


def _check_out(
    name: str,
    source: Source,
    pin: Pin,
    patches: tuple[str, ...],
    snapshot: Snapshot,
    into: Path,
    mirrors: Mirrors,
) -> None:
    mirrors.have(source, pin)
    if not patches:
        mirrors.check_out(source, pin, into)
        return
    into.mkdir(parents=True, exist_ok=True)
    _patched(name, source, pin, patches, snapshot, into, mirrors)
    mirrors.write_submodules(source, pin, into)


def _patched(
    name: str,
    source: Source,
    pin: Pin,
    patches: tuple[str, ...],
    snapshot: Snapshot,
    into: Path,
    mirrors: Mirrors,
) -> None:
    """Apply patches in a repository that borrows the mirror's objects, and goes afterwards."""
    git = mirrors.git
    if source.kind is SourceKind.LOCAL:
        _as_repository(source, pin, into, mirrors)
    else:
        _borrow(source, pin, into, mirrors)
    argv = ["am", "--3way", "--committer-date-is-author-date", "--no-gpg-sign"]
    argv += ["--keep-cr", "--whitespace=nowarn", "-"]
    for patch in patches:
        text = read_patch(snapshot, patch, pin.patches[patch], mirrors)
        if not _HEADER.match(_DIFF.split(text)[0]):
            raise Failed(
                f"the patch {patch} has no author and subject, which git am wants",
                where=name,
                hint="commit the change, and make the patch with git format-patch",
            )
        try:
            git.run(argv, cwd=into, env=IDENTITY, input=text)
        except process.CommandError as error:
            raise Failed(
                f"the patch {patch} does not apply: {_conflict(error.finished)}",
                where=name,
                hint="make it anew against the source's revision: git format-patch",
            ) from error
    remove_tree(into / ".git")


def _conflict(finished: process.Finished) -> str:
    """Tell what git says of a patch without what it advises people to type."""
    lines = [*finished.text.splitlines(), *finished.error_text.splitlines()]
    told = [line for line in lines if line.startswith(("CONFLICT", "error: ", "fatal: "))]
    return "; ".join(told or lines[:1])[:500]


def _borrow(source: Source, pin: Pin, into: Path, mirrors: Mirrors) -> None:
    mirror, inner = mirrors.path(source).absolute(), into / ".git"
    mirrors.git.run(["init", "--quiet", "--template=", into])
    borrowed = inner / "objects" / "info" / "alternates"
    borrowed.parent.mkdir(parents=True, exist_ok=True)
    borrowed.write_text(f"{mirror}/objects\n")
    attributes = mirror / "info" / "attributes"
    if attributes.is_file():  # an import's: its files are taken as they are
        (inner / "info").mkdir(exist_ok=True)
        (inner / "info" / "attributes").write_text(attributes.read_text())
    mirrors.git.run(["checkout", "--quiet", "--detach", pin.revision], cwd=into)


def _as_repository(source: Source, pin: Pin, into: Path, mirrors: Mirrors) -> None:
    """Make a repository of one commit of a working copy, for patches to be applied to."""
    git = mirrors.git
    mirrors.check_out(source, pin, into)
    git.run(["init", "--quiet", "--template=", into])
    revision = commit_tree(into, into / ".git", pin.subject, time_s=pin.commit_time, git=git)
    git.run(["reset", "--quiet", revision], cwd=into)


def read_patch(snapshot: Snapshot, patch: str, checksum: str, mirrors: Mirrors) -> bytes:
    """Read a patch file of the snapshot's patch source; raises Trouble where it is gone."""
    manifest = snapshot.manifest
    if manifest.patches is None or snapshot.patches is None:
        raise Trouble(f"the snapshot has no patch source for {patch}", hint="ostci resolve")
    path = f"{manifest.patches_subdir}/{patch}" if manifest.patches_subdir else patch
    mirrors.have(manifest.patches, snapshot.patches)
    found = mirrors.read_file(manifest.patches, snapshot.patches, path)
    if found is None:
        raise Trouble(f"the patch {path} is gone since it was resolved", hint="ostci resolve")
    if hashlib.sha256(found).hexdigest() != checksum:
        raise Failed(f"the patch {path} was changed since it was resolved", hint="ostci run")
    return found
