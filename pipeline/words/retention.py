# SPDX-License-Identifier: LGPL-2.1-or-later
"""Which trees of a ``compose`` line may lose their files.

Counted in trees and from the newest one's time, not from today: a line on which nothing happens
loses nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.words.manifest import Retention
from pipeline.words.refs import Commit

_DAY_S = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A tree whose files are here. ``time`` is in seconds since 1970.

    ``bound``: it was promoted or a ref names it. ``judged``: it has a verdict.
    """

    commit: Commit
    time: int
    bound: bool = False
    judged: bool = False


def droppable(line: Sequence[Composed], policy: Retention) -> tuple[Commit, ...]:
    """List what nothing keeps, of a line that begins with its newest tree.

    Kept are the newest, the newest with a verdict, all that are bound, and by the policy a number
    of the newest and, of those before them, the last of each day.
    """
    if not line:
        return ()
    today = line[0].time // _DAY_S
    judged = next((one.commit for one in line if one.judged), None)
    days: set[int] = set()
    found = []
    for one in line[max(1, policy.newest) :]:
        day = one.time // _DAY_S
        last_of_its_day = day not in days
        days.add(day)
        if one.bound or one.commit == judged:
            continue
        if last_of_its_day and today - day <= policy.daily and policy.daily > 0:
            continue
        found.append(one.commit)
    return tuple(found)
