# SPDX-License-Identifier: LGPL-2.1-or-later
"""What comes first where there is not room for all: Buildbot takes the highest priority.

A rank goes before everything; within one, whoever has asked for much already comes after who has
asked for little, so that a push that rebuilds a thousand components holds up no small one.
"""

from enum import IntEnum

from pipeline.words.push import Push, Via

STEP = 1_000_000
"""More requests of one asker than this are ranked alike."""


class Rank(IntEnum):
    """``NEEDED``: the oldest push, for which all others wait to compose."""

    BISECTION = 0
    SCHEDULED = 1
    ASKED = 2
    NEEDED = 3


def rank_of(push: Push, *, is_oldest: bool) -> Rank:
    """Tell the rank of what a push or a try needs built."""
    if is_oldest:
        return Rank.NEEDED
    return Rank.SCHEDULED if push.via in (Via.BASE, Via.NIGHTLY) else Rank.ASKED


def asker_of(push: Push) -> str:
    """Tell among whom it is fair: components that are pushed, and people who try."""
    if push.via is Via.REQUEST:
        return f"merge requests of {push.url}"  # whoever has many accounts is one all the same
    return f"try by {push.wish.by}" if push.is_try else push.component


def priority(rank: Rank, before: int) -> int:
    """Write a rank and how many requests of the same asker are not done yet as one number."""
    return rank * STEP - min(max(before, 0), STEP - 1)


def priority_of_run(push: Push) -> int:
    """Tell when a run is begun: tries first, for they need no turn; pushes in their order.

    Composes keep the order of pushes whatever is begun first, so nothing is gained by another.
    A merge request, which a stranger may have opened, comes no sooner than what was pushed.
    """
    return priority(Rank.NEEDED if push.via is Via.TRY else Rank.ASKED, 0)
