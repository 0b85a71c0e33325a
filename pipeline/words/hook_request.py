# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the hooks of forges say of merge requests.

Any event that shows one is read, whatever it is about: what matters is how the request is now.
Formats: https://docs.github.com/webhooks/webhook-events-and-payloads#pull_request,
https://docs.gitlab.com/user/project/integrations/webhook_events/#merge-request-events,
https://docs.gitea.com/usage/webhooks.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pipeline.words.report import one_line
from pipeline.words.request import Told, is_request

_MEMBERS = ("OWNER", "MEMBER", "COLLABORATOR")
"""What GitHub calls the authors who belong to a repository."""
_LONGEST = 200


def told_of(kind: str, found: Mapping[str, Any]) -> Told | None:
    """Read a hook's body; None for one that is not of a merge request of that kind of forge."""
    if kind == "gitlab":
        return _of_gitlab(found)
    return _of_pull(kind, found) if kind in ("github", "gitea") else None


def _of_pull(kind: str, found: Mapping[str, Any]) -> Told | None:
    pull = _part(found, "pull_request")
    number = pull.get("number", found.get("number"))
    ref = f"refs/pull/{number}/head"
    if not is_request(ref) or pull.get("state") not in ("open", "closed"):
        return None
    head, base = _part(pull, "head"), _part(pull, "base")
    # A branch of the repository itself; in Gitea, what anybody may push for review has none.
    is_inside = not _text(head, "ref").startswith("refs/") and _is_same(
        _part(head, "repo").get("id"), _part(base, "repo").get("id"), _part(found, "repository")
    )
    is_known = kind == "github" and pull.get("author_association") in _MEMBERS
    return Told(
        ref=ref,
        is_open=pull["state"] == "open",
        is_member=is_inside or is_known,
        author=_text(_part(pull, "user"), "login"),
        target=_text(base, "ref"),
        page=_page(_text(pull, "html_url")),
        when=_when(pull.get("updated_at")),
    )


def _of_gitlab(found: Mapping[str, Any]) -> Told | None:
    values = _part(found, "object_attributes")
    ref = f"refs/merge-requests/{values.get('iid')}/head"
    if found.get("object_kind") != "merge_request" or not is_request(ref):
        return None
    # While one is being merged it is ``locked``: the next hook says how that went.
    if values.get("state") not in ("opened", "closed", "merged"):
        return None
    source, target = values.get("source_project_id"), values.get("target_project_id")
    author = values.get("author_id")
    return Told(
        ref=ref,
        is_open=values["state"] == "opened",
        # Who may make branches in a project may write to it; of its members a hook says nothing.
        is_member=_is_same(source, target, _part(found, "project")),
        author=f"author {author}" if type(author) is int else "",
        target=_text(values, "target_branch"),
        page=_page(_text(values, "url")),
        when=_when(values.get("updated_at")),
    )


def _is_same(source: object, target: object, repository: Mapping[str, Any]) -> bool:
    """Tell whether a request is of a branch in the repository that the hook is of."""
    return type(source) is int and source == target == repository.get("id")


def _part(found: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = found.get(key)
    return value if isinstance(value, dict) else {}


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return one_line(value)[:_LONGEST] if isinstance(value, str) else ""


def _page(url: str) -> str:
    return url if url.startswith(("https://", "http://")) and " " not in url else ""


def _when(value: object) -> float:
    """Read a time as forges write it: ``2026-11-28T10:00:00Z``, or with a space and ``UTC``."""
    if not isinstance(value, str):
        return 0.0
    try:
        found = datetime.fromisoformat(value.strip().replace(" UTC", "+00:00"))
    except ValueError:
        return 0.0
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
