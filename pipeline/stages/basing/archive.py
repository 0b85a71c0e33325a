# SPDX-License-Identifier: LGPL-2.1-or-later
"""Turn archives of a root file system into one archive of a tree in OSTree's layout.

It knows tar and the rules of ``layout``; where archives come from and go to is others' business.
An archive keeps owners, so that an ordinary user can make a base as root does. What is in it is
hostile: paths that lead out are refused, and nothing is unpacked to a file system.
"""

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.ports.files import no_space
from pipeline.stages.basing import layout
from pipeline.words.errors import Failed

_XATTR = "SCHILY.xattr."


@dataclass(frozen=True, kw_only=True)
class Converted:
    """What was found on the way: kernel versions, and the packages of dpkg's database."""

    kernels: tuple[str, ...]
    packages: dict[str, str]
    left_out: int
    """How many paths the patterns to remove have taken out."""


@dataclass(kw_only=True)
class _Entry:
    info: tarfile.TarInfo
    source: tarfile.TarFile | None = None
    data: bytes | None = None


@dataclass(kw_only=True)
class _Tree:
    entries: dict[str, _Entry] = field(default_factory=dict)
    left_out: int = 0

    def add_text(self, path: str, text: str) -> None:
        info = _plain(path, tarfile.REGTYPE, 0o644)
        self.entries[path] = _Entry(info=info, data=text.encode())


def convert(archives: Sequence[Path], output: Path, *, remove: Sequence[str] = ()) -> Converted:
    """Write the union of root file systems (later ones win) to ``output`` in OSTree's layout.

    ``remove`` are paths or shell patterns, as they are in the finished tree. Raises Failed for
    an archive that is damaged or has paths that lead out of it.
    """
    opened = []
    try:
        tree = _Tree()
        for path in archives:
            opened.append(_open(path))
            _read_into(tree, opened[-1], path)
        _finish(tree, [pattern.strip("/") for pattern in remove])
        with no_space(output), tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as target:
            # Without an entry of the root itself, ostree finds the tree empty.
            target.addfile(_plain("./", tarfile.DIRTYPE, 0o755))
            for name in sorted(tree.entries):
                _write(target, name, tree.entries[name])
        return Converted(kernels=_kernels(tree), packages=_packages(tree), left_out=tree.left_out)
    except tarfile.TarError as error:
        raise Failed(f"damaged: {error}", where=str(archives[len(opened) - 1])) from error
    finally:
        for archive in opened:
            archive.close()


def _open(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "r:*", errors="surrogateescape")


def _read_into(tree: _Tree, archive: tarfile.TarFile, path: Path) -> None:
    for info in archive:
        name = _clean(info.name, path)
        if not name or info.ischr() or info.isblk() or info.isfifo():
            continue
        entry = _Entry(info=info, source=archive)
        if info.islnk():
            entry.info = _link_target(archive, info)
        new = layout.place(name, directory=info.isdir())
        if new is not None:
            _put(tree, new, entry)


def _link_target(archive: tarfile.TarFile, info: tarfile.TarInfo) -> tarfile.TarInfo:
    """Follow a hard link: OSTree shares equal files anyhow, so that a copy is as good."""
    try:
        target = archive.getmember(info.linkname)
    except KeyError as error:
        raise tarfile.TarError(f"hard link to {info.linkname}, which is not there") from error
    return _link_target(archive, target) if target.islnk() else target


def _put(tree: _Tree, path: str, entry: _Entry) -> None:
    present = tree.entries.get(path)
    if present is not None and present.info.isdir() != entry.info.isdir():
        # A directory over a link to one is what merged file systems look like: keep the link.
        if entry.info.isdir() and present.info.issym():
            return
        tree.entries = {
            name: one for name, one in tree.entries.items() if not name.startswith(f"{path}/")
        }
    tree.entries[path] = entry


def _clean(name: str, archive: Path) -> str:
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", ".")]
    if ".." in parts:
        raise Failed(f"has a path that leads out of it: {name!r}", where=str(archive))
    return "/".join(parts)


def _plain(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(path)
    info.type, info.mode = kind, mode
    return info


def _finish(tree: _Tree, remove: Sequence[str]) -> None:
    """Add what every tree has, turn ``var`` into tmpfiles.d lines, take out what is to go."""
    for path in layout.DIRECTORIES:
        tree.entries.setdefault(path, _Entry(info=_plain(path, tarfile.DIRTYPE, 0o755)))
    for name in layout.MERGED:
        if f"usr/{name}" in tree.entries:
            _add_link(tree, name, f"usr/{name}")
    for path, to in layout.LINKS.items():
        _add_link(tree, path, to)
    tree.add_text("usr/etc/machine-id", "")
    lines = list(_empty_var(tree))
    tree.add_text(layout.TMPFILES, "".join(f"{line}\n" for line in lines))
    gone = [path for path in tree.entries if layout.matches(path, remove)]
    tree.left_out = len(gone)
    for path in gone:
        del tree.entries[path]
    _add_parents(tree)


def _add_link(tree: _Tree, path: str, to: str) -> None:
    info = _plain(path, tarfile.SYMTYPE, 0o777)
    info.linkname = to
    tree.entries[path] = _Entry(info=info)


def _empty_var(tree: _Tree) -> Iterator[str]:
    """Move the files of ``var`` to the factory directory; yield the lines that bring them back."""
    for to in sorted({*layout.LINKS.values(), "var/lib"}):
        if to.lstrip("./").startswith("var/"):
            path = to.lstrip("./")
            tree.entries.setdefault(path, _Entry(info=_plain(path, tarfile.DIRTYPE, 0o755)))
    for path in sorted(path for path in tree.entries if path.startswith("var/")):
        entry = tree.entries.pop(path)
        info = entry.info
        kind = "d" if info.isdir() else "L" if info.issym() else "C"
        if kind == "C":
            tree.entries[f"{layout.FACTORY}/{path}"] = entry
        link = info.linkname if kind == "L" else ""
        yield layout.tmpfiles_line(
            path, kind, mode=info.mode, uid=info.uid, gid=info.gid, link=link
        )
    if layout.DPKG in tree.entries:
        yield f"L /var/lib/dpkg - - - - ../../{layout.DPKG}"


def _add_parents(tree: _Tree) -> None:
    for path in list(tree.entries):
        for parent in PurePosixPath(path).parents:
            name = str(parent)
            if name != "." and name not in tree.entries:
                tree.entries[name] = _Entry(info=_plain(name, tarfile.DIRTYPE, 0o755))


def _write(target: tarfile.TarFile, path: str, entry: _Entry) -> None:
    old = entry.info
    info = _plain(f"./{path}", old.type, old.mode)
    info.uid, info.gid, info.linkname = old.uid, old.gid, old.linkname
    info.pax_headers = {
        name: value for name, value in old.pax_headers.items() if name.startswith(_XATTR)
    }
    if not old.isreg():
        target.addfile(info)
        return
    content: IO[bytes]
    if entry.data is not None or layout.needs_mending(path):
        content = io.BytesIO(layout.mend(path, _data(entry)))
        info.size = len(content.getvalue())
    else:
        assert entry.source is not None
        found = entry.source.extractfile(old)
        assert found is not None
        content, info.size = found, old.size
    target.addfile(info, content)


def _data(entry: _Entry) -> bytes:
    if entry.data is not None:
        return entry.data
    assert entry.source is not None
    file = entry.source.extractfile(entry.info)
    assert file is not None
    return file.read()


def _kernels(tree: _Tree) -> tuple[str, ...]:
    names = [PurePosixPath(path) for path in tree.entries]
    return tuple(
        sorted(
            path.parts[3]
            for path in names
            if len(path.parts) == 5 and path.match("usr/lib/modules/*/vmlinuz")
        )
    )


def _packages(tree: _Tree) -> dict[str, str]:
    entry = tree.entries.get(f"{layout.DPKG}/status")
    return layout.parse_packages(_data(entry).decode()) if entry else {}
