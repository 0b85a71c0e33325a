# SPDX-License-Identifier: LGPL-2.1-or-later
"""A report as forges and webhooks want it: address, headers and body of one request."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from pipeline.words.push import Via
from pipeline.words.report import Report, Said

_REVISION = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SCP = re.compile(r"(?:[^@/]+@)?([^:/]+):(?!/)(.+)")
_LONGEST = 140
"""GitHub refuses a longer description."""


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A POST to be sent."""

    url: str
    headers: Mapping[str, str]
    body: bytes


# https://docs.github.com/rest/commits/statuses, https://docs.gitlab.com/api/commits/,
# https://docs.gitea.com/api: CreateStatusOption
_STATES: Mapping[str, Mapping[Said, str]] = {
    "github": {
        Said.PENDING: "pending",
        Said.PASSED: "success",
        Said.FAILED: "failure",
        Said.ELSEWHERE: "error",
        Said.TROUBLE: "error",
        Said.CANCELLED: "error",
        Said.SUPERSEDED: "error",
    },
    "gitlab": {
        Said.PENDING: "running",
        Said.PASSED: "success",
        Said.FAILED: "failed",
        Said.ELSEWHERE: "failed",
        Said.TROUBLE: "failed",
        Said.CANCELLED: "canceled",
        Said.SUPERSEDED: "canceled",
    },
}
FORGES = ("github", "gitlab", "gitea")


def status_request(
    kind: str, *, api: str, host: str, secret: str, report: Report
) -> HttpRequest | None:
    """Write what tells a forge of a commit; None for what is not a commit of this forge."""
    push = report.due.push
    found = repository_of(push.url)
    if found is None or found[0] != host or not _REVISION.fullmatch(push.after):
        return None
    path, state = found[1], _STATES["gitlab" if kind == "gitlab" else "github"][report.due.said]
    # A request's head may be pushed later on: what became of its try is another matter.
    context = f"ostci/{report.osname}" + ("/merge-request" if push.via is Via.REQUEST else "")
    values = {"state": state, "target_url": report.page, "description": report.title[:_LONGEST]}
    headers = {"Content-Type": "application/json", "User-Agent": "ostci"}
    if kind == "gitlab":
        url = f"{api}/api/v4/projects/{quote(path, safe='')}/statuses/{push.after}"
        values["name"] = context
        headers["PRIVATE-TOKEN"] = secret
    else:
        root = api if kind == "github" else f"{api}/api/v1"
        url = f"{root}/repos/{quote(path)}/statuses/{push.after}"
        values["context"] = context
        headers["Authorization"] = f"token {secret}"
    return HttpRequest(url=url, headers=headers, body=json.dumps(values).encode())


def webhook_request(url: str, secret: str, report: Report) -> HttpRequest:
    """Write what a program is told, signed as a plain push hook is where there is a secret."""
    due = report.due
    values = {
        "os": report.osname,
        "push": due.push.id,
        "component": due.push.component,
        "url": due.push.url,
        "branch": due.push.branch,
        "before": due.push.before,
        "after": due.push.after,
        "run": due.push.run,
        "verdict": due.said,
        "was": due.component_was,
        "message": due.push.message,
        "page": report.page,
        "repeat": report.repeat,
    }
    body = json.dumps(values, sort_keys=True).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "ostci"}
    if secret:
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        headers["X-Ostci-Signature"] = f"sha256={digest}"
    return HttpRequest(url=url, headers=headers, body=body)


def repository_of(url: str) -> tuple[str, str] | None:
    """Tell host and path (``owner/name``) of a repository's address; None for a local one."""
    scp = _SCP.fullmatch(url) if "://" not in url else None
    if scp:
        host, path = scp[1], scp[2]
    else:
        parts = urlsplit(url)
        host, path = parts.hostname or "", parts.path
    path = path.strip("/").removesuffix(".git")
    return (host, path) if host and "/" in path else None
