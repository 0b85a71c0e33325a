# SPDX-License-Identifier: LGPL-2.1-or-later
"""When to look at a repository again: regularly, and less and less often while it does not answer.

And whether what it says is news. How it is looked at is not known here; times are in seconds of
any clock that does not go back.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pipeline.words.push import GONE, TAG

LONGEST_PAUSE_S = 3600.0
"""A repository that never answers is still asked this often."""
_DOUBLINGS = 12
_JITTER = 0.25
"""So much of a pause is left to chance: a server that was away is not asked by all at once."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is known of one URL: when it is asked next, and how often it failed on end.

    As it is made is one that was never asked, or that answered: it is asked in every round.
    """

    due: float = 0.0
    failures: int = 0


def due_urls(urls: Iterable[str], known: Mapping[str, Asked], now: float) -> tuple[str, ...]:
    """Choose what to ask in a round that begins now: all but what is left alone for a while."""
    return tuple(url for url in urls if known.get(url, Asked()).due <= now)


def failed(asked: Asked, now: float, *, round_s: float, chance: float) -> Asked:
    """Note that it did not answer; ``chance`` is from 0 to 1, ``round_s`` is between two rounds.

    The first failure costs no round, the second one, then two, four and so on.
    """
    failures = asked.failures + 1
    rounds = 0.0 if failures == 1 else 2.0 ** min(failures - 2, _DOUBLINGS)
    pause = min(rounds * round_s, LONGEST_PAUSE_S)
    jittered = pause * (1.0 - _JITTER * chance)
    return replace(asked, failures=failures, due=now + jittered)


def is_news(
    url: str, names: Iterable[str], there: Mapping[str, str], known: Mapping[tuple[str, str], str]
) -> bool:
    """Tell whether a server's heads are elsewhere than they were seen last, gone, or back."""
    for name in names:
        is_told = (url, name + GONE) in known
        if name in there:
            if is_told or known.get((url, name)) != there[name]:
                return True
        elif not is_told and is_missed(url, name, known):
            return True
    return False


def is_missed(url: str, name: str, known: Mapping[tuple[str, str], str]) -> bool:
    """Tell whether a head that is not there should be.

    A branch should; of what stands as a tag in a manifest only what was there before, since the
    original's manifests name any revision so.
    """
    return not name.startswith(TAG) or (url, name) in known
