# SPDX-License-Identifier: LGPL-2.1-or-later
"""Working copies (``local:`` and overrides): read where they lie, never written to.

What counts are the files that git tracks or does not ignore, as they are now; without git, all.
"""

import hashlib
import os
import posixpath
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from pipeline.ports.files import no_space
from pipeline.ports.git_commands import Git
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Revision
from pipeline.words.snapshot import Pin

TIME_S = 1640995200
"""2022-01-01, the time of a build whose source has none."""


def need(place: Path) -> None:
    """Raise Failed where the directory is not there."""
    if not place.is_dir():
        raise Failed("there is no such directory", where=f"local:{place}")


def names(place: Path, *, git: Git) -> list[str]:
    """List the files of a working copy that count, relative to it."""
    need(place)
    return _names(place, git=git)


def pin(place: Path, *, git: Git, whole: bool = False) -> Pin:
    """Tell the state of a working copy: its revision is a hash of all its files.

    ``whole``: of all files that are there, whatever git would say.
    """
    need(place)
    state = hashlib.sha1()
    for name in _walked(place) if whole else _names(place, git=git):
        path = place / name
        with _readable(path):
            mode = path.lstat().st_mode
            digest = hashlib.sha256(_content(path)).hexdigest()
        kind = "link" if stat.S_ISLNK(mode) else "program" if mode & 0o100 else "file"
        state.update(f"{kind} {digest} ".encode() + os.fsencode(name) + b"\0")
    return Pin(
        revision=Revision(state.hexdigest()),
        commit_time=TIME_S,
        describe=f"working copy {place.name}",
        subject=f"working copy in {place}",
        local=True,
    )


def copy(place: Path, at: Pin, into: Path, *, git: Git) -> None:
    """Copy the files that count; raises Failed where they are not those of the pin any more."""
    need(place)
    for name in _names(place, git=git):
        target = into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with _readable(place / name):
            shutil.copy2(place / name, target, follow_symlinks=False)
    if pin(place, git=git).revision != at.revision:
        raise Failed("was changed since it was resolved", where=f"local:{place}", hint="ostci run")


def read_file(place: Path, name: str) -> bytes | None:
    """Read one file; None where it is not there, or leads out of the working copy."""
    path = (place / name).resolve()
    return path.read_bytes() if path.is_relative_to(place.resolve()) and path.is_file() else None


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Tell of a file that nobody may read, or that went while it was to be read."""
    try:
        with no_space(path):
            yield
    except FileNotFoundError as error:
        raise Failed("went away while it was read", where=str(path), hint="ostci run") from error
    except PermissionError as error:
        raise Trouble(f"cannot be read: {error.strerror}", where=str(path)) from error


def _content(path: Path) -> bytes:
    return os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()


def _names(place: Path, *, git: Git) -> list[str]:
    # A repository's own settings come after ours, and could name a program.
    argv = ["-c", "core.fsmonitor=false", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = git.run([*argv, "--deduplicate", "-z"], cwd=place, ok=()) if _is_git(place) else None
    if done is not None and done.code == 0:
        found: list[str] = []
        is_behind_link = _links_seen(place)
        for name in (os.fsdecode(name) for name in done.stdout.split(b"\0") if name):
            if is_behind_link(posixpath.dirname(name)):  # the link itself is listed, too
                continue
            if _is_file(place / name):  # one that was removed is listed, too
                found.append(name)
            elif (place / name / ".git").exists():  # a submodule is listed as one name
                inner = _names(place / name, git=git)
                found += [str(Path(name) / one) for one in inner]
        if found:  # else a repository above ignores it all
            return sorted(found)
    return _walked(place)


def _walked(place: Path) -> list[str]:
    found: list[str] = []
    for top, directories, files in os.walk(place):
        directories[:] = sorted(name for name in directories if name != ".git")
        paths = [Path(top, name) for name in (*files, *directories)]
        found += [str(path.relative_to(place)) for path in paths if _is_file(path)]
    return sorted(found)


def _is_git(place: Path) -> bool:
    """Tell whether it is in a working copy; one that a repository above ignores is not."""
    return any((one / ".git").exists() for one in (place, *place.parents))


def _links_seen(place: Path) -> Callable[[str], bool]:
    """Make what tells whether a directory is reached through a link; each is looked at once."""

    @cache
    def is_behind_link(directory: str) -> bool:
        if not directory:
            return False
        return (place / directory).is_symlink() or is_behind_link(posixpath.dirname(directory))

    return is_behind_link


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
