# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the mirror of a URL lies below the mirrors' directory, and URLs that are relative.

No two URLs share a place, none lies within another, and none leads out.
"""

import posixpath
from urllib.parse import quote

from pipeline.words.errors import Failed
from pipeline.words.findings import Wrong
from pipeline.words.source_urls import check_url

_ENDS = (".git", ".bare", ".lock", ".making")
"""What mirrors, and the files beside them, end in: no directory above a mirror does."""
_LONGEST = 200
_LONGEST_PLACE = 2000
"""Half of what the kernel takes: the other half is for the work directory and git's own."""


def mirror_place(url: str) -> str:
    """Name the place of a git URL: ``https/HOST/PATH.git``.

    A path that does not end in ``.git`` gets ``.bare``: both may be there, and differ.
    """
    scheme, host, path = _split(url)
    kind = {"": "ssh" if host else "file"}.get(scheme, scheme.lower())
    parts = [part for part in path.split("/") if part] or ["_"]
    last = parts.pop()
    inner = [host] if host else []
    places = [_quoted(part, inner=True) for part in [*inner, *parts]]
    name = _quoted(last, inner=False)
    place = "/".join([kind, *places, name if name.endswith(".git") else f"{name}.bare"])
    if len(place) > _LONGEST_PLACE:
        raise Failed(f"a URL with a path of {len(place)} characters", where=url[:80])
    return place


def _quoted(part: str, *, inner: bool) -> str:
    text = quote(part, safe="@+=,")
    if not part.strip(".") or (inner and text.endswith(_ENDS)):
        stem, _, end = text.rpartition(".")
        text = f"{stem}%2E{end}"
    if len(text) > _LONGEST:
        raise Failed(f"a URL with a name of {len(text)} characters", where=part[:40])
    return text


def absolute_url(url: str, parent: str) -> str:
    """Take a submodule's URL from its parent's; raises Failed for one that is not let through.

    A server's repository cannot name files of this machine.
    """
    if url.startswith(("./", "../")):
        scheme, host, path = _split(parent)
        start = f"{scheme}://{host}" if scheme else f"{host}:" if host else ""
        url = start + posixpath.normpath(posixpath.join(path, url))
    try:
        checked = check_url(url)
    except Wrong as wrong:
        raise Failed(
            f"a submodule's URL is not let through: {wrong.message}",
            where=parent,
            hint=wrong.hint,
        ) from wrong
    if _is_local(checked) and not _is_local(parent):
        raise Failed(f"a submodule is said to be on this machine: {url}", where=parent)
    return checked


def _is_local(url: str) -> bool:
    return url.startswith("/") or url.lower().startswith("file://")


def _split(url: str) -> tuple[str, str, str]:
    """Take a URL apart: scheme (none for paths and ``HOST:PATH``), host, path."""
    scheme, separator, rest = url.partition("://")
    if separator:
        host, slash, path = rest.partition("/")
        return scheme, "" if scheme.lower() == "file" else host, slash + path
    if url.startswith("/"):
        return "", "", url
    host, _, path = url.partition(":")
    return "", host, path
