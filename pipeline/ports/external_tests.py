# SPDX-License-Identifier: LGPL-2.1-or-later
"""The external tests of a component, as its source has them at the revision that was built.

Read out of its mirror, object by object: nothing is checked out, no link is followed. Patches of
the manifest are not in it.
"""

import os
import stat
from pathlib import Path

from pipeline.ports import work_copy
from pipeline.ports.git import Mirrors
from pipeline.words.errors import Trouble
from pipeline.words.external import (
    LARGEST,
    MOST_BYTES,
    MOST_FILES,
    PLACE,
    Externals,
    SourceFile,
    read_externals,
)
from pipeline.words.manifest import Component, SourceKind
from pipeline.words.snapshot import Pin


def find_externals(mirrors: Mirrors, component: Component, pin: Pin) -> Externals:
    """Read a component's tests; raises Trouble where its source is not here."""
    source = component.source
    if source.kind is SourceKind.LOCAL:
        files = _of_work_copy(mirrors, Path(source.location))
    else:
        mirrors.have(source, pin)
        files = _of_mirror(mirrors, mirrors.path(source), pin)
    return read_externals(component.name, pin.revision, files)


def _of_mirror(mirrors: Mirrors, mirror: Path, pin: Pin) -> list[SourceFile]:
    if not (mirror / "HEAD").is_file():
        raise Trouble("the source with its tests is not on this machine", where=str(mirror))
    argv: list[str | Path] = ["--git-dir", mirror, "ls-tree", "-z", "-l", pin.revision]
    listed = mirrors.git.run([*argv, "--", f"{PLACE}/"]).stdout
    found: list[SourceFile] = []
    total = 0
    for entry in listed.split(b"\0"):
        what, _, path = entry.partition(b"\t")
        words = what.split()
        if len(words) != 4 or words[0] not in (b"100644", b"100755"):
            continue  # a link, a folder or a submodule is nobody's test
        size = int(words[3])
        total += min(size, LARGEST)
        data = b"\0" * (LARGEST + 1)
        if size <= LARGEST and total <= MOST_BYTES and len(found) < MOST_FILES:
            blob: list[str | Path] = ["--git-dir", mirror, "cat-file", "blob", words[2].decode()]
            data = mirrors.git.run(blob).stdout
        elif size <= LARGEST:
            data = b"\0" * size  # too much in all, which is told by its size alone
        name = os.fsdecode(path).rpartition("/")[2]
        found.append(SourceFile(name=name, data=data, is_program=words[0] == b"100755"))
        if len(found) > MOST_FILES:
            break
    return found


def _of_work_copy(mirrors: Mirrors, place: Path) -> list[SourceFile]:
    found: list[SourceFile] = []
    total = 0
    if (place / PLACE).resolve() != place.resolve() / PLACE:
        return found  # a link, to wherever
    for name in work_copy.names(place, git=mirrors.git):
        folder, _, file = name.rpartition("/")
        path = place / name
        if (
            folder != PLACE
            or path.is_symlink()
            or (place / PLACE).resolve() != place.resolve() / PLACE
        ):
            continue
        with path.open("rb") as opened:
            data = opened.read(LARGEST + 1)
        total += len(data)
        mode = path.stat().st_mode
        found.append(SourceFile(name=file, data=data, is_program=bool(mode & stat.S_IXUSR)))
        if len(found) > MOST_FILES or total > MOST_BYTES:
            break
    return found
