# SPDX-License-Identifier: LGPL-2.1-or-later
"""A parcel of somebody hostile writes nothing outside its place and no more than it may."""

import io
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.ports.parcel import NotAParcel, unpack

OBJECT = f"repo/objects/ab/{'c' * 62}.filez"


def add(tar: tarfile.TarFile, name: str, data: bytes = b"", **given: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in given.items():
        setattr(info, key, value)
    tar.addfile(info, io.BytesIO(data))


def bomb(tar: tarfile.TarFile) -> None:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    data = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64)) + deflate.flush()
    assert len(data) < 1 << 20
    add(tar, OBJECT, struct.pack(">I4x", 16) + bytes(16) + data)


@pytest.mark.parametrize(
    ("fill", "words"),
    [
        (lambda tar: add(tar, "../evil", b"x"), "belongs to nothing"),
        (lambda tar: add(tar, "files/../../evil", b"x"), "belongs to nothing"),
        (lambda tar: add(tar, "/etc/evil", b"x"), "belongs to nothing"),
        (lambda tar: add(tar, "repo/config", b"x"), "belongs to nothing"),
        (lambda tar: add(tar, "files/a", type=tarfile.SYMTYPE, linkname="/etc"), "no plain file"),
        (lambda tar: add(tar, "files/a", type=tarfile.LNKTYPE, linkname="x"), "no plain file"),
        (lambda tar: add(tar, "files/a", type=tarfile.CHRTYPE), "no plain file"),
        (lambda tar: add(tar, "files/a", bytes(1 << 21)), "has more than 1048576 bytes"),
        (bomb, "holds more than all may"),
        (lambda tar: add(tar, OBJECT, struct.pack(">I4x", 0) + b"\xff\xff"), "is damaged"),
        (lambda tar: add(tar, "files/a"), "it has no offer.json"),
    ],
)
def test_it_is_refused(tmp_path: Path, fill: Callable[[tarfile.TarFile], None], words: str) -> None:
    file = tmp_path / "parcel.tar"
    with tarfile.open(file, "w") as tar:
        fill(tar)
    with pytest.raises(NotAParcel, match=words):
        unpack(file, tmp_path / "in" / "to", index="offer.json", most=1 << 20)
    assert not list(tmp_path.rglob("evil"))


def test_what_is_no_tar_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "parcel.tar"
    file.write_bytes(b"no tar at all" * 100)
    with pytest.raises(NotAParcel, match="no whole tar"):
        unpack(file, tmp_path / "into", index="offer.json", most=1 << 20)


def test_a_good_one_is_unpacked(tmp_path: Path) -> None:
    file = tmp_path / "parcel.tar"
    with tarfile.open(file, "w") as tar:
        add(tar, "offer.json", b"{}")
        add(tar, "files/deep/log.txt", b"a log\n")
    unpack(file, tmp_path / "into", index="offer.json", most=1 << 20)
    assert (tmp_path / "into" / "files" / "deep" / "log.txt").read_text() == "a log\n"
