# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives become git: verified, unpacked within bounds, and the same on every machine."""

import io
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports import unpacking
from pipeline.ports.files import sha256_file
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.errors import Failed
from pipeline.words.manifest import Source, SourceKind

TIME_S = 1600000000


def source(path: Path, kind: SourceKind = SourceKind.TARBALL, **given: str) -> Source:
    values: dict[str, Any] = {"location": str(path), "checksum": sha256_file(path), **given}
    return Source(kind=kind, **values)


def tarball(path: Path, *members: tuple[str, bytes | str], mode: str = "w:xz") -> Path:
    """Make an archive; bytes are a file's content, ``-> x`` a link, ``= x`` a hard one."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, what in members:
            entry = tarfile.TarInfo(name)
            entry.mtime = TIME_S
            data = b""
            if isinstance(what, bytes):
                entry.size, data = len(what), what
                entry.mode = 0o755 if what.startswith(b"#!") else 0o640
            elif what.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, what[3:]
            elif what.startswith("= "):
                entry.type, entry.linkname = tarfile.LNKTYPE, what[2:]
            else:
                entry.type = what.encode()
            archive.addfile(entry, io.BytesIO(data))
    return path


USUAL: tuple[tuple[str, bytes | str], ...] = (
    ("zlib-1.2/README", b"read\r\nme\n"),
    ("zlib-1.2/.gitattributes", b"* text=auto eol=lf\n*.c filter=evil\n"),
    ("zlib-1.2/.gitignore", b"ignored.c\n"),
    ("zlib-1.2/ignored.c", b"int x; /* $Id$ */\n"),
    ("zlib-1.2/configure", b"#!/bin/sh\n"),
    ("zlib-1.2/link", "-> README"),
    ("zlib-1.2/same", "= zlib-1.2/configure"),
    ("zlib-1.2/.git/hooks/post-checkout", b"#!/bin/sh\n"),
)


def files_of(top: Path) -> list[str]:
    return sorted(str(p.relative_to(top)) for p in top.rglob("*") if not p.is_dir())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_tarball_is_checked_out_as_it_was(mirrors: Mirrors, tmp_path: Path, mode: str) -> None:
    given = source(tarball(tmp_path / "zlib.tar", *USUAL, mode=mode))
    mirrors.fetch(given)
    pin = mirrors.pin(given)
    assert pin.commit_time == TIME_S
    out = tmp_path / "out"
    mirrors.check_out(given, pin, out)
    names = [".gitattributes", ".gitignore", "README", "configure", "ignored.c", "link", "same"]
    assert files_of(out) == names
    assert (out / "README").read_bytes() == b"read\r\nme\n"
    assert (out / "ignored.c").read_bytes() == b"int x; /* $Id$ */\n"
    assert os.access(out / "same", os.X_OK) and not os.access(out / "link", os.X_OK)
    assert str((out / "link").readlink()) == "README"


def test_a_zstd_tarball_is_unpacked(mirrors: Mirrors, tmp_path: Path) -> None:
    plain = tarball(tmp_path / "zlib.tar", *USUAL, mode="w")
    subprocess.run(["zstd", "-q", plain], check=True)
    given = source(tmp_path / "zlib.tar.zst")
    mirrors.fetch(given)
    assert mirrors.pin(given).tree == _tree_of(mirrors, source(plain))


def _tree_of(mirrors: Mirrors, given: Source) -> str:
    mirrors.fetch(given)
    return mirrors.pin(given).tree


def test_the_same_archive_is_the_same_revision_anywhere(tmp_path: Path, log: Log) -> None:
    given = source(tarball(tmp_path / "zlib.tar", *USUAL))
    found = set()
    for name in ("here", "there"):
        mirrors = Mirrors(tmp_path / name, log=log)
        mirrors.fetch(given)
        found.add(mirrors.pin(given).revision)
    assert len(found) == 1
    tags = subprocess.run(
        ["git", "--git-dir", mirrors.path(given), "tag"], capture_output=True, text=True
    )
    assert tags.stdout.split() == [f"tarball-import-{given.checksum}"]


def test_what_a_killed_import_left_goes_with_the_next(mirrors: Mirrors, tmp_path: Path) -> None:
    given = source(tarball(tmp_path / "zlib.tar", *USUAL))
    for ending in (".unpacking", ".making"):
        left = mirrors.path(given).with_suffix(ending)
        (left / "zlib-1.2").mkdir(parents=True)
        (left / "zlib-1.2" / "half").write_text("half")
    mirrors.fetch(given)
    mirrors.check_out(given, mirrors.pin(given), tmp_path / "out")
    assert not (tmp_path / "out" / "half").exists()
    names = {path.suffix for path in mirrors.path(given).parent.iterdir()}
    assert names == {".git", ".lock"}


def test_a_zip_is_unpacked_with_its_links_and_programs(mirrors: Mirrors, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        run = zipfile.ZipInfo("top/run")
        run.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(run, "#!/bin/sh\n")
        link = zipfile.ZipInfo("top/link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "run")
        archive.writestr("top/file", "x")
    given = source(path, SourceKind.ZIPFILE)
    mirrors.fetch(given)
    mirrors.check_out(given, mirrors.pin(given), tmp_path / "out")
    assert files_of(tmp_path / "out") == ["file", "link", "run"]
    assert os.access(tmp_path / "out" / "run", os.X_OK)
    assert (tmp_path / "out" / "link").is_symlink()


HOSTILE: dict[str, tuple[tuple[tuple[str, bytes | str], ...], str]] = {
    "absolute": ((("/etc/passwd", b"x"),), "a path that leads out of it"),
    "up": ((("a/../../x", b"x"),), "a path that leads out of it"),
    "link out": ((("a/link", "-> ../../etc"),), "a link that leads out of it"),
    "absolute link": ((("link", "-> /etc/passwd"),), "a link that leads out of it"),
    "through a link": ((("a", "-> b"), ("a/x", b"x")), "writes through its own link"),
    "directory on a link": ((("a", "-> b"), ("a", "5")), "writes through its own link"),
    "hard link out": ((("a", "= ../../etc/passwd"),), "a path that leads out of it"),
    "hard link to nothing": ((("a", "= nothing"),), "a link to nothing"),
    "device": ((("null", "3"),), "a device"),
    "fifo": ((("pipe", "6"),), "a device"),
    "file and directory": ((("a", b"x"), ("a/b", b"y")), "a file and a directory of one name"),
    "nothing": ((), "no file in it"),
    "empty link": ((("a", "-> "),), "a link to nowhere"),
    "long link": ((("a", "-> " + "x" * 5000),), "a name that cannot be"),
    "long name": ((("a" * 300, b"x"),), "a name that cannot be"),
    "long path": ((("/".join(["a" * 200] * 30), b"x"),), "a name that cannot be"),
    "nested deep": ((("/".join(["a"] * 300), b"x"),), "nested deeper than 200"),
    "odd link": ((("a", "-> b\udcff"), ("a/x", b"x")), "writes through its own link"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_tarball_is_refused(mirrors: Mirrors, tmp_path: Path, name: str) -> None:
    members, told = HOSTILE[name]
    given = source(tarball(tmp_path / "evil.tar", *members))
    with pytest.raises(Failed, match=told) as refused:
        mirrors.fetch(given)
    assert refused.value.where == "evil.tar"
    assert not mirrors.path(given).exists()
    assert [p.name for p in mirrors.path(given).parent.iterdir() if p.suffix != ".lock"] == []


def test_a_zip_that_leads_out_is_refused(mirrors: Mirrors, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        archive.writestr("../x", "x")
    with pytest.raises(Failed, match="a path that leads out of it"):
        mirrors.fetch(source(tmp_path / "evil.zip", SourceKind.ZIPFILE))


@pytest.mark.parametrize("ending", ["xz", "zst"])
def test_a_bomb_is_refused(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1 << 20)
    bomb = tarball(tmp_path / "bomb.tar", ("zeros", bytes(4 << 20)), mode="w")
    program = {"xz": ["xz", "-q"], "zst": ["zstd", "-q"]}[ending]
    subprocess.run([*program, bomb], check=True)
    with pytest.raises(Failed, match="has more than 1048576 bytes"):
        mirrors.fetch(source(tmp_path / f"bomb.tar.{ending}"))


def test_hard_links_count_by_what_they_copy(
    mirrors: Mirrors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "MOST_BYTES", 1 << 20)
    links: list[tuple[str, bytes | str]] = [(f"link{n}", "= zeros") for n in range(20)]
    bomb = tarball(tmp_path / "bomb.tar", ("zeros", bytes(100_000)), *links)
    with pytest.raises(Failed, match="has more than 1048576 bytes"):
        mirrors.fetch(source(bomb))


def test_a_header_is_not_read_into_memory_whatever_it_says_of_its_size(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    entry = tarfile.TarInfo("././@LongLink")
    entry.type, entry.size = tarfile.GNUTYPE_LONGNAME, 64 << 20
    path = tmp_path / "bomb.tar"
    path.write_bytes(entry.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    subprocess.run(["truncate", "--size=70M", path], check=True)
    subprocess.run(["xz", "-q", path], check=True)
    with pytest.raises(Failed, match="has a header of 67108864 bytes"):
        mirrors.fetch(source(tmp_path / "bomb.tar.xz"))


@pytest.mark.parametrize("time_s", ["inf", "nan", "-5", "1e300"])
def test_a_time_that_is_none_is_not_believed(mirrors: Mirrors, tmp_path: Path, time_s: str) -> None:
    path = tmp_path / "time.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        entry = tarfile.TarInfo("file")
        entry.size, entry.pax_headers = 1, {"mtime": time_s}
        archive.addfile(entry, io.BytesIO(b"x"))
    mirrors.fetch(source(path))
    assert 0 <= mirrors.pin(source(path)).commit_time <= 1 << 32


def test_a_link_in_a_zip_is_not_read_into_memory_whatever_its_size(
    mirrors: Mirrors, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, b"a" * 100_000, zipfile.ZIP_DEFLATED)
    with pytest.raises(Failed, match="has a link of 100000 characters"):
        mirrors.fetch(source(tmp_path / "evil.zip", SourceKind.ZIPFILE))


def test_a_zip_with_a_password_is_refused(mirrors: Mirrors, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    path = tmp_path / "secret.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("file", "x")
    data = bytearray(path.read_bytes())
    for mark in (b"PK\x03\x04", b"PK\x01\x02"):
        data[data.index(mark) + (6 if mark[2] == 3 else 8)] |= 1
    path.write_bytes(data)
    with pytest.raises(Failed, match=r"is no archive that can be read: .*encrypted"):
        mirrors.fetch(source(path, SourceKind.ZIPFILE))


def test_what_an_archive_holds_of_git_is_left_out(mirrors: Mirrors, tmp_path: Path) -> None:
    names = (".git/hooks/x", "sub/.GIT/config", "sub/git~1/x", ".gitmodules", "sub/file")
    given = source(tarball(tmp_path / "a.tar", *((name, b"x") for name in names)))
    mirrors.fetch(given)
    mirrors.check_out(given, mirrors.pin(given), tmp_path / "out")
    assert files_of(tmp_path / "out") == [".gitmodules", "sub/file"]


def test_a_zstd_tarball_that_is_damaged_is_refused(mirrors: Mirrors, tmp_path: Path) -> None:
    plain = tarball(tmp_path / "zlib.tar", ("big", os.urandom(10_240)), ("small", b"x"), mode="w")
    whole = tmp_path / "whole.tar.zst"
    subprocess.run(["zstd", "-q", plain, "-o", whole], check=True)
    for cut in (50, 5_000, whole.stat().st_size - 2):
        path = tmp_path / f"cut{cut}.tar.zst"
        path.write_bytes(whole.read_bytes()[:cut])
        with pytest.raises(Failed, match=r"cannot be decompressed|no archive that can be read"):
            mirrors.fetch(source(path))


def damaged_gzip(path: Path) -> None:
    tarball(path, *USUAL, ("big", os.urandom(100_000)), mode="w:gz")
    path.write_bytes(path.read_bytes()[:50_000])


def cut_short(path: Path) -> None:
    tarball(path, *USUAL, ("big", os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])


@pytest.mark.parametrize(
    "make", [damaged_gzip, cut_short, lambda path: path.write_text("no archive\n")]
)
def test_what_is_no_archive_is_refused(
    mirrors: Mirrors, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "bad.tar")
    with pytest.raises(Failed, match="is no archive that can be read"):
        mirrors.fetch(source(tmp_path / "bad.tar"))


def test_a_wrong_checksum_is_told_with_both(mirrors: Mirrors, tmp_path: Path) -> None:
    path = tarball(tmp_path / "zlib.tar", *USUAL)
    right, wrong = sha256_file(path), "0" * 64
    with pytest.raises(Failed, match=f"has the checksum {right}, not {wrong}") as refused:
        mirrors.fetch(source(path, checksum=wrong))
    assert "write its checksum into the manifest" in refused.value.hint
