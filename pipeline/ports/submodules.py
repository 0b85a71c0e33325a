# SPDX-License-Identifier: LGPL-2.1-or-later
"""Submodules of a git revision: where they are, whose they are, and at which revision.

``.gitmodules`` is written by whoever pushes: what its URLs may be is ``words/mirror_names``'
business. Format: gitmodules(5).
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.ports.git_commands import Git
from pipeline.words.errors import Failed
from pipeline.words.refs import Revision

_BAD = re.compile(r"bad config|bad numeric|bad boolean")
_SETTING = re.compile(r"submodule\.(.*)\.(path|url)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Submodule:
    """One submodule; ``url`` as it is written, which may be relative to its parent's."""

    path: str
    url: str
    revision: Revision


def list_submodules(mirror: Path, revision: Revision, *, where: str, git: Git) -> list[Submodule]:
    """List the submodules of a revision; raises Failed for one that has no URL.

    Without ``.gitmodules`` there are none, whatever links the tree has. ``where`` is whose they
    are, for people.
    """
    blob = f"{revision}:.gitmodules"
    argv: list[str | Path] = ["--git-dir", mirror, "config", "--blob", blob, "--null", "--list"]
    done = git.run(argv, ok=())
    if done.code != 0:
        if _BAD.search(done.error_text):
            told = done.error_text.removeprefix("fatal: ")
            raise Failed(f".gitmodules cannot be read: {told}", where=where)
        return []
    named: dict[str, dict[str, str]] = {}
    for entry in filter(None, done.stdout.decode("utf-8", "replace").split("\0")):
        key, _, value = entry.partition("\n")
        found = _SETTING.fullmatch(key)
        if found:
            named.setdefault(found[1], {})[found[2]] = value
    urls = {one["path"]: one.get("url", "") for one in named.values() if "path" in one}
    return [
        Submodule(path=path, url=_url_of(urls, path, where), revision=at)
        for path, at in _links(mirror, revision, git=git).items()
    ]


def _url_of(urls: dict[str, str], path: str, where: str) -> str:
    url = urls.get(path, "")
    if not url:
        raise Failed(f".gitmodules has no URL for the submodule {path}", where=where)
    return url


def _links(mirror: Path, revision: Revision, *, git: Git) -> dict[str, Revision]:
    argv: list[str | Path] = ["--git-dir", mirror, "ls-tree", "-r", "-z", "--full-tree", revision]
    found = {}
    for entry in filter(None, git.run(argv).stdout.decode("utf-8", "replace").split("\0")):
        about, _, path = entry.partition("\t")
        mode, _kind, at = about.split()
        if mode == "160000":
            found[path] = Revision(at)
    return found
