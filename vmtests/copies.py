# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files into the guest and out of it, byte for byte, in pieces, and no more than was agreed.

The guest needs sh, head and dd for files, tar for directories. What comes out of it is hostile:
it is bounded, and unpacked as a stranger's archive is.
"""

import io
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.ports.files import no_space, write_bytes
from pipeline.words.errors import Failed
from pipeline.words.manifest import SourceKind
from vmtests.commands import Commands, ending
from vmtests.following import GuestFailed

MOST_BYTES = 64 * 1024**2
_PIECE_IN = 1024**2
_BLOCK = 1024**2
_PIECE_OUT = 4 * _BLOCK
_COPY_S = 30.0


class Copies(Commands):
    """The verbs that move files."""

    def read_file(self, path: str, *, limit: int = MOST_BYTES, timeout_s: float = _COPY_S) -> bytes:
        """Read a file of the guest; raises GuestFailed for one with more than ``limit`` bytes."""
        with self._log.step(f"read {path}", about=self.name):
            return b"".join(self._pieces(path, limit, timeout_s))

    def write_file(
        self,
        path: str,
        data: bytes | str,
        *,
        mode: int | None = None,
        timeout_s: float = _COPY_S,
    ) -> None:
        """Write a file in the guest, over what is there; its directory has to be there."""
        content = data.encode() if isinstance(data, str) else data
        with self._log.step(f"write {path} ({len(content)} bytes)", about=self.name):
            until = time.monotonic() + timeout_s * self.speed
            for at in range(0, max(1, len(content)), _PIECE_IN):
                to = ">>" if at else ">"
                piece = content[at : at + _PIECE_IN]
                self._piece(f"write {path}", f"cat {to}{shlex.quote(path)}", until, piece)
            if mode is not None:
                self.succeeds(["chmod", f"{mode:o}", path])

    def copy_in(self, source: Path, path: str, *, timeout_s: float = _COPY_S) -> None:
        """Copy a file of this machine, or a directory with all below it, to a path in the guest.

        Modes go with it; owners become root. A directory is made where there is none.
        """
        with self._log.step(f"copy {source} to {path}", about=self.name):
            if not source.is_dir():
                mode = source.stat().st_mode & 0o777
                self.write_file(path, source.read_bytes(), mode=mode, timeout_s=timeout_s)
                return
            archive = f"{path.rstrip('/')}/.ostci-{time.monotonic_ns()}.tar"
            self.succeeds(["mkdir", "-p", path])
            self.write_file(archive, _packed(source), timeout_s=timeout_s)
            where, place = shlex.quote(archive), shlex.quote(path)
            script = f"tar -xf {where} -C {place}; code=$?; rm -f {where}; exit $code\n"
            self._piece(f"unpack {path}", script, time.monotonic() + timeout_s * self.speed)

    def copy_out(
        self,
        path: str,
        target: Path,
        *,
        limit: int = MOST_BYTES,
        timeout_s: float = _COPY_S,
    ) -> None:
        """Copy a file of the guest, or a directory, to a path here that is not there yet.

        Raises GuestFailed for more than ``limit`` bytes, and for a directory with devices or
        with links that lead out of it.
        """
        with self._log.step(f"copy {path} to {target}", about=self.name):
            if target.exists():
                raise FileExistsError(f"{target} is there already")
            place = shlex.quote(path)
            if self._ask(f"look at {path}", f"[ -d {place} ]", timeout_s).code != 0:
                write_bytes(target, b"".join(self._pieces(path, limit, timeout_s)))
                return
            archive = f"{_beside(path)}.tar"
            where = shlex.quote(archive)
            until = time.monotonic() + timeout_s * self.speed
            # No more than the limit is ever written there: its disk may be small.
            script = f"tar -cf - -C {place} . | head -c {limit + 1} >{where}\n"
            try:
                self._piece(f"pack {path}", script, until)
                self._unpack(archive, target, limit, timeout_s)
            finally:
                if self.is_alive():
                    self._ask("remove the archive", f"rm -f {where}", timeout_s)

    def _unpack(self, archive: str, target: Path, limit: int, timeout_s: float) -> None:
        # Not before: the guest is started when this module is loaded.
        import tempfile

        from pipeline.ports.unpacking import unpack

        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".copy-") as name:
            file, into = Path(name) / "archive.tar", Path(name) / "tree"
            with file.open("wb") as out, no_space(file.parent, limit):
                for piece in self._pieces(archive, limit, timeout_s):
                    out.write(piece)
            into.mkdir(mode=0o755)
            try:
                unpack(file, into, kind=SourceKind.TARBALL, log=self._log, most=limit)
            except Failed as error:
                raise GuestFailed(f"what was to be copied {error.what}") from error
            into.rename(target)

    def _pieces(self, path: str, limit: int, timeout_s: float) -> Iterator[bytes]:
        until = time.monotonic() + timeout_s * self.speed
        place, title = shlex.quote(path), f"read {path}"
        got = 0
        while True:
            # What is no regular file gives what it wants at a time: only head asks again.
            script = f"head -c {_PIECE_OUT} <{place}\n"
            if got:
                blocks = _PIECE_OUT // _BLOCK
                script = f"dd bs={_BLOCK} skip={got // _BLOCK} count={blocks} <{place}\n"
            piece = self._piece(title, script, until)
            got += len(piece)
            if got > limit:
                raise GuestFailed(f"{path} has more than {limit} bytes")
            yield piece
            if len(piece) < _PIECE_OUT:
                return

    def _piece(self, title: str, script: str, until: float, data: bytes = b"") -> bytes:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise GuestFailed(f"{title}: it takes too long")
        done = self._ask(title, script, left_s / self.speed, data)
        if done.code != 0:
            raise GuestFailed(f"{title}: {ending(done)}")
        return done.stdout


def _beside(path: str) -> str:
    """Name a file in the same directory, which has the room if any has."""
    parent, _, name = path.rstrip("/").rpartition("/")
    return f"{parent}/.{name}.ostci-{time.monotonic_ns()}"


def _packed(source: Path) -> bytes:
    import tarfile

    def as_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.add(source, arcname=".", filter=as_root)
    return made.getvalue()
