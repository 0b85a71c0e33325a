# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives as git: downloaded, held against their checksum, unpacked and committed.

An archive is hostile: a path that leads out of it, a device, a link to elsewhere written through,
or more than a component can sensibly have ends the import. The same archive gives the same
revision on every machine.
"""

import calendar
import errno
import hashlib
import http.client
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import unquote, urlsplit

from pipeline.ports import process
from pipeline.ports.files import no_space, remove_tree, sha256_file
from pipeline.ports.git_commands import IDENTITY, Git
from pipeline.words.errors import Failed, Interrupted, Trouble
from pipeline.words.manifest import Source, SourceKind
from pipeline.words.refs import Revision

BRANCH = "refs/heads/import"
MOST_BYTES = 8 * 1024**3
MOST_FILES = 500_000
_ANSWER_S = 60.0
_LATEST_S = 1 << 32
_DOWNLOAD_S = 3600.0
_ZSTD = b"\x28\xb5\x2f\xfd"
_UNREADABLE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,
    ValueError,
)
_CHUNK = 1 << 20


def import_archive(source: Source, mirror: Path, *, downloads: Path, git: Git) -> None:
    """Have an archive as a repository; does nothing where it is there.

    Raises Failed for a wrong checksum or a bad archive, Trouble for a server that is not reached.
    """
    if (mirror / "HEAD").is_file():
        return
    file = _download(source, downloads, git)
    making = mirror.with_suffix(".making")
    remove_tree(making)
    making.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="unpack-", dir=making.parent) as name:
        tree = Path(name) / "tree"
        tree.mkdir()
        with no_space(tree):
            time_s = unpack(file, tree, kind=source.kind, git=git)
        git.run(["init", "--quiet", "--bare", "--template=", making])
        told = f"Import of {PurePosixPath(source.location).name}"
        revision = commit_tree(single_top(tree), making, told, time_s=time_s, git=git)
        tag = f"refs/tags/{source.kind}-import-{source.checksum}"
        for ref in (BRANCH, tag):
            git.run(["--git-dir", making, "update-ref", ref, revision])
    making.rename(mirror)


def commit_tree(
    tree: Path,
    repository: Path,
    subject: str,
    *,
    time_s: int,
    git: Git,
    parent: Revision | None = None,
) -> Revision:
    """Commit a directory as it is, by a fixed person at a fixed time; on no ref."""
    attributes = repository / "info" / "attributes"
    attributes.parent.mkdir(exist_ok=True)
    # What the files themselves say of line ends and filters must not change them.
    attributes.write_text("* -text -filter -ident -working-tree-encoding\n")
    index = repository / "ostci-index"
    index.unlink(missing_ok=True)
    env = {"GIT_INDEX_FILE": str(index.absolute()), **IDENTITY}
    env |= dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), f"@{time_s} +0000")
    common: list[str | Path] = ["--git-dir", repository.absolute(), "--work-tree", tree]
    git.run([*common, "add", "--all", "--force", "--", "."], env=env, cwd=tree)
    written = git.run([*common, "write-tree"], env=env).text
    index.unlink()
    parents = ["-p", parent] if parent else []
    argv = [*common, "commit-tree", written, *parents, "-m", subject]
    return Revision(git.run(argv, env=env).text)


def single_top(tree: Path) -> Path:
    """Tell the one directory that holds everything, where there is one."""
    found = list(tree.iterdir())
    one = found[0] if len(found) == 1 else tree
    return one if one.is_dir() and not one.is_symlink() else tree


# Downloading


def _download(source: Source, downloads: Path, git: Git) -> Path:
    place = downloads / source.checksum
    if place.is_file() and sha256_file(place) == source.checksum:
        return place
    local = _local(source.location)
    if local is not None:
        if not local.is_file():
            raise Failed("there is no such file", where=source.location)
        _compare(sha256_file(local), source)
        return local
    git.log.detail(f"$ GET {source.location}")
    downloads.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".download-", dir=downloads)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, no_space(place):
            _compare(_fetch(source.location, file), source)
        aside.rename(place)
    finally:
        aside.unlink(missing_ok=True)
    return place


def _local(location: str) -> Path | None:
    if location.startswith("/"):
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _fetch(url: str, file: IO[bytes]) -> str:
    """Write what a URL gives to a file; tells its SHA-256."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise Failed("only http and https are let through", where=url)
    digest, size, until = hashlib.sha256(), 0, time.monotonic() + _DOWNLOAD_S
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:
            while data := answer.read(_CHUNK):
                if process.is_stopping():
                    raise Interrupted("stopped during a download", where=url)
                if time.monotonic() > until:
                    raise Trouble(f"was not there after {_DOWNLOAD_S:.0f} s", where=url)
                size += len(data)
                if size > MOST_BYTES:
                    raise Failed(f"has more than {MOST_BYTES} bytes", where=url)
                digest.update(data)
                file.write(data)
    except urllib.error.HTTPError as error:
        kind = Failed if error.code in (404, 410) else Trouble
        raise kind(f"the server answered {error.code} {error.reason}", where=url) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = getattr(error, "reason", error)
        raise Trouble(f"cannot be downloaded: {reason}", where=url) from error
    return digest.hexdigest()


def _compare(found: str, source: Source) -> None:
    if found != source.checksum:
        raise Failed(
            f"has the checksum {found}, not {source.checksum}",
            where=source.location,
            hint="if the new content is the right one, write its checksum into the manifest",
        )


# Unpacking


def unpack(file: Path, into: Path, *, kind: SourceKind, git: Git) -> int:
    """Unpack an archive into an empty directory; tells the time of the newest file in it.

    Raises Failed for one that is not as it should be.
    """
    room = _Room(into)
    try:
        if kind is SourceKind.ZIPFILE:
            _unpack_zip(file, room)
        else:
            with _tar(file, git) as archive:
                _unpack_tar(archive, room)
    except _UNREADABLE as error:
        raise Failed(f"is no archive that can be read: {error}", where=file.name) from error
    except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
        told = Path(str(error.filename)).name
        raise Failed(
            f"has a file and a directory of one name: {told!r}", where=file.name
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.EINVAL) and error.filename is not None:
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Failed(f"is no archive that can be read: {error}", where=file.name) from error
    except Failed as error:
        raise Failed(error.what, where=file.name) from error
    if not room.files:
        raise Failed("has no file in it", where=file.name)
    return min(room.newest, _LATEST_S)


@contextmanager
def _tar(file: Path, git: Git) -> Iterator[tarfile.TarFile]:
    with file.open("rb") as head:
        is_zstd = head.read(4) == _ZSTD
    if not is_zstd:
        with tarfile.open(file, "r:*") as archive:
            yield archive
        return
    argv: list[str | Path] = ["zstd", "--decompress", "--stdout", "--quiet", "--", file]
    with process.start(argv, log=git.log, grace_s=0.0) as child:
        assert child.stdout is not None
        # Read as it comes: a bomb is stopped by what its members say of their size.
        with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
            yield archive
        if child.poll() not in (None, 0):
            raise Failed("cannot be decompressed: damaged", where=file.name)


class _Room:
    """Where an archive may write, and how much; nothing is written through a link."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.files = 0
        self.newest = 0
        self._bytes = 0

    def place(self, name: str, size: int) -> Path | None:
        parts = [part for part in PurePosixPath(name).parts if part != "."]
        if name.startswith(("/", "\\")) or "\\.." in name or ".." in parts or "\0" in name:
            raise Failed(f"has a path that leads out of it: {name!r}")
        self._bytes += size
        self.files += 1
        if self._bytes > MOST_BYTES or self.files > MOST_FILES:
            raise Failed(f"has more than {MOST_BYTES} bytes or {MOST_FILES} files in it")
        if not parts or any(part.lower() in (".git", "git~1") for part in parts):
            return None  # somebody else's history, or hooks, is no source
        at = self.top
        for part in parts[:-1]:
            at = at / part
            if at.is_symlink():
                raise Failed(f"writes through its own link: {name!r}")
            at.mkdir(exist_ok=True)
        return at / parts[-1]


def _unpack_tar(archive: tarfile.TarFile, room: _Room) -> None:
    for member in archive:
        place = room.place(member.name, member.size)
        if place is None:
            continue
        if member.isdir():
            _directory(place, member.name)
        elif member.issym():
            _link(place, member.linkname, room)
        elif member.islnk():
            _same(place, member.linkname, room)
        elif member.isreg():
            found = archive.extractfile(member)
            assert found is not None
            _write(place, found, program=bool(member.mode & 0o111))
            room.newest = max(room.newest, int(member.mtime))
        else:
            raise Failed(f"has a device or the like in it: {member.name!r}")


def _unpack_zip(file: Path, room: _Room) -> None:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            place = room.place(member.filename, member.file_size)
            if place is None:
                continue
            mode = member.external_attr >> 16
            if member.is_dir():
                _directory(place, member.filename)
            elif stat.S_ISLNK(mode):
                _link(place, archive.read(member).decode(), room)
            else:
                with archive.open(member) as found:
                    _write(place, found, program=bool(mode & 0o111))
                if member.date_time[1]:  # some have none
                    room.newest = max(room.newest, calendar.timegm((*member.date_time, 0, 0, 0)))


def _directory(place: Path, name: str) -> None:
    if place.is_symlink():
        raise Failed(f"writes through its own link: {name!r}")
    place.mkdir(exist_ok=True)


def _same(place: Path, name: str, room: _Room) -> None:
    """Copy what a hard link names, which came before it."""
    there = room.place(name, 0)
    if there is None or there.is_symlink() or not there.is_file():
        raise Failed(f"has a link to nothing: {name!r}")
    if there != place:
        with there.open("rb") as found:
            _write(place, found, program=bool(there.stat().st_mode & 0o100))


def _link(place: Path, to: str, room: _Room) -> None:
    """Keep a symbolic link that stays within the archive; nobody follows it here."""
    inner = posixpath.normpath(posixpath.join(str(place.parent.relative_to(room.top)), to))
    if to != os.devnull and (to.startswith("/") or inner.split("/")[0] == ".."):
        raise Failed(f"has a link that leads out of it: {place.name!r} → {to!r}")
    place.unlink(missing_ok=True)
    place.symlink_to(to)


def _write(place: Path, content: IO[bytes], *, program: bool) -> None:
    if place.is_symlink() or place.is_file():
        place.unlink()
    with place.open("xb") as file:
        shutil.copyfileobj(content, file, _CHUNK)
    place.chmod(0o755 if program else 0o644)
