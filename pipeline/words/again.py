# SPDX-License-Identifier: LGPL-2.1-or-later
"""A push once more, as a person asks for with the build of it: what is written into the ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pipeline.words.errors import BadInput
from pipeline.words.push import TRIES, NewPush, Push, PushState, Via

_AS_BEFORE = (*TRIES, Via.BASE, Via.MANIFEST, Via.NIGHTLY)
"""What these mean stands in how they came to be known."""


def again(push: Push, since: Iterable[Push], *, by: str, rebuild: Sequence[str] = ()) -> NewPush:
    """Write a forced run of the same, on the snapshot of today; ``since`` came after it.

    Raises BadInput where that would set back what has moved on, or where nothing can come of it.
    """
    if push.is_open:
        what = f"push {push.id} has not come to its end"
        raise BadInput(what, hint="wait for that, or stop its build")
    if push.state is PushState.REFUSED:
        raise BadInput(f"push {push.id} is refused: {push.message}", hint="push a better one")
    if push.superseded_by is not None:
        what = f"push {push.id} is superseded by push {push.superseded_by}"
        raise BadInput(what, hint=f"the run of push {push.superseded_by} has both")
    moved = [one for one in since if _moves_on(one, push)]
    if moved:
        newest = max(moved, key=lambda one: one.id)
        what = f"{push.component} has moved on with push {newest.id}, to {newest.after[:12]}"
        raise BadInput(
            what,
            hint=f"rebuild that; to go back all the same: Force a run of {push.component}, "
            f"revision {push.after}",
        )
    wish = replace(push.wish, by=by, rebuild=tuple(dict.fromkeys((*push.wish.rebuild, *rebuild))))
    return NewPush(
        component=push.component,
        url=push.url,
        branch=push.branch,
        before=push.before,
        after=push.after,
        commits=push.commits,
        rewritten=push.rewritten,
        via=push.via if push.via in _AS_BEFORE else Via.FORCE,
        note=f"push {push.id} again",
        wish=wish,
    )


def _moves_on(newer: Push, push: Push) -> bool:
    if push.is_try or newer.is_try or newer.id <= push.id or newer.state is PushState.REFUSED:
        return False
    same = (newer.component, newer.url, newer.branch) == (push.component, push.url, push.branch)
    return same and newer.after != push.after
