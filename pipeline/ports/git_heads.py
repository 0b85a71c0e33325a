# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the branches and tags of a server are: one question, nothing fetched."""

from collections.abc import Iterable

from pipeline.ports import process
from pipeline.ports.git_commands import Git
from pipeline.ports.git_fetch import explain
from pipeline.words.push import TAG
from pipeline.words.refs import Revision, is_revision

_ASK_S = 120.0
_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_PEELED = "^{}"


def read_heads(
    url: str, names: Iterable[str], *, git: Git, deadline_s: float = _ASK_S
) -> dict[str, Revision]:
    """Ask a server where these heads are; those that it has not are not in the answer.

    A name is a branch, or ``tag:NAME`` for a tag: where that leads to, if it is annotated, and
    where there is none, the branch of that name. Only transports that a manifest may name are let
    through. Raises Trouble for a server that does not answer.
    """
    places = {name: _places(name) for name in names}
    there = _ask(url, [ref for refs in places.values() for ref in refs], git, deadline_s)
    return {
        name: there[found]
        for name, refs in places.items()
        if (found := next((ref for ref in refs if ref in there), None))
    }


def _places(name: str) -> tuple[str, ...]:
    """List the refs that a head may be, the first that is there counts."""
    if not name.startswith(TAG):
        return (f"{_BRANCHES}{name}",)
    tag = name.removeprefix(TAG)
    return (f"{_TAGS}{tag}{_PEELED}", f"{_TAGS}{tag}", f"{_BRANCHES}{tag}")


def _ask(url: str, refs: Iterable[str], git: Git, deadline_s: float) -> dict[str, Revision]:
    wanted = frozenset(refs)
    try:
        done = git.run(["ls-remote", "--", url, *sorted(wanted)], deadline_s=deadline_s)
    except process.CommandError as error:
        raise explain(url, git.directory, error) from error
    found = {}
    # git ends lines at line feeds alone, and matches a pattern at the end of other refs, too.
    for line in done.text.split("\n"):
        revision, _, ref = line.partition("\t")
        if is_revision(revision) and ref in wanted:
            found[ref] = Revision(revision)
    return found
