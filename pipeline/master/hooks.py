# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks over HTTP: signed, bounded, and nothing but a hint to look at a repository now.

That of a merge request says, too, whether it is open and whose it is, which git does not know.
"""

from typing import Any

from buildbot.www.hooks.base import BaseHookHandler
from buildbot.www.service import BuildbotSite
from twisted.internet import defer
from twisted.python import log
from twisted.web import server

from pipeline.words.errors import BadInput
from pipeline.words.hook import MOST_BYTES, is_signed, named_of, read_body, urls_of
from pipeline.words.hook_request import told_of

SOURCE = "manifest"
"""The name of the change source."""


def dialect(kind: str, secret: str) -> dict[str, Any]:
    """Write the options of one kind of hook, as ``change_hook_dialects`` wants them."""
    return {"custom_class": Hint, "kind": kind, "secret": secret}


class Hint(BaseHookHandler):
    """Check the signature, then have the change source keep it and look; makes no change."""

    def getChanges(self, request: server.Request) -> Any:  # noqa: N802
        """Answer a hook; what is wrong with it is raised as ValueError, which is told as 400."""
        kind, secret = self.options["kind"], self.options["secret"]
        if request.method != b"POST":
            raise ValueError("a hook is a POST")
        assert request.content is not None
        body = request.content.read(MOST_BYTES + 1)
        headers = {
            name.decode("latin-1").lower(): values[-1].decode("latin-1")
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        if not is_signed(kind, headers, body, secret):
            log.msg(f"a {kind} hook was refused: its signature is wrong or missing")
            raise ValueError("the signature is wrong or missing")
        try:
            found = read_body(headers, body)
        except BadInput as error:
            raise ValueError(str(error)) from error
        source = self.master.change_svc.namedServices.get(SOURCE)
        nothing: tuple[list[Any], None] = ([], None)
        if source is None:
            return defer.succeed(nothing)
        # Answered when it is on the disk: a master that is killed then still knows of it.
        kept = source.hear(urls_of(found), named=named_of(found), told=told_of(kind, found))
        return kept.addCallback(lambda _: nothing)


class BoundedRequest(server.Request):
    """A request whose body is refused before it is read, when it is too long or of no length."""

    def gotLength(self, length: int | None) -> None:  # noqa: N802
        """Look at the length that was announced; None is a body in chunks."""
        if length is None or length > MOST_BYTES:
            what = b"413 Payload Too Large" if length else b"411 Length Required"
            channel: Any = self.channel
            channel.transport.write(b"HTTP/1.1 " + what + b"\r\nContent-Length: 0\r\n\r\n")
            channel.loseConnection()
            length = 0
        super().gotLength(length)


def bound_bodies() -> None:
    """See to it that the page takes no long bodies: nothing that it is for needs one.

    Buildbot makes its site itself, and gives nobody a say in how.
    """
    BuildbotSite.requestFactory = BoundedRequest
