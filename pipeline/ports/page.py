# SPDX-License-Identifier: LGPL-2.1-or-later
"""The page of a master, asked as one of its users: logged in by password, over TLS or on this host.

The interface is Buildbot's JSON-RPC (``/api/v2``); its session is a cookie.
"""

import json
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from typing import IO, Any

from pipeline.words.errors import BadInput, Trouble

FROM_A_PROGRAM = "X-Ostci"
"""A header that no form of another site can send: a browser would ask first."""
_ANSWER_S = 120.0
_MOST_BYTES = 4 * 1024**2
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_LOGGED_IN, _WRONG, _WRONG_PASSWORD, _FORBIDDEN = 302, 400, 401, 403
"""A login is answered with a redirection."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Go nowhere else: the password is for the address that was given alone."""

    def redirect_request(
        self, req: Any, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Follow nothing."""


class Page:
    """One master's page; raises BadInput for an address over which a password would be seen."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        place = urllib.parse.urlsplit(url)
        is_here = place.hostname in _LOOPBACK
        if place.scheme != "https" and not (place.scheme == "http" and is_here):
            what = f"{url} would show the password to everybody on the way"
            raise BadInput(what, hint="give an https:// address, or a tunnel: ssh -L 8010:…")
        self._url = url.rstrip("/")
        self._user = user
        self._key = b64encode(f"{user}:{password}".encode()).decode()
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(), _NoRedirect()
        )
        self._is_in = False

    def control(self, path: str, method: str, **params: object) -> Any:
        """Have something done, such as ``forceschedulers/try`` ``force``; tells the result.

        Raises BadInput where the page refuses, Trouble where it does not answer.
        """
        self._log_in()
        body = {"jsonrpc": "2.0", "method": method, "id": 1, "params": params}
        request = urllib.request.Request(
            f"{self._url}/api/v2/{path}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            return json.loads(self._ask(request))["result"]
        except (ValueError, KeyError, TypeError) as error:
            raise Trouble("its answer is none of a master's page", where=self._url) from error

    def ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        """Ask for something below the page that is JSON, or send it something.

        Raises as ``control``.
        """
        self._log_in()
        headers = {"Content-Type": "application/octet-stream", FROM_A_PROGRAM: "ostci"}
        request = urllib.request.Request(
            f"{self._url}/{path}", data=body, headers=headers, method=method
        )
        try:
            return json.loads(self._ask(request))
        except ValueError as error:
            raise Trouble("its answer is none of a master's page", where=self._url) from error

    def _log_in(self) -> None:
        if not self._is_in:
            headers = {"Authorization": f"Basic {self._key}"}
            self._ask(urllib.request.Request(f"{self._url}/auth/login", headers=headers))
            self._is_in = True

    def _ask(self, request: urllib.request.Request) -> bytes:
        try:
            with self._opener.open(request, timeout=_ANSWER_S) as answer:
                return bytes(answer.read(_MOST_BYTES))
        except urllib.error.HTTPError as error:
            text = error.read(_MOST_BYTES)
            if error.code == _LOGGED_IN:
                return text
            raise self._refused(error.code, text) from error
        except OSError as error:
            raise Trouble(f"the page does not answer: {error}", where=self._url) from error

    def _refused(self, code: int, text: bytes) -> BadInput | Trouble:
        if code == _WRONG_PASSWORD:
            return BadInput(f"the password of {self._user} is wrong", where=self._url)
        if code == _FORBIDDEN:
            what = f"{self._user} may not do that: it is for developers"
            return BadInput(what, where=self._url, hint="see [master.users] of the master")
        if code == _WRONG:
            return BadInput(_told(text), where=self._url)
        return Trouble(f"the page answers with {code}", where=self._url)


def _told(text: bytes) -> str:
    """Read what a form says is wrong, field by field."""
    try:
        told = json.loads(text)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return "the page refuses it"
    if isinstance(told, dict):
        return "; ".join(f"{field}: {what}" for field, what in told.items())
    return str(told)
