# SPDX-License-Identifier: LGPL-2.1-or-later
"""Files from servers, held against their checksum and kept under it for whoever wants them next.

A server is told apart that has not what was asked for (the manifest's mistake) and one that
cannot give it now. What is in the file is not known here.
"""

import errno
import hashlib
import http.client
import os
import tempfile
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import IO
from urllib.parse import quote, unquote, urlsplit

from pipeline.ports import process
from pipeline.ports.files import no_space, sha256_file
from pipeline.ports.log import Log
from pipeline.words.errors import Failed, Interrupted, Trouble

MOST_BYTES = 8 * 1024**3
_ANSWER_S = 60.0
_DOWNLOAD_S = 3600.0
_POLL_S = 0.2
_CHUNK = 1 << 20
_ABSENT = (404, 410)
_LET_PASS = "%/:?#[]@!$&'()*+,;=~"
"""What stands in a URL as it is (RFC 3986); all else is written as ``%XX``."""


def download(location: str, checksum: str, directory: Path, *, log: Log) -> Path:
    """Have the file of a URL or path with this SHA-256; tells where it lies.

    Raises Failed for another checksum, or what the server says it has not, else Trouble.
    """
    place = directory / checksum
    if place.is_file() and sha256_file(place) == checksum:
        return place
    local = _local(location)
    if local is not None:
        if not local.is_file():
            raise Failed("there is no such file", where=location)
        _compare(sha256_file(local), checksum, location)
        return local
    log.detail(f"$ GET {location}")
    directory.mkdir(parents=True, exist_ok=True)
    _sweep(directory)
    handle, name = tempfile.mkstemp(prefix=".download-", dir=directory)
    aside = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, no_space(place):
            _compare(_fetch(location, file), checksum, location)
        aside.rename(place)
    finally:
        aside.unlink(missing_ok=True)
    return place


def _sweep(directory: Path) -> None:
    """Remove what killed downloads left; no other is as old."""
    for left in directory.glob(".download-*"):
        with suppress(FileNotFoundError):  # somebody else sweeps, too, or has just finished
            if time.time() - left.stat().st_mtime > 2 * _DOWNLOAD_S:
                left.unlink()


def _local(location: str) -> Path | None:
    if location.startswith("/"):
        return Path(location)
    parts = urlsplit(location)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _compare(found: str, checksum: str, location: str) -> None:
    if found != checksum:
        raise Failed(
            f"has the checksum {found}, not {checksum}",
            where=location,
            hint="if the new content is the right one, write its checksum into the manifest",
        )


def _fetch(url: str, file: IO[bytes]) -> str:
    """Write what a URL gives to a file; tells its SHA-256. Ends soon after ``stop_all``.

    A thread of its own waits for the server: nothing else wakes from looking for its name, from
    connecting, or from a server that says nothing. Where it is left behind it ends with us.
    """
    found: Future[str] = Future()

    def work() -> None:
        try:
            found.set_result(_fetch_now(url, file))
        except BaseException as error:  # told by whoever waits for it
            found.set_exception(error)

    Thread(target=work, name="download", daemon=True).start()
    while not wait([found], timeout=_POLL_S).done:
        if process.is_stopping():
            raise Interrupted("stopped during a download", where=url)
    return found.result()


def _fetch_now(url: str, file: IO[bytes]) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Failed("only http and https are let through", where=url)
    try:
        with urllib.request.urlopen(quote(url, safe=_LET_PASS), timeout=_ANSWER_S) as answer:
            return _receive(answer, url, file)
    except urllib.error.HTTPError as error:
        kind = Failed if error.code in _ABSENT else Trouble
        with error:
            raise kind(f"the server answered {error.code} {error.reason}", where=url) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, OSError) as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = getattr(error, "reason", error)
        raise Trouble(f"cannot be downloaded: {reason}", where=url) from error


def _receive(answer: http.client.HTTPResponse, url: str, file: IO[bytes]) -> str:
    digest, size, until = hashlib.sha256(), 0, time.monotonic() + _DOWNLOAD_S
    promised = answer.length  # what is left to come, as the server has it; it counts down
    # By what has come, not by whole chunks: a slow server must not keep us from stopping.
    while data := answer.read1(_CHUNK):
        if process.is_stopping():
            raise Interrupted("stopped during a download", where=url)
        if time.monotonic() > until:
            raise Trouble(f"was not there after {_DOWNLOAD_S:.0f} s", where=url)
        size += len(data)
        if size > MOST_BYTES:
            raise Failed(f"has more than {MOST_BYTES} bytes", where=url)
        digest.update(data)
        file.write(data)
    if promised is not None and size < promised:
        raise Trouble(f"the download broke off after {size} of {promised} bytes", where=url)
    return digest.hexdigest()
