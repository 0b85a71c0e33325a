# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small real servers on this host that keep what they are told: HTTP, SMTP, IRC."""

import http.server
import json
import socketserver
import ssl
import threading
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_DEADLINE_S = 60.0


@dataclass(kw_only=True)
class Posted:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)


@dataclass
class Kept:
    """What a server was told."""

    port: int = 0
    posted: list[Posted] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def of(self, path: str) -> list[Any]:
        """Tell the bodies that were posted to a path."""
        return [one.json for one in self.posted if one.path == path]


@contextmanager
def _serving(server: socketserver.TCPServer, kept: Kept) -> Iterator[Kept]:
    kept.port = int(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    """``tls``: speak that from the first byte."""

    allow_reuse_address = True
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        connection.settimeout(_DEADLINE_S)
        if self.tls is not None:
            # The handshake comes with the first word, in the thread of the connection.
            connection = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of who does not trust us."""


def tls_context(secrets: Path) -> ssl.SSLContext:
    """Use the certificate ``tls.crt`` and its key ``tls.key``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / "tls.crt", secrets / "tls.key")
    return context


@contextmanager
def http_server(*, tls: ssl.SSLContext | None = None) -> Iterator[Kept]:
    """Take every POST with 201."""
    kept = Kept()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            kept.posted.append(Posted(path=self.path, headers=dict(self.headers), body=body))
            self.send_response(201)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    server.tls = tls
    with _serving(server, kept):
        yield kept


@contextmanager
def smtp_server(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None
) -> Iterator[Kept]:
    """Take every mail (RFC 5321, as much of it as a sender needs), and a password."""
    kept = Kept()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            self.talk(offers_tls=starttls is not None)

        def talk(self, *, offers_tls: bool) -> None:
            for raw in self.rfile:
                word = raw.decode().strip().upper()
                kept.lines.append(word)
                if word == "STARTTLS" and starttls is not None:
                    self.say("220 go on")
                    self.request = starttls.wrap_socket(self.request, server_side=True)
                    self.setup()
                    self.talk(offers_tls=False)
                    return
                if word.startswith("EHLO"):
                    self.say("250-sink")
                    self.say("250 STARTTLS" if offers_tls else "250 AUTH PLAIN")
                elif word.startswith("AUTH PLAIN "):
                    name = b64decode(raw.split()[2]).split(b"\0")[1]
                    self.say("535 who is that" if name == b"wrong" else "235 welcome")
                elif word == "DATA":
                    self.say("354 go on")
                    mail = []
                    for line in self.rfile:
                        if line == b".\r\n":
                            break
                        mail.append(line.decode())
                    kept.mails.append("".join(mail))
                    self.say("250 taken")
                elif word == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 good")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = _Server(("127.0.0.1", 0), Handler)
    server.tls = tls
    with _serving(server, kept):
        yield kept


@contextmanager
def irc_server(*, tls: ssl.SSLContext | None = None) -> Iterator[Kept]:
    """Welcome everybody, and keep every line (RFC 2812, as much of it as a speaker needs)."""
    kept = Kept()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            nick = "?"
            for raw in self.rfile:
                line = raw.decode().rstrip("\r\n")
                kept.lines.append(line)
                word, _, rest = line.partition(" ")
                if word == "NICK":
                    nick = rest
                elif word == "USER":
                    self.say(f":tiny 001 {nick} :welcome")
                elif word == "JOIN":
                    self.say(f":{nick}!~{nick}@here JOIN {rest}")
                elif word == "QUIT":
                    self.say("ERROR :bye")
                    return

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    server = _Server(("127.0.0.1", 0), Handler)
    server.tls = tls
    with _serving(server, kept):
        yield kept
