# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sort what a build installed into parts: normalised, with the modes that trees have.

Begun when every process of the build is dead, and nothing in its files is followed or believed:
what is no file, directory or link is left out, no link is gone through, setuid bits are taken.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.ports import trees
from pipeline.ports.files import no_space
from pipeline.ports.interface import files_below, is_elf_file, read_elf
from pipeline.stages.building import placing
from pipeline.words.errors import Failed
from pipeline.words.refs import Part

_FACTORY = "usr/share/factory"
_BUILD_ID_LEAST = 4


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A directory for each part that has files, and what people should know."""

    parts: dict[Part, Path] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def debug_list(destdir: Path, within: str) -> tuple[list[str], list[str]]:
    """List the files that carry debugging information, for ``split.sh``; and warnings.

    Each line has a file's path within the sandbox, where ``destdir`` is ``within``, and that of
    its debug file; no second path for a static library, which is only stripped.
    """
    lines, warnings, seen = [], [], set()
    for path, status in files_below(destdir):
        if not stat.S_ISREG(status.st_mode) or "\t" in path or "\n" in path:
            continue
        if status.st_ino in seen or "lib/debug/" in path:
            continue
        seen.add(status.st_ino)
        if path.endswith(".a"):
            lines.append(f"{within}/{path}\t")
        elif is_elf_file(destdir / path):
            exports = read_elf(destdir / path)[1]
            if exports is None:
                continue
            if len(exports.build_id) < _BUILD_ID_LEAST:
                warnings.append(f"/{path} has no build id: its debugging information stays in it")
                continue
            name = f"{exports.build_id[:2]}/{exports.build_id[2:]}.debug"
            lines.append(f"{within}/{path}\t{within}/usr/lib/debug/.build-id/{name}")
    return lines, warnings


def sort_parts(
    destdir: Path, into: Path, *, component: str, setuid: tuple[str, ...], all_tests: bool = False
) -> Sorted:
    """Move all below ``destdir`` into directories of ``into``, one a part.

    Raises Failed where a file and a directory want the same place.
    """
    with no_space(into):
        sorting = _Sorting(destdir, into, component, frozenset(setuid), all_tests)
        sorting.go()
    parts = {part: into / part for part in Part if (into / part).is_dir()}
    return Sorted(parts=parts, warnings=tuple(sorting.warnings))


class _Sorting:
    def __init__(
        self, destdir: Path, into: Path, component: str, setuid: frozenset[str], all_tests: bool
    ) -> None:
        self.warnings: list[str] = []
        self._destdir = destdir
        self._into = into
        self._component = component
        self._setuid = setuid
        self._all_tests = all_tests
        self._lines: list[str] = []
        self._placed: dict[str, str] = {}
        self._twins: set[str] = set()
        self._filled: set[str] = set()

    def go(self) -> None:
        """Move files and links, then what is left: directories, of which the empty ones count."""
        directories = list(_directories(self._destdir))
        files = files_below(self._destdir)
        self._twins = {placing.place(path) or "" for path, _ in files}
        for path, status in files:
            self._move(path, status)
        for path in directories:
            self._keep_empty(path)
        if self._lines:
            conf = f"usr/lib/tmpfiles.d/ostci-{self._component}.conf"
            target = self._target(Part.RUNTIME, conf)
            target.write_text("".join(f"{line}\n" for line in sorted(self._lines)))
            target.chmod(0o644)
        for part in Part:
            if (self._into / part).is_dir():
                _settle_directories(self._into / part)

    def _move(self, path: str, status: os.stat_result) -> None:
        source = self._destdir / path
        new = placing.place(path)
        is_link = stat.S_ISLNK(status.st_mode)
        if is_link and path in placing.MERGED:
            return  # as in every tree
        if not is_link and not stat.S_ISREG(status.st_mode):
            self._warn(f"/{path} is no file, directory or link and was left out")
            return
        if new is None:
            self._warn(f"/{path} is in no place that a tree has files in and was left out")
            return
        if placing.is_left_out(new) or placing.shared_twin(new) in self._twins:
            return
        link_to = placing.moved_link(path, new, str(source.readlink())) if is_link else None
        if new.startswith("var/"):
            new = self._in_factory(new, link_to)
            if new == "":
                return
        part = Part.TESTS if self._all_tests else placing.part_of(new, link_to=link_to)
        if self._is_taken(path, new):
            return
        target = self._target(part, new)
        if link_to is not None:
            target.unlink(missing_ok=True)
            target.symlink_to(link_to)
            return
        os.replace(source, target)
        self._settle(target, new, status.st_mode)

    def _in_factory(self, new: str, link_to: str | None) -> str:
        """Make a file of ``var`` one that is copied there at boot; a link is only a line."""
        if link_to is not None:
            self._lines.append(placing.tmpfiles_line(new, "L", link=link_to))
            return ""
        self._lines.append(placing.tmpfiles_line(new, "C", mode=0o644))
        return f"{_FACTORY}/{new}"

    def _settle(self, target: Path, new: str, mode: int) -> None:
        bits = 0o755 if mode & 0o111 else 0o644
        if mode & (stat.S_ISUID | stat.S_ISGID) and f"/{new}" not in self._setuid:
            self._warn(f"/{new} was setuid or setgid, which the manifest does not grant")
        # A file with several names would else be changed under its other ones.
        target.chmod(mode & 0o777 | bits)

    def _is_taken(self, path: str, new: str) -> bool:
        before = self._placed.setdefault(new, path)
        if before != path:
            self._warn(f"/{before} and /{path} are both /{new}; the first is taken")
            return True
        parent = new
        while parent:
            parent = parent.rpartition("/")[0]
            self._filled.add(parent)
        return False

    def _keep_empty(self, path: str) -> None:
        new = placing.place(path)
        if new is None:
            return
        if new == "var" or new.startswith("var/"):
            if not placing.is_standard_var(new):
                self._lines.append(placing.tmpfiles_line(new, "d"))
            return
        source = self._destdir / path
        if (
            new in self._filled
            or new in ("usr", "usr/etc")
            or new.endswith("/__pycache__")
            or any(os.scandir(source))
        ):
            return
        part = Part.TESTS if self._all_tests else placing.part_of(f"{new}/x")
        self._make_directory(part, new)

    def _target(self, part: Part, new: str) -> Path:
        parent = new.rpartition("/")[0]
        self._make_directory(part, parent)
        target = self._into / part / new
        if target.is_dir() and not target.is_symlink():
            raise Failed(f"/{new} is installed as a directory and as a file")
        return target

    def _make_directory(self, part: Part, new: str) -> None:
        """Make a directory of a part; a link or file that stands in its way is not gone through."""
        here = self._into / part
        here.mkdir(parents=True, exist_ok=True)
        for name in new.split("/") if new else ():
            here = here / name
            try:
                status = here.lstat()
            except FileNotFoundError:
                here.mkdir(0o755)
                continue
            if not stat.S_ISDIR(status.st_mode):
                raise Failed(f"/{new} is installed as a directory and as a file or link")

    def _warn(self, text: str) -> None:
        self.warnings.append(text)


def _directories(top: Path) -> Iterator[str]:
    """List directories as paths from the top, those inside before those around them."""
    found = []
    paths: dict[int, str] = {}
    for entry in trees.entries(top):
        if entry.is_directory:
            parent = paths.get(os.fstat(entry.where).st_ino, "")
            path = f"{parent}/{entry.name}" if parent else entry.name
            paths[entry.status.st_ino] = path
            found.append(path)
    yield from sorted(found, reverse=True)


def _settle_directories(top: Path) -> None:
    top.chmod(0o755)
    for path in _directories(top):
        (top / path).chmod(0o755)
