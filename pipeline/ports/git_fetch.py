# SPDX-License-Identifier: LGPL-2.1-or-later
"""Bring one bare repository up to date with its server.

A server whose branches and tags are here already is asked one question (``ls-remote``). Whoever
calls holds the mirror's lock; what a killed git left in it is cleared away before it is fetched.
"""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.ports import process
from pipeline.ports.files import full_disk, remove_tree
from pipeline.ports.git_commands import Git
from pipeline.ports.git_known import changed, recalled
from pipeline.words.errors import Ending, Failed, Trouble

_ASK_S = 120.0
_FETCH_S = 3600.0
_PLACES = ("refs/heads", "refs/tags")


def make_bare(mirror: Path, *, git: Git) -> None:
    """Make an empty bare repository where there is none, whole or not at all."""
    if (mirror / "HEAD").is_file():
        return
    making = mirror.with_suffix(".making")
    remove_tree(making)
    making.parent.mkdir(parents=True, exist_ok=True)
    git.run(["init", "--quiet", "--bare", "--template=", making])
    git.run(["--git-dir", making, "config", "gc.auto", "0"])
    making.rename(mirror)


def update(mirror: Path, url: str, *, git: Git) -> bool:
    """Fetch what is new; tell whether anything was. Raises as ``explain`` does."""
    try:
        argv = ["ls-remote", "--heads", "--tags", "--refs", "--", url]
        there = _digest(git.run(argv, deadline_s=_ASK_S).text)
        if there == recalled(mirror, "refs", lambda: _here(mirror, git)):
            return False
        specs = [f"+{place}/*:{place}/*" for place in _PLACES]
        _fetch(mirror, url, specs, git)
    except process.CommandError as error:
        raise explain(url, mirror, error) from error
    return True


def fetch_revision(mirror: Path, url: str, revision: str, *, git: Git) -> None:
    """Ask for a revision that is on no branch, or a ref; a server may refuse it, or not have it."""
    try:
        _fetch(mirror, url, [revision], git)
    except process.CommandError as error:
        ending = explain(url, mirror, error)
        refused = r"not our ref|unadvertised object|couldn't find remote ref"
        if not re.search(refused, error.finished.error_text):
            raise ending from error


def clear(mirror: Path) -> None:
    """Remove the locks and the parts of packs of a git that was killed."""
    left = [*mirror.glob("*.lock"), *(mirror / "refs").rglob("*.lock")]
    left += (mirror / "objects" / "pack").glob("tmp_*")
    for path in left:
        path.unlink(missing_ok=True)


def _here(mirror: Path, git: Git) -> str:
    argv = ["for-each-ref", "--format=%(objectname)%09%(refname)", *_PLACES]
    return _digest(git.run(["--git-dir", mirror, *argv]).text)


def _digest(refs: str) -> str:
    """Hash a list of refs, in whatever order it is."""
    return hashlib.sha256("\n".join(sorted(refs.splitlines())).encode()).hexdigest()


def _fetch(mirror: Path, url: str, specs: Sequence[str], git: Git) -> None:
    clear(mirror)
    argv: list[str | Path] = ["--git-dir", mirror, "fetch", "--quiet", "--prune", "--force"]
    argv += ["--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--", url, *specs]
    try:
        git.run(argv, deadline_s=_FETCH_S)
    finally:
        changed(mirror)


def explain(url: str, mirror: Path, error: process.CommandError) -> Ending:
    """Tell whose fault it is that git failed: a full disk, bad objects, or the server's."""
    text = error.finished.error_text
    if "No space left on device" in text:
        return full_disk(mirror)
    bad = re.search(r"error: (object [0-9a-f]+: .*)", text)
    if bad or "fsck error" in text:
        told = bad[1] if bad else "git fsck refuses an object"
        return Failed(f"holds objects that are not as they should be: {told}", where=url)
    lines = [
        line.removeprefix("fatal: ").removeprefix("error: ")
        for line in text.splitlines()
        if line.startswith(("fatal:", "error:", "ssh:"))
    ]
    return Trouble(f"cannot be fetched: {lines[0] if lines else error}", where=url, hint=error.hint)
