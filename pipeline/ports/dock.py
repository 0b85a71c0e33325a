# SPDX-License-Identifier: LGPL-2.1-or-later
"""The dock: where remote workers pull what they need, and nobody else.

Read-only: objects of the repository that is built in, by their checksum, and what single runs
assigned to workers. A worker shows a token that is made of its password. Nothing is listed, so that
a checksum has to be known; the answers of OSTree's are verified by it on the other side.
"""

import hashlib
import hmac
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from pipeline.ports.filez import CONFIG, filez
from pipeline.ports.log import Log
from pipeline.ports.static_http import answering, is_loopback, parse_address
from pipeline.ports.workdir import Workdir
from pipeline.words.errors import BadInput, Trouble

COOKIE = "ostci"
_OBJECT = re.compile(r"/repo/objects/([0-9a-f]{2})/([0-9a-f]{62})\.(commit|dirtree|dirmeta|filez)")
_FILE = re.compile(
    r"/runs/(\d{8}\.\d+)/(snapshot|base|trees|try|wish|assigned/[A-Za-z0-9_+@.,-]{1,400})\.json"
)
_IDLE_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Files in PEM: the certificate with its chain, and its key."""

    chain: Path
    key: Path


def token(worker: str, password: str) -> str:
    """Make what a worker shows at the dock; the password itself is said to Buildbot alone."""
    made = hmac.new(password.encode(), b"ostci dock", hashlib.sha256)
    return f"{worker}:{made.hexdigest()}"


@contextmanager
def docking(
    address: str,
    workdir: Workdir,
    *,
    passwords: Mapping[str, str],
    certificate: Certificate | None,
    log: Log,
) -> Iterator[str]:
    """Serve for the length of the ``with``; tells the URL. Port 0 takes any that is free.

    Raises BadInput where others could reach it without TLS.
    """
    host, port = parse_address(address)
    if certificate is None and not is_loopback(host):
        hint = "put secrets/tls.crt and secrets/tls.key into the master's directory"
        raise BadInput(f"others could reach {address}, and there is no certificate", hint=hint)
    tokens = frozenset(token(worker, password) for worker, password in passwords.items())
    try:
        server = _Server((host, port), workdir, tokens, log)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate.chain, certificate.key)
            server.tls = context
    except OSError as error:
        raise Trouble(f"cannot listen on {address}: {error.strerror or error}") from error
    with answering(server, host) as place:
        yield f"{'http' if certificate is None else 'https'}://{place}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    tls: ssl.SSLContext | None = None

    def __init__(
        self, address: tuple[str, int], workdir: Workdir, tokens: frozenset[str], log: Log
    ) -> None:
        self.workdir = workdir
        self.tokens = tokens
        self.log = log
        super().__init__(address, _Handler)

    def handle_error(self, _request: object, client_address: object) -> None:
        # A client that breaks off, or speaks no TLS, is nothing that we could mend.
        self.log.detail(f"{client_address} broke off", about="dock")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "ostci"
    sys_version = ""
    timeout = _IDLE_S
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def setup(self) -> None:
        if self.server.tls is not None:
            # Here, in the connection's own thread: a slow client's handshake holds up nobody.
            self.request.settimeout(self.timeout)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self) -> None:
        if not self._is_known():
            self._say(HTTPStatus.UNAUTHORIZED, b"a worker shows its token\n")
            return
        found = _OBJECT.fullmatch(self.path)
        try:
            if self.path == "/repo/config":
                self._say(HTTPStatus.OK, CONFIG)
            elif found is not None:
                self._object(*found.groups())
            elif (wanted := _FILE.fullmatch(self.path)) is not None:
                self._file(*wanted.groups())
            else:
                self._say(HTTPStatus.NOT_FOUND, b"there is nothing here\n")
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            self.close_connection = True

    def _is_known(self) -> bool:
        try:
            morsel = SimpleCookie(self.headers.get("Cookie", "")).get(COOKIE)
        except CookieError:
            return False
        shown = "" if morsel is None else morsel.value
        return any(hmac.compare_digest(shown.encode(), one.encode()) for one in self.server.tokens)

    def _object(self, first: str, rest: str, kind: str) -> None:
        stored = "file" if kind == "filez" else kind
        path = self.server.workdir.repo / "objects" / first / f"{rest}.{stored}"
        try:
            if kind != "filez":
                self._say(HTTPStatus.OK, path.read_bytes())
                return
            pieces = filez(path)
            piece = next(pieces)
        except (OSError, ValueError):
            self._say(HTTPStatus.NOT_FOUND, b"there is no such object\n")
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while piece:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            piece = next(pieces, b"")
        self.wfile.write(b"0\r\n\r\n")

    def _file(self, version: str, name: str) -> None:
        workdir = self.server.workdir
        path = workdir.run(version).file(name) if workdir.is_run(version) else None
        if path is None or not path.is_file():
            self._say(HTTPStatus.NOT_FOUND, b"there is no such file\n")
            return
        self._say(HTTPStatus.OK, path.read_bytes())

    def _say(self, status: HTTPStatus, data: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        words = ascii(format % args)[1:-1]
        self.server.log.detail(f"{self.address_string()} {words}", about="dock")
