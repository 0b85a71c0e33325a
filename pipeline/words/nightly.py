# SPDX-License-Identifier: LGPL-2.1-or-later
"""The run of the night: which night is due, and what is written into the ledger for it.

It is the newest snapshot once more, with the base looked at and all suites of the gates: what
breaks though nobody pushed, such as a test that hangs on the date, is known in the morning.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from pipeline.words.push import NIGHTLY, NewPush, Push, Via

_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
HEAD = f"{NIGHTLY}:"
"""Under which the ledger has the newest night that was taken up; of no branch."""


def is_clock(text: object) -> bool:
    """Tell whether a text is a time of day, ``02:00``."""
    return isinstance(text, str) and _CLOCK.fullmatch(text) is not None


def due_night(clock: str, now: float) -> str:
    """Tell the date of the newest night whose time has come; ``now`` in seconds since 1970, UTC.

    Nights that were missed before it are none of their own any more.
    """
    hour, minute = map(int, clock.split(":"))
    at = datetime.fromtimestamp(now, UTC)
    if (at.hour, at.minute) < (hour, minute):
        at -= timedelta(days=1)
    return f"{at:%Y-%m-%d}"


def night_push(night: str, before: str, going: Iterable[Push]) -> NewPush | None:
    """Make up the push of a night; None for the first, and while an earlier one still goes on."""
    if not before or any(push.via is Via.NIGHTLY for push in going):
        return None
    return NewPush(
        component=NIGHTLY,
        url=NIGHTLY,
        branch="",
        before=before,
        after=night,
        via=Via.NIGHTLY,
        note=f"the night of {night}",
    )
