# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the branches, tags and merge requests of a server are: one question, nothing fetched."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.ports import process
from pipeline.ports.git_commands import Git
from pipeline.ports.git_fetch import explain
from pipeline.words.push import TAG
from pipeline.words.refs import Revision, is_revision
from pipeline.words.request import PATTERNS, is_request

_ASK_S = 120.0
_BRANCHES, _TAGS = "refs/heads/", "refs/tags/"
_PEELED = "^{}"


@dataclass(frozen=True, kw_only=True)
class There:
    """What a server has: heads by name, and the heads of merge requests by ref."""

    heads: Mapping[str, Revision] = field(default_factory=dict)
    requests: Mapping[str, Revision] = field(default_factory=dict)


def read_heads(url: str, names: Iterable[str], *, git: Git, requests: bool = False) -> There:
    """Ask a server where these heads are; those that it has not are not in the answer.

    A name is a branch, or ``tag:NAME`` for a tag: where that leads to, if it is annotated, and
    where there is none, the branch of that name. ``requests`` asks for merge requests, too. Only
    transports that a manifest may name are let through. Raises Trouble for a server that does not
    answer.
    """
    places = {name: _places(name) for name in names}
    refs = [ref for some in places.values() for ref in some]
    there = _ask(url, [*refs, *(PATTERNS if requests else ())], git)
    found = {
        name: next((there[ref] for ref in some if ref in there), None)
        for name, some in places.items()
    }
    return There(
        heads={name: at for name, at in found.items() if at is not None},
        requests={ref: at for ref, at in there.items() if requests and is_request(ref)},
    )


def _places(name: str) -> tuple[str, ...]:
    """List the refs that a head may be, the first that is there counts."""
    if not name.startswith(TAG):
        return (f"{_BRANCHES}{name}",)
    tag = name.removeprefix(TAG)
    return (f"{_TAGS}{tag}{_PEELED}", f"{_TAGS}{tag}", f"{_BRANCHES}{tag}")


def _ask(url: str, patterns: Iterable[str], git: Git) -> dict[str, Revision]:
    wanted = frozenset(patterns)
    try:
        done = git.run(["ls-remote", "--", url, *sorted(wanted)], deadline_s=_ASK_S)
    except process.CommandError as error:
        raise explain(url, git.directory, error) from error
    found = {}
    # git ends lines at line feeds alone, and matches a pattern at the end of other refs, too.
    for line in done.text.split("\n"):
        revision, _, ref = line.partition("\t")
        if is_revision(revision) and (ref in wanted or is_request(ref)):
            found[ref] = Revision(revision)
    return found
