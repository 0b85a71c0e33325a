# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the branches of a server are: one question, nothing fetched."""

from collections.abc import Iterable

from pipeline.ports import process
from pipeline.ports.git_commands import Git
from pipeline.ports.git_fetch import explain
from pipeline.words.refs import Revision, is_revision

_ASK_S = 120.0
_PLACE = "refs/heads/"


def read_heads(
    url: str, branches: Iterable[str], *, git: Git, deadline_s: float = _ASK_S
) -> dict[str, Revision]:
    """Ask a server where these branches are; those that it has not are not in the answer.

    Only transports that a manifest may name are let through. Raises Trouble for a server that
    does not answer.
    """
    wanted = set(branches)
    refs = sorted(f"{_PLACE}{branch}" for branch in wanted)
    try:
        done = git.run(["ls-remote", "--refs", "--", url, *refs], deadline_s=deadline_s)
    except process.CommandError as error:
        raise explain(url, git.directory, error) from error
    found = {}
    # git ends lines at line feeds alone, and matches a pattern at the end of other refs, too.
    for line in done.text.split("\n"):
        revision, _, ref = line.partition("\t")
        branch = ref.removeprefix(_PLACE)
        if is_revision(revision) and ref.startswith(_PLACE) and branch in wanted:
            found[branch] = Revision(revision)
    return found
