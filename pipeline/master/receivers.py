# SPDX-License-Identifier: LGPL-2.1-or-later
"""Those who are told of pushes: forges, webhooks, mail and IRC, each over a real connection.

``tell`` answers a Deferred that fails with what went wrong; none of them waits for ever.
"""

from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from io import BytesIO
from typing import Any, Protocol

import treq
from treq.client import HTTPClient
from twisted.internet import defer, endpoints, reactor
from twisted.mail.smtp import ESMTPSenderFactory, SMTPClientError, SMTPConnectError
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.words.protocols.irc import IRCClient

from pipeline.master.trust import client_options, https_policy, in_words
from pipeline.ports.report_settings import MAIL_OPEN, MAIL_TLS, Receiver
from pipeline.words.report import Report, one_line
from pipeline.words.report_http import FORGES, HttpRequest, status_request, webhook_request

DEADLINE_S = 20.0
_LONGEST_ANSWER = 200
_SAME = b"Cannot transition status"
"""GitLab's answer to a state that a commit has already."""


class Refused(Exception):
    """The receiver answered, and does not want it: the same again would not help."""


class Telling(Protocol):
    """One who is told; ``wants`` says whether a report is for it at all."""

    name: str

    def wants(self, report: Report) -> bool:
        """Tell whether this is for it."""

    def tell(self, report: Report) -> "defer.Deferred[Any]":
        """Tell it."""


def make_receiver(found: Receiver) -> Telling:
    """Make one of its settings."""
    if found.kind == "mail":
        return Mail(found)
    if found.kind == "irc":
        return Irc(found)
    return Http(found)


class Http:
    """A forge, which shows every state of a commit, or a webhook, which is told the news."""

    def __init__(self, found: Receiver) -> None:
        self.name = found.kind
        self._found = found

    def wants(self, report: Report) -> bool:
        """Tell whether it is of a repository of the forge, or news."""
        return report.due.is_news if self.name not in FORGES else self._request(report) is not None

    def _request(self, report: Report) -> HttpRequest | None:
        values, secret = self._found.values, self._found.secret
        if self.name in FORGES:
            api, host = values["api"].rstrip("/"), values["host"]
            return status_request(self.name, api=api, host=host, secret=secret, report=report)
        return webhook_request(values["url"], secret, report)

    @defer.inlineCallbacks
    def tell(self, report: Report) -> Any:
        """Send it; raises what the connection or the answer was."""
        request = self._request(report)
        assert request is not None
        policy = https_policy(self._found.ca) if self._found.ca else None
        agent: Any = Agent(reactor, **({"contextFactory": policy} if policy else {}))
        try:
            answer = yield HTTPClient(agent).post(
                request.url,
                data=request.body,
                headers=Headers({name: [text] for name, text in request.headers.items()}),
                timeout=DEADLINE_S,
                allow_redirects=False,
            )
        except Exception as error:
            raise in_words(error) from error
        body = yield treq.content(answer).addTimeout(DEADLINE_S, reactor)
        if answer.code < 300 or _SAME in body:
            return
        said = body[:_LONGEST_ANSWER].decode(errors="replace")
        kind = Refused if 300 <= answer.code < 500 and answer.code != 429 else OSError
        raise kind(f"it answered {answer.code}: {said}")


class Mail:
    """A mail for each piece of news."""

    name = "mail"

    def __init__(self, found: Receiver) -> None:
        self._found = found

    def wants(self, report: Report) -> bool:
        """Tell whether it is news."""
        return report.due.is_news

    @defer.inlineCallbacks
    def tell(self, report: Report) -> Any:
        """Hand it to the mail server."""
        values = self._found.values
        mail = EmailMessage()
        mail["Subject"], mail["From"], mail["To"] = (
            report.title,
            values["sender"],
            ", ".join(values["to"]),
        )
        mail["Date"] = formatdate()
        mail["Message-ID"] = make_msgid("ostci", values["sender"].rpartition("@")[2] or None)
        # No machine is to answer it (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(report.text)
        sent: defer.Deferred[Any] = defer.Deferred()
        connector = self._connect(bytes(mail), sent)
        try:
            yield sent.addTimeout(DEADLINE_S, reactor)
        except SMTPConnectError as error:
            raise in_words(error) from error
        except SMTPClientError as error:
            # Its own text has all that was said before, the password, too.
            answer = error.resp[:_LONGEST_ANSWER].decode(errors="replace")
            raise OSError(f"it answered {error.code}: {one_line(answer)}") from None
        finally:
            connector.disconnect()

    def _connect(self, mail: bytes, sent: "defer.Deferred[Any]") -> Any:
        values, (host, port) = self._found.values, self._found.server()
        is_secret = values["tls"] != MAIL_OPEN
        options = client_options(host, self._found.ca) if is_secret else None
        factory = ESMTPSenderFactory(
            values["user"].encode() or None,
            self._found.secret.encode() or None,
            values["sender"],
            values["to"],
            BytesIO(mail),
            sent,
            retries=0,
            timeout=DEADLINE_S,
            contextFactory=options,
            heloFallback=True,
            requireAuthentication=bool(values["user"]),
            # A server that does not offer STARTTLS, or somebody between us and it, gets nothing.
            requireTransportSecurity=is_secret,
        )
        here: Any = reactor
        if values["tls"] == MAIL_TLS:
            return here.connectSSL(host, port, factory, options)
        return here.connectTCP(host, port, factory)


class _Speaker(IRCClient):
    """Joins a channel, says one line, and leaves."""

    transport: Any
    versionName: Any = None  # noqa: N815

    def __init__(self, found: Receiver, line: str) -> None:
        self.nickname = found.values["nick"]
        self.password: str | None = found.secret or None  # type: ignore[assignment]
        self._channel = found.values["channel"]
        self._line = line
        self._is_told = False
        self.done: defer.Deferred[None] = defer.Deferred()

    def signedOn(self) -> None:  # noqa: N802
        """Join."""
        self.join(self._channel)

    def joined(self, _channel: str) -> None:
        """Say it."""
        self.notice(self._channel, self._line)
        self._is_told = True
        self.quit("told")

    def irc_ERROR(self, _prefix: str, _params: list[str]) -> None:  # noqa: N802
        """Take the server's last word, which is how it answers QUIT, too."""
        self.transport.loseConnection()

    def irc_unknown(self, _prefix: str, command: str, params: list[str]) -> None:
        """Give up where the channel cannot be entered (numbers 403 to 477 of RFC 2812)."""
        if command.startswith("ERR_"):
            self._end(Refused(f"{command} {' '.join(params)}"))

    def connectionLost(self, reason: Any = None) -> None:  # noqa: N802
        """It is told when the server has taken the QUIT that came after the line."""
        super().connectionLost(reason)
        lost = in_words(reason.value)
        named = lost if lost is not reason.value else ConnectionError(reason.getErrorMessage())
        self._end(None if self._is_told else named)

    def _end(self, error: Exception | None) -> None:
        if self.done.called:
            return
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)


class Irc:
    """A line in a channel for each piece of news; connected only while it speaks."""

    name = "irc"

    def __init__(self, found: Receiver) -> None:
        self._found = found

    def wants(self, report: Report) -> bool:
        """Tell whether it is news."""
        return report.due.is_news

    @defer.inlineCallbacks
    def tell(self, report: Report) -> Any:
        """Connect, say it, leave."""
        host, port = self._found.server()
        place: Any = endpoints.HostnameEndpoint(reactor, host.encode(), port, timeout=DEADLINE_S)
        if self._found.values["tls"]:
            place = endpoints.wrapClientTLS(client_options(host, self._found.ca), place)
        speaker = _Speaker(self._found, f"{report.title} {report.page}")
        yield endpoints.connectProtocol(place, speaker)
        try:
            yield speaker.done.addTimeout(DEADLINE_S, reactor)
        finally:
            speaker.transport.abortConnection()
