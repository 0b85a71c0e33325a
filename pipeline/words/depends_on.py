# SPDX-License-Identifier: LGPL-2.1-or-later
"""``Depends-On:`` in a commit message: what a push cannot be tested without.

``Depends-On: COMPONENT@REVISION`` or ``URL@REVISION``; without a revision any push of it that
waits is meant. Several may stand in one message, a line each.
"""

import re
from dataclasses import dataclass

from pipeline.words.push import Push

# A message may hold what is meant for the terminal that shows it.
_LINE = re.compile(r"^depends-on[ \t]*:[ \t]*([!-~]{1,500})[ \t]*$", re.IGNORECASE)
_REVISION = re.compile(r"[0-9a-f]{7,64}")
_COMMIT_PAGE = re.compile(r"(https?://.+?)(?:/-)?/commit/([0-9a-f]{7,64})")


@dataclass(frozen=True, kw_only=True)
class Dependency:
    """What is depended on: a component's name or a URL, and how its revision begins."""

    name: str
    revision: str = ""

    def __str__(self) -> str:
        return f"{self.name}@{self.revision}" if self.revision else self.name


def depends_on(message: str) -> tuple[Dependency, ...]:
    """Read the dependencies out of a commit message, each once.

    The page of a commit at a forge, ``https://HOST/…/commit/REVISION``, is taken as well.
    """
    found: dict[Dependency, None] = {}
    # git ends lines at line feeds alone.
    for line in message.split("\n"):
        match = _LINE.match(line.rstrip("\r"))
        if match:
            found[_dependency(match[1])] = None
    return tuple(found)


def _dependency(text: str) -> Dependency:
    page = _COMMIT_PAGE.fullmatch(text)
    if page:
        return Dependency(name=page[1], revision=page[2])
    name, separator, revision = text.rpartition("@")
    if separator and name and _REVISION.fullmatch(revision):
        return Dependency(name=name, revision=revision)
    return Dependency(name=text)


def is_met_by(dependency: Dependency, push: Push) -> bool:
    """Tell whether a push is the one that is depended on."""
    if not is_named(dependency, push.component, push.url):
        return False
    revisions = (push.after, *push.commits)
    return any(one.startswith(dependency.revision) for one in revisions)


def is_named(dependency: Dependency, component: str, url: str) -> bool:
    """Tell whether a dependency means a component, or the repository at a URL."""
    return dependency.name == component or _bare(dependency.name) == _bare(url)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix(".git")
