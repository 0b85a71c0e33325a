# SPDX-License-Identifier: LGPL-2.1-or-later
"""Push hooks of forges: is one signed by who knows the secret, and which push is it of.

What a hook says is a hint to look there, no more: a forged or repeated one can start nothing.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs

from pipeline.words.errors import BadInput
from pipeline.words.named import Named
from pipeline.words.refs import is_revision

Headers = Mapping[str, str]
"""Names are in lower case."""
MOST_BYTES = 1024**2
"""Of a hook's body."""
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_SCP = re.compile(r"([^/:]+):(?!/)")
_BRANCHES = "refs/heads/"
_URL_KEYS = ("clone_url", "ssh_url", "git_url", "html_url", "git_http_url", "git_ssh_url", "url")


def is_signed(kind: str, headers: Headers, body: bytes, secret: str) -> bool:
    """Tell whether the sender knows the secret; takes as long whatever is wrong with it."""
    given, wanted = _SIGNATURES[kind](headers, body, secret)
    return hmac.compare_digest(given.encode(), wanted.encode()) and bool(secret)


def _hex(body: bytes, secret: str) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


_SIGNATURES: Mapping[str, Callable[[Headers, bytes, str], tuple[str, str]]] = {
    # https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
    "github": lambda headers, body, secret: (
        headers.get("x-hub-signature-256", ""),
        f"sha256={_hex(body, secret)}",
    ),
    # https://docs.gitlab.com/user/project/integrations/webhooks/: the secret itself
    "gitlab": lambda headers, _, secret: (headers.get("x-gitlab-token", ""), secret),
    # https://docs.gitea.com/usage/webhooks
    "gitea": lambda headers, body, secret: (
        headers.get("x-gitea-signature", ""),
        _hex(body, secret),
    ),
    "plain": lambda headers, body, secret: (
        headers.get("x-ostci-signature", ""),
        f"sha256={_hex(body, secret)}",
    ),
}


def read_body(headers: Headers, body: bytes) -> Mapping[str, Any]:
    """Read the object that a hook's body is; raises BadInput for anything else."""
    form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    # curl calls everything a form, JSON too.
    if form and body.startswith(b"payload="):
        body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
    try:
        found = json.loads(body)
    except ValueError as error:
        raise BadInput("the hook's body is no JSON") from error
    if not isinstance(found, dict):
        raise BadInput("the hook's body is no object")
    return found


def urls_of(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Tell the addresses of the repository that a hook is of.

    Forges put them into ``repository`` (GitLab also into ``project``); a plain hook has ``url``.
    """
    return tuple(dict.fromkeys(_urls(found)))


def named_of(found: Mapping[str, Any]) -> Named | None:
    """Tell the push to a branch that a hook names, as all forges do; None where it names none."""
    ref, before, after = (found.get(key) for key in ("ref", "before", "after"))
    if not isinstance(ref, str) or not ref.startswith(_BRANCHES):
        return None
    if not isinstance(before, str) or not isinstance(after, str):
        return None
    if not is_revision(before) or not is_revision(after):
        return None
    return Named(branch=ref.removeprefix(_BRANCHES), before=before, after=after)


def _urls(found: Mapping[str, Any]) -> Iterator[str]:
    for part in (found, found.get("repository"), found.get("project")):
        if isinstance(part, dict):
            yield from (part[key] for key in _URL_KEYS if isinstance(part.get(key), str))


def place_of_repository(url: str) -> str:
    """Write an address without what differs between the ways to one repository.

    Scheme, user, port and ``.git`` go, so that a hook that names the page or the ssh address means
    the repository that the manifest fetches over https.
    """
    bare = _SCHEME.sub("", url.strip())
    bare = bare if bare != url.strip() else _SCP.sub(r"\1/", bare)
    host, slash, path = bare.partition("/")
    host = host.rpartition("@")[2].partition(":")[0].lower()
    return f"{host}{slash}{path.rstrip('/').removesuffix('.git')}"
