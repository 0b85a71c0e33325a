# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who is told of pushes: ``[master.report]`` of ``ostci.toml``, one table a receiver::

[master.report.github]        # or gitlab, gitea; needs secrets/report-github, a token
host = "github.com"           # repositories there
api = "https://api.github.com"    # of gitlab and gitea: https://HOST by default
[master.report.mail]          # with user: secrets/report-mail, the password
server = "mail.example.org:587"
tls = "starttls"              # or "tls" from the first byte, as on port 465; "off" by default
sender = "ostci@example.org"
to = ["os@example.org"]
[master.report.irc]           # secrets/report-irc: the server's password, where it has one
server = "irc.example.org:6697"
tls = true
nick = "ostci"
channel = "#os"
[master.report.webhook]       # secrets/report-webhook signs it, where it is there
url = "https://example.org/hook"

Each may have ``ca``, the path of a file in PEM: who is trusted to sign the server's certificate,
instead of those whom this machine trusts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.ports.static_http import is_loopback
from pipeline.words.errors import BadInput
from pipeline.words.report_http import FORGES

MAIL_OPEN, MAIL_STARTTLS, MAIL_TLS = _MAIL = ("off", "starttls", "tls")
_KEYS: Mapping[str, Mapping[str, type]] = {
    **{kind: {"host": str, "api": str, "ca": str} for kind in FORGES},
    "mail": {"server": str, "sender": str, "to": list, "user": str, "tls": str, "ca": str},
    "irc": {"server": str, "nick": str, "channel": str, "tls": bool, "ca": str},
    "webhook": {"url": str, "ca": str},
}
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "gitlab": ("host",),
    "gitea": ("host",),
    "mail": ("server", "sender", "to"),
    "irc": ("server", "channel"),
    "webhook": ("url",),
}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "github": {"host": "github.com", "api": "https://api.github.com"},
    "mail": {"user": "", "tls": MAIL_OPEN},
    "irc": {"nick": "ostci", "tls": False},
}


_BEGIN = "-----BEGIN CERTIFICATE-----"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """One who is told: its kind, what the settings say of it, and its secret."""

    kind: str
    values: Mapping[str, Any]
    secret: str = field(default="", repr=False)

    @property
    def ca(self) -> str:
        """Name the file with whom is trusted; empty for those whom this machine trusts."""
        return str(self.values.get("ca", ""))

    def server(self) -> tuple[str, int]:
        """Tell host and port of its ``server``."""
        host, _, port = str(self.values["server"]).rpartition(":")
        return host, int(port)


def check_report(table: Any, where: str) -> None:
    """Raise BadInput for what ``[master.report]`` cannot hold."""
    if not isinstance(table, dict):
        raise BadInput("master.report is a table of receivers", where=where)
    for kind, values in table.items():
        name = f"master.report.{kind}"
        if kind not in _KEYS:
            raise BadInput(f"{name} is none of {', '.join(_KEYS)}", where=where)
        if not isinstance(values, dict):
            raise BadInput(f"{name} is a table", where=where)
        for key, value in values.items():
            wanted = _KEYS[kind].get(key)
            if wanted is None:
                raise BadInput(f"{name}.{key} is none of {', '.join(_KEYS[kind])}", where=where)
            if type(value) is not wanted:
                words = f"{name}.{key} wants a {wanted.__name__}, not {value!r}"
                raise BadInput(words, where=where)
        for key in _NEEDED.get(kind, ()):
            if not values.get(key):
                raise BadInput(f"{name} lacks {key}", where=where)
        if "server" in values and not _is_server(values["server"]):
            raise BadInput(f"{name}.server wants HOST:PORT, not {values['server']!r}", where=where)
        _check_tls(kind, values, where)


def _check_tls(kind: str, values: Mapping[str, Any], where: str) -> None:
    name = f"master.report.{kind}"
    ca = values.get("ca", "")
    if ca and not (Path(ca).is_absolute() and _BEGIN in _text_of(Path(ca))):
        raise BadInput(f"{name}.ca wants the path of certificates in PEM, not {ca!r}", where=where)
    if kind != "mail":
        return
    tls = values.get("tls", MAIL_OPEN)
    if tls not in _MAIL:
        raise BadInput(f"{name}.tls wants {', '.join(_MAIL)}, not {tls!r}", where=where)
    host = values["server"].rpartition(":")[0]
    if values.get("user") and tls == MAIL_OPEN and not is_loopback(host):
        told = f"{name}.user: its password would be sent to {host} for everybody to read"
        raise BadInput(told, where=where, hint='tls = "starttls", or "tls" for port 465')


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""


def read_receivers(
    table: Mapping[str, Mapping[str, Any]],
    *,
    secret: Callable[[str], str],
    optional: Callable[[str], str],
) -> tuple[Receiver, ...]:
    """Put settings, defaults and secrets together.

    ``secret`` reads one that must be there, ``optional`` tells nothing of one that is not.
    """
    found = []
    for kind, given in table.items():
        values = {**_DEFAULTS.get(kind, {}), **given}
        if kind in FORGES:
            values.setdefault("api", f"https://{values['host']}")
        needed = kind in FORGES or bool(values.get("user"))
        read = secret if needed else optional
        found.append(Receiver(kind=kind, values=values, secret=read(f"report-{kind}")))
    return tuple(found)


def _is_server(text: str) -> bool:
    host, _, port = text.rpartition(":")
    return bool(host) and port.isdigit() and 0 < int(port) < 65536
