# SPDX-License-Identifier: LGPL-2.1-or-later
"""What others can see of an artifact: its interface, name → digest.

Programs, scripts, headers and data count by their content, a shared library by its soname, the
versioned symbols that it exports and the sizes of its data. The build id counts nowhere: it
changes with every comment. Whatever of the files is broken or hostile counts by its content.
"""

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from pipeline.ports import trees
from pipeline.words.elf import is_elf
from pipeline.words.elf_exports import Exports, read_exports
from pipeline.words.names import interface_name

_UNSEEN = ("usr/share/locale/", "usr/share/doc/", "usr/share/man/", "usr/share/info/")
_LARGEST = 512 * 1024**2


def interface(tops: Iterable[Path]) -> dict[str, str]:
    """Digest the files below the directories of an artifact's parts, sorted by name."""
    found: dict[str, str] = {}
    links: dict[str, str] = {}
    for top in tops:
        for path, status in files_below(top):
            if not path.startswith(_UNSEEN):
                name, digest = _seen(top, path, status)
                (links if stat.S_ISLNK(status.st_mode) else found)[name] = digest
    # The link libz.so.1 has the name under which the library itself stands here.
    return dict(sorted((links | found).items()))


def files_below(top: Path) -> list[tuple[str, os.stat_result]]:
    """List files and links below a directory, as paths from there; no link is followed."""
    found: list[tuple[str, os.stat_result]] = []
    paths: dict[int, str] = {}
    for entry in trees.entries(top):
        where = os.fstat(entry.where).st_ino
        parent = paths.get(where, "")
        path = f"{parent}/{entry.name}" if parent else entry.name
        if entry.is_directory:
            paths[entry.status.st_ino] = path
        else:
            found.append((path, entry.status))
    return sorted(found)


def name_in(root: Path, path: str) -> str:
    """Name a file of a tree by its absolute path there; shared libraries by their soname.

    The file's own name has the whole version, which no program that is linked to it knows.
    """
    name = interface_name(path)
    if not (name.startswith("lib:") and ".so" in name):
        return name
    exports = _exports_of(root / path.lstrip("/"))
    return f"lib:{exports.soname}" if exports and exports.soname else name


def digest_of(exports: Exports) -> str:
    """Digest what others can see of a shared library."""
    lines = [f"soname {exports.soname}", *exports.symbols]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def read_elf(path: Path) -> tuple[bytes, Exports | None]:
    """Read a file, and where it is a linked ELF file what it exports."""
    data = path.read_bytes()
    if not is_elf(data):
        return data, None
    try:
        return data, read_exports(data)
    except ValueError:
        return data, None  # it counts by its content then


def is_elf_file(path: Path) -> bool:
    """Tell whether a file, which is no link, starts as an ELF file does."""
    with path.open("rb") as file:
        return is_elf(file.read(4))


def _exports_of(path: Path) -> Exports | None:
    try:
        return read_elf(path)[1] if is_elf_file(path) else None
    except (FileNotFoundError, IsADirectoryError, PermissionError):
        return None  # a link out of the tree, or to nothing


def _seen(top: Path, path: str, status: os.stat_result) -> tuple[str, str]:
    name = interface_name(f"/{path}")
    if stat.S_ISLNK(status.st_mode):
        to = os.fsencode((top / path).readlink())
        return name, hashlib.sha256(b"link " + to).hexdigest()
    if status.st_size > _LARGEST or not is_elf_file(top / path):
        return name, _hash_file(top / path, status)
    data, exports = read_elf(top / path)
    if exports is None:
        return name, hashlib.sha256(data).hexdigest()
    if exports.is_program:
        return name, hashlib.sha256(_without_build_id(data, exports)).hexdigest()
    if exports.soname and name.startswith("lib:"):
        return f"lib:{exports.soname}", digest_of(exports)
    return name, digest_of(exports)


def _without_build_id(data: bytes, exports: Exports) -> bytes:
    if exports.build_id_at is None:
        return data
    start, end = exports.build_id_at
    return data[:start] + bytes(end - start) + data[end:]


def _hash_file(path: Path, status: os.stat_result) -> str:
    kind = b"x" if status.st_mode & 0o111 else b"-"
    with path.open("rb") as file:
        return hashlib.sha256(kind + hashlib.file_digest(file, "sha256").digest()).hexdigest()
