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

from pipeline.ports import imports
from pipeline.ports.files import sha256_file
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from tests.repos import closed_port, http_server

TIME_S = 1600000000


@pytest.fixture
def mirrors(tmp_path: Path, log: Log) -> Mirrors:
    return Mirrors(tmp_path / "mirrors", log=log)


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
    monkeypatch.setattr(imports, "MOST_BYTES", 1 << 20)
    bomb = tarball(tmp_path / "bomb.tar", ("zeros", bytes(4 << 20)), mode="w")
    program = {"xz": ["xz", "-q"], "zst": ["zstd", "-q"]}[ending]
    subprocess.run([*program, bomb], check=True)
    with pytest.raises(Failed, match="has more than 1048576 bytes"):
        mirrors.fetch(source(tmp_path / f"bomb.tar.{ending}"))


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


def test_an_archive_is_downloaded_once_for_all_work_directories(tmp_path: Path, log: Log) -> None:
    there = tmp_path / "there"
    there.mkdir()
    path = tarball(there / "zlib.tar", *USUAL)
    with http_server(there) as url:
        given = source(path, location=f"{url}/zlib.tar")
        Mirrors(tmp_path / "a", log=log, downloads=tmp_path / "kept").fetch(given)
        bad = source(path, location=f"{url}/zlib.tar", checksum="1" * 64)
        with pytest.raises(Failed, match="has the checksum"):
            Mirrors(tmp_path / "a", log=log, downloads=tmp_path / "kept").fetch(bad)
        missing = source(path, location=f"{url}/none.tar", checksum="2" * 64)
        with pytest.raises(Failed, match="the server answered 404"):
            Mirrors(tmp_path / "a", log=log, downloads=tmp_path / "kept").fetch(missing)
    Mirrors(tmp_path / "b", log=log, downloads=tmp_path / "kept").fetch(given)
    assert [one.name for one in (tmp_path / "kept").iterdir()] == [given.checksum]


def test_a_dead_server_of_archives_is_trouble(mirrors: Mirrors, tmp_path: Path) -> None:
    path = tarball(tmp_path / "zlib.tar", *USUAL)
    url = f"http://127.0.0.1:{closed_port()}/zlib.tar"
    with pytest.raises(Trouble, match="cannot be downloaded"):
        mirrors.fetch(source(path, location=url))
