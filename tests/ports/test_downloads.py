# SPDX-License-Identifier: LGPL-2.1-or-later
"""Archives come from servers that are slow, lie, break off, or are not there."""

import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipeline.ports.files import sha256_file
from pipeline.ports.git import Mirrors
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Trouble
from pipeline.words.manifest import Source, SourceKind
from tests.repos import closed_port, http_server


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """A directory with an archive in it."""
    there = tmp_path / "there"
    there.mkdir()
    with tarfile.open(there / "zlib.tar", "w") as archive:
        entry = tarfile.TarInfo("zlib/README")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"read\n"))
    return there


def source(location: str, checksum: str) -> Source:
    return Source(kind=SourceKind.TARBALL, location=location, checksum=checksum)


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """Answer each connection with bytes, and close it; tells the URL."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for answer in answers:
                connection, _ = server.accept()
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_an_archive_is_downloaded_once_for_all_work_directories(
    tmp_path: Path, served: Path, log: Log
) -> None:
    kept = tmp_path / "kept"
    with http_server(served) as url:
        given = source(f"{url}/zlib.tar", sha256_file(served / "zlib.tar"))
        Mirrors(tmp_path / "a", log=log, downloads=kept).fetch(given)
    Mirrors(tmp_path / "b", log=log, downloads=kept).fetch(given)
    assert [one.name for one in kept.iterdir()] == [given.checksum]


def test_what_was_downloaded_and_spoilt_is_downloaded_anew(
    tmp_path: Path, served: Path, log: Log
) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    with http_server(served) as url:
        given = source(f"{url}/zlib.tar", sha256_file(served / "zlib.tar"))
        (kept / given.checksum).write_text("spoilt")
        Mirrors(tmp_path / "a", log=log, downloads=kept).fetch(given)
    assert sha256_file(kept / given.checksum) == given.checksum


def test_a_wrong_checksum_leaves_nothing_behind(tmp_path: Path, served: Path, log: Log) -> None:
    kept = tmp_path / "kept"
    with http_server(served) as url, pytest.raises(Failed, match="has the checksum") as wrong:
        Mirrors(tmp_path / "a", log=log, downloads=kept).fetch(source(f"{url}/zlib.tar", "1" * 64))
    assert wrong.value.where.endswith("/zlib.tar")
    assert not list(kept.iterdir())


def test_what_a_killed_download_left_is_swept_away(tmp_path: Path, served: Path, log: Log) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    for name, time_s in ((".download-old", 1), (".download-new", time.time())):
        (kept / name).write_text("half")
        os.utime(kept / name, (time_s, time_s))
    with http_server(served) as url:
        given = source(f"{url}/zlib.tar", sha256_file(served / "zlib.tar"))
        Mirrors(tmp_path / "a", log=log, downloads=kept).fetch(given)
    assert {one.name for one in kept.iterdir()} == {".download-new", given.checksum}


def test_what_a_server_has_not_is_the_manifests_fault(mirrors: Mirrors, served: Path) -> None:
    with http_server(served) as url, pytest.raises(Failed, match="the server answered 404"):
        mirrors.fetch(source(f"{url}/none.tar", "2" * 64))


def test_a_server_that_is_unwell_is_trouble(mirrors: Mirrors) -> None:
    answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as url, pytest.raises(Trouble, match="the server answered 503"):
        mirrors.fetch(source(f"{url}/zlib.tar", "3" * 64))


BROKEN = {
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
    "nothing": b"",
    "no http": b"SSH-2.0-OpenSSH_9\r\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_breaks_off_is_trouble_and_no_wrong_checksum(
    mirrors: Mirrors, name: str
) -> None:
    with (
        answering(BROKEN[name]) as url,
        pytest.raises(Trouble, match=r"cannot be downloaded|broke off"),
    ):
        mirrors.fetch(source(f"{url}/zlib.tar", "4" * 64))


def test_a_redirection_cannot_lead_to_files_of_this_machine(mirrors: Mirrors) -> None:
    answer = b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n"
    with answering(answer) as url, pytest.raises((Failed, Trouble), match=r"302|redirect"):
        mirrors.fetch(source(f"{url}/zlib.tar", "5" * 64))


def test_a_url_may_have_letters_that_are_not_ascii(mirrors: Mirrors, served: Path) -> None:
    (served / "zlib.tar").rename(served / "zlib é.tar")
    checksum = sha256_file(served / "zlib é.tar")
    with http_server(served) as url:
        mirrors.fetch(source(f"{url}/zlib%20é.tar", checksum))


def test_a_dead_server_of_archives_is_trouble(mirrors: Mirrors) -> None:
    url = f"http://127.0.0.1:{closed_port()}/zlib.tar"
    with pytest.raises(Trouble, match="cannot be downloaded") as dead:
        mirrors.fetch(source(url, "6" * 64))
    assert dead.value.where == url


def test_a_file_that_is_not_there_is_named(mirrors: Mirrors, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="there is no such file"):
        mirrors.fetch(source(f"file://{tmp_path}/none.tar", "7" * 64))


SILENT = """
import signal, sys, time
from pathlib import Path
from pipeline.ports import process
from pipeline.ports.downloads import download
from pipeline.ports.log import Log
from pipeline.words.errors import Interrupted

signal.signal(signal.SIGINT, lambda *_: process.stop_all())
try:
    download(sys.argv[1], "8" * 64, Path(sys.argv[2]), log=Log())
except Interrupted as error:
    print(error, flush=True)
"""


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf"])
def test_ctrl_c_ends_a_download_from_a_server_that_says_nothing_more(
    tmp_path: Path, said: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/zlib.tar"
        argv = [sys.executable, "-c", SILENT, url, str(tmp_path / "kept")]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(said)
                stopped = time.monotonic()
                child.send_signal(signal.SIGINT)
                out, _ = child.communicate(timeout=50)
    assert "stopped during a download" in out
    # Far from the minute that a server has to answer in; it takes a fifth of a second alone.
    assert time.monotonic() - stopped < 20
    assert not list((tmp_path / "kept").iterdir())
