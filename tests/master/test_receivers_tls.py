# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports over TLS to real servers: whose certificate is trusted, and what becomes of a bad one."""

import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.ports.report_settings import check_report
from pipeline.words.errors import BadInput
from tests.receivers import Kept, http_server, irc_server, smtp_server, tls_context
from tests.remote import make_certificate
from tests.work import TOP

TELLS = ("starttls", "tls", "irc", "webhook")


@dataclass
class Servers:
    """A server of each kind with one certificate, and whom it was signed by."""

    ca: Path
    kept: dict[str, Kept]

    def table(self, kind: str, ca: Path | None) -> dict[str, Any]:
        """Write the settings of a receiver, as in ``[master.report]``."""
        more = {} if ca is None else {"ca": str(ca)}
        port = self.kept[kind].port
        if kind == "webhook":
            return {"webhook": {"url": f"https://localhost:{port}/hook", **more}}
        server = f"localhost:{port}"
        if kind == "irc":
            return {"irc": {"server": server, "channel": "#os", "tls": True, **more}}
        mail = {"server": server, "sender": "ci@x.org", "to": ["os@x.org"], "user": "ci"}
        return {"mail": {**mail, "tls": kind, **more}}

    def told(self, kind: str) -> int:
        """Count what a server was told."""
        kept = self.kept[kind]
        return len(kept.mails) + len(kept.posted) + sum("NOTICE #os" in one for one in kept.lines)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Certificates of this host, and of another one; by authorities of their own."""
    found = {}
    for name, hosts in (("here", "DNS:localhost"), ("elsewhere", "DNS:other.example")):
        found[name] = tmp_path_factory.mktemp(name)
        make_certificate(found[name], found[name], f"subjectAltName={hosts}")
    return found


@pytest.fixture(scope="module")
def here(places: dict[str, Path]) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield serve(stack, places["here"])


@pytest.fixture(scope="module")
def elsewhere(places: dict[str, Path]) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield serve(stack, places["elsewhere"])


def serve(stack: ExitStack, place: Path) -> Servers:
    context: ssl.SSLContext = tls_context(place)
    kept = {
        "starttls": stack.enter_context(smtp_server(starttls=context)),
        "tls": stack.enter_context(smtp_server(tls=context)),
        "irc": stack.enter_context(irc_server(tls=context)),
        "webhook": stack.enter_context(http_server(tls=context)),
        "open": stack.enter_context(smtp_server()),
    }
    return Servers(ca=place / "ca.pem", kept=kept)


def tell(*tables: dict[str, Any]) -> list[str]:
    """Tell receivers, each in its turn; tells how it went."""
    argv = [sys.executable, "-m", "tests.tell_once"]
    said = []
    for table in tables:
        done = subprocess.run(
            argv, input=json.dumps(table), capture_output=True, text=True, timeout=120, cwd=TOP
        )
        assert done.returncode == 0, done.stderr
        said += done.stdout.splitlines()
        assert "secret" not in done.stdout + done.stderr
        assert "c2VjcmV0" not in done.stdout and "NlY3JldA" not in done.stdout, "nor in base 64"
    return said


@pytest.mark.parametrize("kind", TELLS)
def test_a_server_is_told_whose_authority_is_in_the_file(here: Servers, kind: str) -> None:
    before = here.told(kind)
    assert tell(here.table(kind, here.ca)) == ["told"]
    assert here.told(kind) == before + 1
    if kind == "starttls":
        words = [one.split()[0] for one in here.kept[kind].lines]
        assert words[:3] == ["EHLO", "STARTTLS", "EHLO"] and words[3] == "AUTH"


@pytest.mark.parametrize("kind", TELLS)
def test_a_server_that_others_have_vouched_for_is_told_nothing_and_tried_again(
    here: Servers, elsewhere: Servers, kind: str
) -> None:
    before = here.told(kind), elsewhere.told(kind)
    words = "again: TLS failed: certificate verify failed"
    assert tell(here.table(kind, None)) == [words]
    assert tell(here.table(kind, elsewhere.ca)) == [words]
    other = "again: TLS failed: the certificate is of another host"
    assert tell(elsewhere.table(kind, elsewhere.ca)) == [other]
    assert (here.told(kind), elsewhere.told(kind)) == before
    assert not any(line.startswith("AUTH") for line in elsewhere.kept[kind].lines)


def test_a_server_that_offers_no_tls_gets_neither_mail_nor_password(here: Servers) -> None:
    table = here.table("starttls", here.ca)
    table["mail"]["server"] = f"localhost:{here.kept['open'].port}"
    (said,) = tell(table)
    assert (
        said == "again: it answered 502: Server does not support secure communication via TLS / SSL"
    )
    assert not any(line.startswith(("AUTH", "MAIL")) for line in here.kept["open"].lines)


def test_of_a_password_that_is_refused_nothing_is_told(here: Servers) -> None:
    table = here.table("tls", here.ca)
    table["mail"]["user"] = "wrong"
    assert tell(table) == ["again: it answered 535: who is that"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tls": True}, "master.report.mail.tls wants a str, not True"),
        ({"tls": "ssl"}, "master.report.mail.tls wants off, starttls, tls, not 'ssl'"),
        ({"user": "ci"}, "its password would be sent to mail.example.org"),
        ({"ca": "ca.pem"}, "master.report.mail.ca wants the path of certificates in PEM"),
        ({"ca": "/etc/hostname"}, "master.report.mail.ca wants the path of certificates in PEM"),
    ],
)
def test_settings_that_would_be_of_no_use_are_refused(given: dict[str, Any], told: str) -> None:
    mail = {"server": "mail.example.org:25", "sender": "ci@x.org", "to": ["os@x.org"], **given}
    with pytest.raises(BadInput, match=told):
        check_report({"mail": mail}, "ostci.toml")
