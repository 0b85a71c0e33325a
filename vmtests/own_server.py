# SPDX-License-Identifier: LGPL-2.1-or-later
"""Serve a run's own repository to a guest, and keep what it asked for.

Most of its objects are in the repository that trees are built in, whose files are made into what
OSTree pulls when they are asked for. Clients name objects as in ostree-repo(5).
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.ports.filez import CONFIG, filez
from pipeline.ports.static_http import answering
from pipeline.words.suite import OwnRepository

_OBJECT = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{62})\.(commit|commitmeta|dirtree|dirmeta)")
_FILE = re.compile(r"objects/([0-9a-f]{2})/([0-9a-f]{62})\.filez")
_OTHER = re.compile(
    r"summary|summary\.sig|summary(?:\.sig)?\.unbootable|(?:refs/heads|deltas|delta-indexes)/[A-Za-z0-9._+=@/-]+"
)
_MOST, _LONGEST = 200_000, 300
_AT_ONCE = 8
"""Files that are made at once: each is in memory then, and a guest may ask for many."""
_IDLE_S = 600.0
"""A guest without KVM may be busy for long with what it has got."""


@dataclass
class Traffic:
    """What a guest asked for, in order, and what it is lied to about.

    ``changed`` are files that it gets with one bit turned; ``instead`` those that it gets another
    file of the repository in the place of.
    """

    asked: list[str] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    instead: dict[str, str] = field(default_factory=dict)

    def objects(self) -> list[str]:
        """List the objects that it asked for one by one, signatures left out."""
        return [one for one in self.asked if one.startswith("objects/") and "meta" not in one[-10:]]

    def deltas(self) -> list[str]:
        """List the files of static deltas that it asked for."""
        return [one for one in self.asked if one.startswith("deltas/")]


@dataclass(frozen=True, kw_only=True)
class Served:
    """``port`` is where the repository is on the loopback."""

    port: int
    traffic: Traffic


@contextmanager
def serving_own(own: OwnRepository) -> Iterator[Served]:
    """Serve for the length of the ``with``, on any port that is free."""
    server = _Server(own)
    with answering(server, "127.0.0.1"):
        yield Served(port=server.server_address[1], traffic=server.traffic)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, own: OwnRepository) -> None:
        self.places = (Path(own.path), Path(own.built_in))
        self.traffic = Traffic()
        self.lock = threading.Lock()
        self.few = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, _request: object, _client: object) -> None:
        """Say nothing: a guest that breaks off is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self) -> None:
        name = self.path.partition("?")[0].lstrip("/")
        traffic = self.server.traffic
        with self.server.lock:
            if len(traffic.asked) < _MOST:
                traffic.asked.append(name[:_LONGEST])
        with self.server.few:
            data = self._find(traffic.instead.get(name, name))
        if data is not None and name in traffic.changed:
            data = bytes([*data[:-1], data[-1] ^ 1])
        try:
            self.send_response(HTTPStatus.NOT_FOUND if data is None else HTTPStatus.OK)
            self.send_header("Content-Length", str(len(data or b"")))
            self.end_headers()
            self.wfile.write(data or b"")
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _find(self, name: str) -> bytes | None:
        if name == "config":
            return CONFIG
        file, plain = _FILE.fullmatch(name), _OBJECT.fullmatch(name)
        if ".." in name or not (file or plain or _OTHER.fullmatch(name)):
            return None
        for place in self.server.places:
            try:
                if file is not None:
                    return b"".join(filez(place / "objects" / file[1] / f"{file[2]}.file"))
                # Only objects are borrowed: refs, summaries and signatures are its own.
                if plain is not None and plain[3] != "commitmeta":
                    return (place / name).read_bytes()
                return (self.server.places[0] / name).read_bytes()
            except (OSError, ValueError):
                continue
        return None

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: what was asked for is kept."""
