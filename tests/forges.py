# SPDX-License-Identifier: LGPL-2.1-or-later
"""Hooks of merge requests as forges send them: headers, and as much of the bodies as counts.

Written after https://docs.github.com/webhooks/webhook-events-and-payloads,
https://docs.gitlab.com/user/project/integrations/webhook_events/ and
https://docs.gitea.com/usage/webhooks.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from typing import Any

REPOSITORY, FORK = 1296269, 35129377
"""Numbers of a repository and of somebody's fork of it."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """A merge request as one hook shows it; ``minute`` is when it was so, of one hour."""

    kind: str
    url: str
    number: int = 1
    is_open: bool = True
    action: str = "opened"
    author: str = "mallory"
    association: str = "NONE"
    source: int = FORK
    target: str = "main"
    head: str = "a" * 40
    minute: int = 0

    def body(self, **more: Any) -> bytes:
        """Write the body; ``more`` replaces what stands at the top of it."""
        made = self._gitlab() if self.kind == "gitlab" else self._pull()
        return json.dumps({**made, **more}).encode()

    def headers(self, body: bytes, secret: str) -> dict[str, str]:
        """Sign a body."""
        digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        return {
            "github": {"X_GitHub_Event": "pull_request", "X_Hub_Signature_256": f"sha256={digest}"},
            "gitea": {"X_Gitea_Event": "pull_request", "X_Gitea_Signature": digest},
            "gitlab": {"X_Gitlab_Event": "Merge Request Hook", "X_Gitlab_Token": secret},
        }[self.kind]

    def but(self, **given: Any) -> "Request":
        """Tell what a later hook shows."""
        return replace(self, **given)

    def _pull(self) -> dict[str, Any]:
        time = f"2026-11-28T10:{self.minute:02}:00Z"
        pull: dict[str, Any] = {
            "id": 279147437,
            "number": self.number,
            "state": "open" if self.is_open else "closed",
            "title": "Update the README with new information.",
            "user": {"login": self.author, "id": 21031067},
            "html_url": f"https://forge.example/own/zlib/pull/{self.number}",
            "draft": False,
            "merged": False,
            "created_at": "2026-11-28T09:00:00Z",
            "updated_at": time,
            "head": {
                "ref": "changes",
                "sha": self.head,
                "repo": {"id": self.source, "full_name": f"{self.author}/zlib", "fork": True},
            },
            "base": {
                "ref": self.target,
                "sha": "f" * 40,
                "repo": {"id": REPOSITORY, "full_name": "own/zlib"},
            },
        }
        if self.kind == "github":
            pull["author_association"] = self.association
        return {
            "action": self.action,
            "number": self.number,
            "pull_request": pull,
            "repository": {"id": REPOSITORY, "full_name": "own/zlib", "clone_url": self.url},
            "sender": {"login": self.author},
        }

    def _gitlab(self) -> dict[str, Any]:
        return {
            "object_kind": "merge_request",
            "event_type": "merge_request",
            "user": {"id": 51, "username": self.author},
            "project": {"id": REPOSITORY, "git_http_url": self.url, "default_branch": "main"},
            "repository": {"name": "zlib", "url": self.url},
            "object_attributes": {
                "id": 99,
                "iid": self.number,
                "target_branch": self.target,
                "source_branch": "changes",
                "source_project_id": self.source,
                "target_project_id": REPOSITORY,
                "author_id": 51,
                "title": "MS-Viewport",
                "updated_at": f"2026-11-28 10:{self.minute:02}:00 UTC",
                "state": "opened" if self.is_open else "closed",
                "action": self.action,
                "last_commit": {"id": self.head, "author": {"name": self.author}},
                "url": f"https://forge.example/own/zlib/-/merge_requests/{self.number}",
            },
        }
