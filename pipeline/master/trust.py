# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose certificates are trusted where reports are sent, and in which words a bad one is told."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet import ssl
from twisted.web.client import BrowserLikePolicyForHTTPS

_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def client_options(host: str, ca: str) -> Any:
    """Make the options of a connection to a host; the file ``ca`` is read at each connection."""
    return ssl.optionsForClientTLS(host, trustRoot=_roots(ca))


def https_policy(ca: str) -> BrowserLikePolicyForHTTPS:
    """Make the policy of a client of HTTPS."""
    return BrowserLikePolicyForHTTPS(trustRoot=_roots(ca))


def _roots(ca: str) -> Any:
    """Read who is trusted, in PEM; without a file those whom this machine trusts."""
    if not ca:
        return None
    found = _CERTIFICATE.findall(Path(ca).read_text())
    return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(one) for one in found])


def in_words(error: Exception) -> Exception:
    """Name what was wrong with TLS, where that is what an error came from; else tell the error."""
    for cause in _causes(error):
        if isinstance(cause, VerificationError):
            return ConnectionError("TLS failed: the certificate is of another host")
        if isinstance(cause, SSL.Error):
            said = ", ".join(str(part[-1]) for part in next(iter(cause.args), ()) or ())
            return ConnectionError(f"TLS failed: {said or 'the connection was closed'}")
    return error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        # A client of HTTP gathers them.
        for failure in getattr(error, "reasons", ()):
            yield from _causes(failure.value)
        error = error.__cause__
