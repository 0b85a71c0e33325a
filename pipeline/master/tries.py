# SPDX-License-Identifier: LGPL-2.1-or-later
"""What ``ostci try --server`` asks of the page beside its form: below ``/tries``, as JSON.

``PUT sent/ID?at=N&size=M``  a piece of a directory that is to be tried (developers)
``GET PUSH?at=N``            how a try goes, with its log from there on (everybody, as all pages)
``POST PUSH/cancel``         the end of it (whoever asked for it, and operators)

What changes something wants a header that no form of another site can send, beside the session.
"""

import json
from collections.abc import Callable
from typing import Any

from twisted.internet import defer, threads
from twisted.python import log
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from pipeline.master.beside import Beside
from pipeline.master.book import Book
from pipeline.master.run_facts import run_record
from pipeline.master.scheduler import requests_of
from pipeline.ports.ledger import Ledger
from pipeline.ports.page import FROM_A_PROGRAM
from pipeline.ports.sent import PIECE, Sent
from pipeline.ports.workdir import RunDir, Workdir
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.push import Push, PushState
from pipeline.words.records import to_json
from pipeline.words.told import ToldTry
from pipeline.words.wish import TOLD

NAME = "tries"
_LOG_PIECE = 256 * 1024


class Refused(Exception):
    """Whoever asks may not do that."""


class Tries(Beside):
    """Has ``/tries`` beside the other pages."""

    def page(self) -> Resource:
        """Make the page."""
        return _Pages(self)

    @property
    def open_book(self) -> Book:
        """The ledger and the work directory."""
        assert self.book is not None
        return self.book

    # What is asked

    def user_of(self, request: Request) -> str:
        """Tell who asks; raises Refused for who may change nothing here."""
        user = str(self.master.www.getUserInfos(request).get("username") or "")
        if user not in self.open_book.settings.users or not request.getHeader(FROM_A_PROGRAM):
            raise Refused("it is for developers")
        return user

    def take(self, name: str, at: int, size: int, piece: bytes) -> "defer.Deferred[Any]":
        """Keep a piece of what is sent."""
        sent = Sent(self.open_book.workdir.sent)
        return threads.deferToThread(lambda: {"here": sent.add(name, at, piece, size=size)})

    @defer.inlineCallbacks
    def tell(self, number: int, at: int) -> Any:
        """Tell how a try goes."""
        told = yield self.open_book.ask(
            lambda ledger: _told(self.open_book.workdir, ledger, number, at)
        )
        return json.loads(to_json(told))

    @defer.inlineCallbacks
    def cancel(self, number: int, user: str) -> Any:
        """Cancel a try: its request or build, or what was only written down."""
        push: Push = yield self.open_book.ask(lambda ledger: _a_try(ledger, number))
        if push.wish.by != user and self.open_book.settings.users.get(user) != "operator":
            raise Refused(f"push {number} is a try of {push.wish.by or 'somebody else'}")
        if push.is_open:
            _, requests = yield requests_of(self.master, number)
            for one in requests.values():
                reason = {"reason": user}
                yield self.master.data.control("cancel", reason, ("buildrequests", one))
            if not requests:
                message = f"cancelled by {user}"
                yield self.open_book.ask(
                    lambda ledger: ledger.pushes.end(number, PushState.DONE, message)
                )
        return {"push": number}


class _Pages(Resource):
    """Reads what is asked; all the work is done in threads."""

    isLeaf = True  # noqa: N815

    def __init__(self, tries: Tries) -> None:
        super().__init__()
        self._tries = tries

    def render_GET(self, request: Request) -> int:  # noqa: N802
        def tell() -> Any:
            (number,) = self._path(request, 1)
            return self._tries.tell(_number(number), _argument(request, "at"))

        return self._answer(request, tell)

    def render_PUT(self, request: Request) -> int:  # noqa: N802
        def take() -> Any:
            self._tries.user_of(request)
            what, name = self._path(request, 2)
            assert request.content is not None
            piece = request.content.read(PIECE + 1)
            if what != "sent" or len(piece) > PIECE:
                raise BadInput("no such page, or too much at once")
            at, size = _argument(request, "at"), _argument(request, "size")
            return self._tries.take(name, at, size, piece)

        return self._answer(request, take)

    def render_POST(self, request: Request) -> int:  # noqa: N802
        def cancel() -> Any:
            user = self._tries.user_of(request)
            number, what = self._path(request, 2)
            if what != "cancel":
                raise BadInput("no such page")
            return self._tries.cancel(_number(number), user)

        return self._answer(request, cancel)

    def _path(self, request: Request, count: int) -> list[str]:
        parts = [part.decode("utf-8", "replace") for part in request.postpath or ()]
        if len(parts) != count:
            raise BadInput("no such page")
        return parts

    def _answer(self, request: Request, work: Callable[[], Any]) -> int:
        request.setHeader("Content-Type", "application/json")
        request.setHeader("X-Content-Type-Options", "nosniff")
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def say(code: int, value: object) -> None:
            if not gone:
                request.setResponseCode(code)
                request.write(json.dumps(value).encode())
                request.finish()

        def failed(failure: Any) -> None:
            error = failure.value
            if isinstance(error, Refused):
                say(403, _message(str(error)))
            elif isinstance(error, BadInput):
                say(400, _message(str(error)))
            else:
                # Trouble of ours, or a bug: whoever asks hears no more than that.
                log.err(failure, "a page of tries")
                what = str(error) if isinstance(error, Trouble) else "it failed"
                say(500, _message(what))

        asked: defer.Deferred[Any] = defer.maybeDeferred(work)
        asked.addCallbacks(lambda value: say(200, value), failed)
        asked.addErrback(lambda failure: log.err(failure, "a page of tries"))
        return NOT_DONE_YET


def _message(text: str) -> dict[str, Any]:
    """Write an error as the page's own interface does."""
    return {"error": {"message": text}}


def _number(text: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise BadInput(f"not the number of a push: {text[:40]!r}")
    return int(text)


def _argument(request: Request, name: str) -> int:
    args = request.args or {}
    return _number(args.get(name.encode(), [b"0"])[-1].decode("utf-8", "replace"))


# In a thread


def _a_try(ledger: Ledger, number: int) -> Push:
    push = ledger.pushes.get(number)
    if not push.is_try:
        raise BadInput(f"push {number} is no try")
    return push


def _told(workdir: Workdir, ledger: Ledger, number: int, at: int) -> ToldTry:
    push = _a_try(ledger, number)
    told = ToldTry(state=push.state, message=push.message, is_over=not push.is_open)
    if push.run is None or not workdir.is_run(push.run):
        return told
    run = workdir.run(push.run)
    text, at = _log_from(run, at)
    path = run.file(TOLD)
    return ToldTry(
        state=push.state,
        message=push.message,
        is_over=not push.is_open,
        run=push.run,
        record=run_record(workdir, push.run),
        log=text,
        at=at,
        facts=json.loads(path.read_bytes()) if path.is_file() and not push.is_open else {},
    )


def _log_from(run: RunDir, at: int) -> tuple[str, int]:
    """Read the next whole lines of a run's log."""
    try:
        with run.log.open("rb") as file:
            file.seek(at)
            data = file.read(_LOG_PIECE)
    except FileNotFoundError:
        return "", at
    data = data[: data.rfind(b"\n") + 1] or (data if len(data) == _LOG_PIECE else b"")
    return data.decode("utf-8", "replace"), at + len(data)
