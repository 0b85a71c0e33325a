# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pushes that hooks name: a burst of them is as many pushes, though one look finds all at once.

Each hook tells where a branch was before its push and after it. From where the ledger knows the
branch to be, they lead on like links of a chain. As long as one may be under way (its server sends
hooks, and its time is not over) what no chain leads to is left to the next look. Names are hints:
only what the fetched history has counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

GRACE_S = 5.0
"""How long a head that moved is left alone for its hook to come."""
_OLD_S = 600.0
_MOST = 1000
_MOST_ALL = 20_000


@dataclass(frozen=True, kw_only=True)
class Named:
    """A push as a hook names it; ``number`` is its place in the order in which hooks came."""

    branch: str
    before: str
    after: str
    number: int = 0


def way_from(start: str, named: Iterable[Named]) -> tuple[str, ...]:
    """Follow pushes of one branch from a revision on: each begins where the one before ended."""
    left = sorted(named, key=lambda one: one.number)
    way: list[str] = []
    at = start
    while True:
        step = next((one for one in left if one.before == at), None)
        if step is None:
            return tuple(way)
        left.remove(step)
        at = step.after
        way.append(at)


@dataclass
class _Place:
    named: list[tuple[float, Named]] = field(default_factory=list)
    held: Mapping[str, str] = field(default_factory=dict)
    since: float = 0.0


class Hooks:
    """What hooks have named, by place (see ``hook.place_of_repository``); times as in ``watch``."""

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._count = 0

    def note(self, place: str, named: Named, now: float) -> None:
        """Note what a hook names."""
        self._count += 1
        numbered = Named(
            branch=named.branch, before=named.before, after=named.after, number=self._count
        )
        kept = self._places.setdefault(place, _Place())
        kept.named = [*_young(kept, now), (now, numbered)][-_MOST:]
        if sum(len(one.named) for one in self._places.values()) > _MOST_ALL:
            # Whoever names most gives way: others' bursts are none of his.
            del max(self._places.values(), key=lambda one: len(one.named)).named[0]

    def note_sender(self, place: str) -> None:
        """Note that hooks come from there, though none is kept."""
        self._places.setdefault(place, _Place())

    def kept(self, now: float) -> tuple[tuple[str, Named | None], ...]:
        """List all places, and after them what hooks named, in the order in which they came."""
        named = [(name, one) for name, kept in self._places.items() for _, one in _young(kept, now)]
        named.sort(key=lambda found: found[1].number)
        return (*((name, None) for name in self._places), *named)

    @property
    def count(self) -> int:
        """How many there were."""
        return self._count

    def named(self, place: str, until: int) -> tuple[Named, ...]:
        """List what the first ``until`` hooks named there and no look has passed yet."""
        found = self._places.get(place)
        return tuple(one for _, one in found.named if one.number <= until) if found else ()

    def is_awaited(self, place: str, now: float) -> bool:
        """Tell whether what no hook has named there is left alone for a while."""
        found = self._places.get(place)
        return found is not None and not (found.held and now - found.since >= GRACE_S)

    def looked(
        self, place: str, recorded: Iterable[str], held: Mapping[str, str], now: float
    ) -> float:
        """Note a look: the revisions that are pushes now, and by branch where it was left alone.

        Tells how many seconds later the next look is due; 0 where nothing was left alone.
        """
        found = self._places.get(place)
        if found is None:
            return 0.0
        done = set(recorded)
        found.named = [one for one in found.named if one[1].after not in done]
        if dict(held) != dict(found.held):
            found.held, found.since = dict(held), now
        return max(0.05, found.since + GRACE_S - now) if held else 0.0

    def keep(self, places: Sequence[str]) -> None:
        """Forget all other places: nobody watches them."""
        wanted = set(places)
        self._places = {name: one for name, one in self._places.items() if name in wanted}


def _young(place: _Place, now: float) -> list[tuple[float, Named]]:
    return [one for one in place.named if now - one[0] < _OLD_S]
