# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small HTTP server of static files, for a laptop and for tests.

What it serves was made by strangers: logs and evidence never run in a browser, and no link leads
out of what is shown. It knows two things about OSTree: that objects never change, and that
``summary`` and its signature belong together. A client that asks for the signature and then, over
the same connection, for the summary gets the two that belong together, whatever was renamed
between.
"""

import email.utils
import hashlib
import html
import os
import re
import socket
import stat
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pipeline.ports.log import Log
from pipeline.words.errors import BadInput, Trouble

_TEXT = "text/plain; charset=utf-8"
_BYTES = "application/octet-stream"
_TYPES = {
    **dict.fromkeys((".txt", ".log", ".xml", ".yaml", ".conf", ".asc", ".tap", ".diff"), _TEXT),
    ".json": "application/json",
    ".png": "image/png",
}
_IDLE_S = 60.0
_TRIES = 3
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


@dataclass(frozen=True, kw_only=True)
class Mount:
    """A directory that is shown. ``only``: nothing but these names in it; empty: all of it."""

    root: Path
    only: frozenset[str] = frozenset()
    listed: bool = True
    """Whether people may look around in it."""
    repository: bool = False
    """Whether it is one of OSTree's."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What is served: first part of the path → a directory, or a text that is kept here."""

    mounts: Mapping[str, Mount] = field(default_factory=dict)
    pages: Mapping[str, bytes] = field(default_factory=dict)
    title: str = "ostci"


def parse_address(text: str) -> tuple[str, int]:
    """Read ``HOST:PORT``; raises BadInput for what is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadInput(f"not an address to listen on: {text!r}", hint="such as 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    return host in _LOOPBACK


@contextmanager
def serving(address: str, site: Site, *, log: Log) -> Iterator[str]:
    """Serve for the length of the ``with``; tells the URL. Port 0 takes any that is free."""
    host, port = parse_address(address)
    try:
        server = _Server((host, port), site, log)
    except OSError as error:
        raise Trouble(
            f"cannot listen on {address}: {error.strerror or error}",
            hint="choose another one: ostci serve --address 127.0.0.1:8081",
        ) from error
    with answering(server, host) as place:
        yield f"http://{place}"


@contextmanager
def answering(server: ThreadingHTTPServer, host: str) -> Iterator[str]:
    """Answer requests for the length of the ``with``; tells ``HOST:PORT`` as a URL has it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"{shown}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that keeps its connection open must not keep us from ending.
    block_on_close = False

    def __init__(self, address: tuple[str, int], site: Site, log: Log) -> None:
        self.site = site
        self.log = log
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, _Handler)


@dataclass(frozen=True, kw_only=True)
class _Answer:
    """What is sent: an open file, its size, and what it is."""

    file: BinaryIO
    size: int
    kind: str
    tag: str
    changed: float | None = None
    lasting: bool = False


class _Missing(Exception):
    """There is nothing of that name, or nothing that may be seen."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "ostci"
    sys_version = ""
    timeout = _IDLE_S
    # Head and body in one packet at once: else each of 10,000 small objects waits for a delayed
    # acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    _summary: bytes | None = None
    """The summary that belongs to the signature this connection was given last."""

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, format: str, *args: object) -> None:
        # Control characters of strangers do not reach our log.
        words = ascii(format % args)[1:-1]
        self.server.log.detail(f"{self.address_string()} {words}", about="http")

    def _answer(self, *, body: bool) -> None:
        try:
            with self._open() as answer:
                self._send(answer, body=body)
        except _Missing:
            self._refuse(HTTPStatus.NOT_FOUND, body=body)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True  # the client has gone; that is its right

    @contextmanager
    def _open(self) -> Iterator[_Answer]:
        parts = _split(self.path)
        first, rest = (parts[0], parts[1:]) if parts else ("", [])
        site = self.server.site
        if not parts:
            yield _page(_index(site.title, "/", [*site.pages, *(f"{n}/" for n in site.mounts)]))
        elif not rest and first in site.pages:
            yield _kept(site.pages[first], _kind_of(first))
        elif first in site.mounts:
            with self._open_below(site.mounts[first], rest) as answer:
                yield answer
        else:
            raise _Missing

    @contextmanager
    def _open_below(self, mount: Mount, rest: list[str]) -> Iterator[_Answer]:
        if mount.repository and rest in (["summary"], ["summary.sig"]):
            yield self._summary_or_signature(mount.root, rest[0])
            return
        if mount.only and rest and rest[0] not in mount.only:
            raise _Missing
        path = _inside(mount.root, rest)
        if path.is_dir():
            if not mount.listed or (rest and not self.path.partition("?")[0].endswith("/")):
                yield from self._only_with_slash(mount)
                return
            yield _page(_index(self.server.site.title, self.path, _names(path)))
            return
        with _opened(path) as file:
            found = os.fstat(file.fileno())
            lasting = mount.repository and rest[0] in ("objects", "deltas")
            yield _Answer(
                file=file,
                size=found.st_size,
                kind=_BYTES if mount.repository else _kind_of(path.name),
                tag=f'"{found.st_mtime_ns:x}-{found.st_size:x}"',
                changed=found.st_mtime,
                lasting=lasting,
            )

    def _only_with_slash(self, mount: Mount) -> Iterator[_Answer]:
        if not mount.listed:
            raise _Missing
        # Links in the list are relative to it, so its own name has to end with a slash.
        name = html.escape(_split(self.path)[-1] + "/")
        yield _page(f'<!doctype html><title>{name}</title><a href="./{name}">{name}</a>\n')

    def _summary_or_signature(self, root: Path, name: str) -> _Answer:
        if name == "summary" and self._summary is not None:
            data, self._summary = self._summary, None
            return _kept(data, _BYTES)
        summary, signature = _pair(root)
        self._summary = summary if name == "summary.sig" else None
        data = signature if name == "summary.sig" else summary
        return _kept(data, _BYTES)

    def _send(self, answer: _Answer, *, body: bool) -> None:
        if self._has_it_already(answer):
            self.send_response(HTTPStatus.NOT_MODIFIED)
            self._describe(answer)
            self.end_headers()
            return
        span = self._span(answer.size)
        if span is None:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{answer.size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start, end = span
        part = (start, end) != (0, answer.size)
        self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
        if part:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{answer.size}")
        self._describe(answer)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        if body:
            answer.file.seek(start)
            self._copy(answer.file, end - start)

    def _copy(self, file: BinaryIO, left: int) -> None:
        """Send so many bytes and no more: a log may grow while it is read."""
        while left:
            piece = file.read(min(left, 1 << 18))
            if not piece:
                self.close_connection = True  # it was cut short; the length was a promise
                return
            self.wfile.write(piece)
            left -= len(piece)

    def _describe(self, answer: _Answer) -> None:
        self.send_header("Content-Type", answer.kind)
        self.send_header("ETag", answer.tag)
        self.send_header("Accept-Ranges", "bytes")
        self._protect()
        if answer.lasting:
            self.send_header("Cache-Control", "public, max-age=31536000, immutable")
        else:
            self.send_header("Cache-Control", "no-cache")
        if answer.changed is not None:
            stamp = email.utils.formatdate(answer.changed, usegmt=True)
            self.send_header("Last-Modified", stamp)

    def _protect(self) -> None:
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", "default-src 'none'; sandbox")

    def _has_it_already(self, answer: _Answer) -> bool:
        tags = self.headers.get("If-None-Match")
        if tags is not None:
            return answer.tag in [tag.strip().removeprefix("W/") for tag in tags.split(",")]
        since = self.headers.get("If-Modified-Since")
        # Times have whole seconds: only what never changes may be believed by them alone.
        if since is None or answer.changed is None or not answer.lasting:
            return False
        try:
            return int(answer.changed) <= email.utils.parsedate_to_datetime(since).timestamp()
        except (TypeError, ValueError):
            return False

    def _span(self, size: int) -> tuple[int, int] | None:
        """Tell from where to where is wanted; None for what cannot be had."""
        match = _RANGE.fullmatch(self.headers.get("Range", ""))
        if match is None or not (match[1] or match[2]):
            return 0, size
        if not match[1]:
            start, end = max(0, size - int(match[2])), size
        else:
            start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        return (start, end) if start < end else None

    def _refuse(self, status: HTTPStatus, *, body: bool) -> None:
        data = f"{status.value} {status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", _TEXT)
        self.send_header("Content-Length", str(len(data)))
        self._protect()
        self.end_headers()
        if body:
            self.wfile.write(data)


def _split(path: str) -> list[str]:
    """Split the path of a request; names that hide or climb are never there."""
    parts = [urllib.parse.unquote(part) for part in path.partition("?")[0].split("/") if part]
    if any(part.startswith(".") or "/" in part or "\0" in part for part in parts):
        raise _Missing
    return parts


def _inside(root: Path, rest: list[str]) -> Path:
    """Find a path below a directory; a link that leads out of it leads nowhere."""
    try:
        top = root.resolve(strict=True)
        path = top.joinpath(*rest).resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise _Missing from error
    if not path.is_relative_to(top):
        raise _Missing
    return path


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a plain file; a FIFO or a device would stop us or worse."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _Missing from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise _Missing
        yield file


def _pair(root: Path) -> tuple[bytes, bytes]:
    """Read the summary and the signature that lies where it lies, whatever is renamed meanwhile."""
    for _ in range(_TRIES):
        try:
            place = (root / "summary").resolve(strict=True)
            return place.read_bytes(), place.with_name("summary.sig").read_bytes()
        except FileNotFoundError:
            continue  # it was replaced twice since, and the old one removed
        except OSError as error:
            raise _Missing from error
    raise _Missing


def _kept(data: bytes, kind: str) -> _Answer:
    tag = f'"{hashlib.sha256(data).hexdigest()[:32]}"'
    return _Answer(file=BytesIO(data), size=len(data), kind=kind, tag=tag)


def _page(text: str) -> _Answer:
    return _kept(text.encode(), "text/html; charset=utf-8")


def _kind_of(name: str) -> str:
    return _TYPES.get(Path(name).suffix, _BYTES)


def _names(path: Path) -> list[str]:
    entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    shown = [entry for entry in entries if not entry.name.startswith(".")]
    return [entry.name + ("/" if entry.is_dir() else "") for entry in shown]


def _index(title: str, path: str, names: list[str]) -> str:
    """Write a plain list; names are text, whatever is in them."""
    where = html.escape(urllib.parse.unquote(path.partition("?")[0]))
    rows = "".join(
        f'<li><a href="./{html.escape(urllib.parse.quote(name))}">{html.escape(name)}</a>\n'
        for name in names
    )
    return (
        f"<!doctype html>\n<html lang=en><meta charset=utf-8><title>{html.escape(title)} {where}"
        f"</title>\n<h1>{where}</h1>\n<ul>\n{rows}</ul>\n"
    )
