# SPDX-License-Identifier: LGPL-2.1-or-later
"""Small real servers on this host that keep what they are told: HTTP, SMTP, IRC."""

import http.server
import json
import socketserver
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


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
    allow_reuse_address = True
    daemon_threads = True


@contextmanager
def http_server() -> Iterator[Kept]:
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

    with _serving(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler), kept):
        yield kept


@contextmanager
def smtp_server() -> Iterator[Kept]:
    """Take every mail (RFC 5321, as much of it as a sender needs)."""
    kept = Kept()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 sink")
            for raw in self.rfile:
                word = raw.decode().strip().upper()
                if word == "DATA":
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
                    self.say("250 sink" if word.startswith("EHLO") else "250 good")

        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

    with _serving(_Server(("127.0.0.1", 0), Handler), kept):
        yield kept


@contextmanager
def irc_server() -> Iterator[Kept]:
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

    with _serving(_Server(("127.0.0.1", 0), Handler), kept):
        yield kept
