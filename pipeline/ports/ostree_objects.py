# SPDX-License-Identifier: LGPL-2.1-or-later
"""Objects of an OSTree repository, one by one: directories and commits are made without a process.

Composing makes a tree out of directories that are there; the command would read all of them again.
What is written here is byte for byte what ``ostree`` writes of the same (a test compares), and each
object is there whole or not at all. Objects that no ref leads to are lost to a prune: hold
``Repo.without_prune`` from the look at them until a ref is set. Formats: ostree-core.h.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.ports.files import no_space
from pipeline.ports.ostree import BINDING_KEY, COMMIT_FORMAT, DIRMETA_FORMAT, Repo
from pipeline.words import dirtree, gvariant, gvariant_write
from pipeline.words.dirtree import Listing
from pipeline.words.disk_change import Meta
from pipeline.words.refs import Commit, RefName

_META = "user.ostreemeta"


class Missing(Exception):
    """An object is not in the repository, or damaged."""


class Objects:
    """The objects of a repository that is built in (``bare-user``)."""

    def __init__(self, repo: Repo) -> None:
        self.repo = repo
        self._top = f"{repo.path}/objects"

    def listing(self, tree: bytes) -> Listing:
        """Read one directory; raises Missing."""
        try:
            return dirtree.parse(self.path(tree, "dirtree").read_bytes())
        except (FileNotFoundError, ValueError) as error:
            raise Missing(f"directory object {tree.hex()}") from error

    def root(self, commit: Commit) -> tuple[bytes, bytes]:
        """Read (dirtree, dirmeta) of a commit's root; raises Missing."""
        try:
            data = self.path(bytes.fromhex(commit), "commit").read_bytes()
            parts = gvariant.decode(COMMIT_FORMAT, data)
        except (FileNotFoundError, ValueError) as error:
            raise Missing(f"commit {commit}") from error
        return parts[6], parts[7]

    def has(self, checksum: bytes, kind: str) -> bool:
        """Tell whether an object (``dirtree``, ``dirmeta``, ``file``) is here."""
        # Asked by the ten thousand, which is why it goes without Path.
        name = checksum.hex()
        return os.path.exists(f"{self._top}/{name[:2]}/{name[2:]}.{kind}")  # noqa: PTH110

    def is_symlink(self, checksum: bytes) -> bool:
        """Tell whether a file object is a symbolic link; raises Missing."""
        try:
            data = os.getxattr(self.path(checksum, "file"), _META)
        except OSError as error:
            raise Missing(f"file object {checksum.hex()}") from error
        _uid, _gid, mode, _xattrs = gvariant.decode(DIRMETA_FORMAT, data)
        return stat.S_ISLNK(gvariant.swapped(mode, 4))

    def meta(self, checksum: bytes, kind: str) -> Meta:
        """Read owner, mode and attributes of a ``file`` or a ``dirmeta`` object; raises Missing."""
        path = self.path(checksum, kind)
        try:
            data = path.read_bytes() if kind == "dirmeta" else os.getxattr(path, _META)
            uid, gid, mode, xattrs = gvariant.decode(DIRMETA_FORMAT, data)
        except (OSError, ValueError) as error:
            raise Missing(f"{kind} object {checksum.hex()}") from error
        return Meta(
            mode=gvariant.swapped(mode, 4),
            uid=gvariant.swapped(uid, 4),
            gid=gvariant.swapped(gid, 4),
            xattrs=tuple((bytes(name).rstrip(b"\0"), bytes(value)) for name, value in xattrs),
        )

    def size(self, checksum: bytes) -> int:
        """Tell the bytes of a file object; raises Missing."""
        try:
            return self.path(checksum, "file").stat().st_size
        except FileNotFoundError as error:
            raise Missing(f"file object {checksum.hex()}") from error

    def write_dirtree(self, data: bytes) -> bytes:
        """Write a directory, as ``dirtree.encode`` gives it; tells its checksum."""
        return self._write(data, "dirtree")

    def write_dirmeta(self, *, mode: int = 0o755, uid: int = 0, gid: int = 0) -> bytes:
        """Write a directory's mode and owner; tells its checksum."""
        numbers = [gvariant.swapped(one, 4) for one in (uid, gid, stat.S_IFDIR | mode)]
        return self._write(gvariant_write.encode(DIRMETA_FORMAT, (*numbers, [])), "dirmeta")

    def write_commit(
        self,
        tree: bytes,
        dirmeta: bytes,
        *,
        subject: str,
        body: str = "",
        metadata: Mapping[str, str] | None = None,
        parent: Commit | None = None,
        bind: Sequence[RefName] = (),
        time_s: int = 0,
    ) -> Commit:
        """Write a commit of a tree that is here, on no ref."""
        told: dict[str, Any] = {name: ("s", text) for name, text in (metadata or {}).items()}
        told[BINDING_KEY] = ("as", sorted(bind))
        value: tuple[Any, ...] = (
            told,
            bytes.fromhex(parent) if parent else b"",
            [],
            subject,
            body,
            gvariant.swapped(time_s, 8),
            tree,
            dirmeta,
        )
        return Commit(self._write(gvariant_write.encode(COMMIT_FORMAT, value), "commit").hex())

    def path(self, checksum: bytes, kind: str) -> Path:
        """Name the file that an object is or would be in."""
        name = checksum.hex()
        return Path(f"{self._top}/{name[:2]}/{name[2:]}.{kind}")

    def _write(self, data: bytes, kind: str) -> bytes:
        checksum = hashlib.sha256(data).digest()
        path = self.path(checksum, kind)
        if path.exists():
            return checksum
        with no_space(path, len(data)):
            path.parent.mkdir(exist_ok=True)
            handle, aside = tempfile.mkstemp(prefix="object-", dir=self.repo.path / "tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    os.fchmod(file.fileno(), 0o644)
                os.replace(aside, path)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise
        return checksum
