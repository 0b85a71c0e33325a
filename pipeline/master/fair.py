# SPDX-License-Identifier: LGPL-2.1-or-later
"""The priority of what runs trigger: by rank, and fair between those who ask.

Buildbot 4.3 compares the priorities of requests in one builder and, for the order in which builders
take free workers, between them; a triggered request has its scheduler's own priority and not that
of the run. So each is given one as it is triggered.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from buildbot.plugins import schedulers

from pipeline.words.push import Push
from pipeline.words.rank import asker_of, priority, rank_of

PRIORITY = "priority"


class RankedTriggerable(schedulers.Triggerable):
    """A Triggerable that takes the priority of each request from its properties."""

    def trigger(
        self, waited_for: bool, sourcestamps: Any = None, set_props: Any = None, **kwargs: Any
    ) -> Any:
        """Trigger; what is given no priority has none."""
        given = set_props.getProperty(PRIORITY) if set_props is not None else None
        # It is read before this call comes back.
        self.priority = given if type(given) is int else 0
        return super().trigger(waited_for, sourcestamps, set_props, **kwargs)


class Fair:
    """Counts what is asked for and not done yet, by asker; one for all runs of a master."""

    def __init__(self) -> None:
        self._going: Counter[str] = Counter()

    def begin(self, push: Push, going: Iterable[Push]) -> tuple[str, int]:
        """Tell the asker and the priority of one more request of a push; ``end`` it when done.

        ``going`` are all that have no ending yet.
        """
        oldest = min((one.id for one in going if not one.is_try), default=None)
        asker = asker_of(push)
        found = priority(rank_of(push, is_oldest=push.id == oldest), self._going[asker])
        self._going[asker] += 1
        return asker, found

    def end(self, asker: str) -> None:
        """Note that a request is done, however."""
        self._going[asker] -= 1
        if self._going[asker] <= 0:
            del self._going[asker]
