# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where a try stands that was written down: who has taken it, or what it waits for, since when."""

import time

from pipeline.cli.house import House
from pipeline.ports.master_home import answers
from pipeline.ports.master_settings import read_master_settings
from pipeline.words.errors import BadInput
from pipeline.words.push import Push

TAKEN_S = 5.0
"""A master that has a free place has taken a try by then."""
_LOOK_S = 0.1


def master_url(house: House) -> str:
    """Tell the page of the master of this work directory; empty where none is up."""
    home = house.workdir.root / "buildbot" / "master"
    if not (home / "master.toml").is_file():
        return ""
    try:
        settings = read_master_settings(home)
    except BadInput as error:
        house.log.warning(f"whether a master is up cannot be told: {error}")
        return ""
    return settings.url if answers(settings.port) else ""


def taken_soon(house: House, push: Push) -> Push:
    """Wait a moment for a master that is up to take it; tells how it stands then."""
    until = time.monotonic() + TAKEN_S
    while push.is_open and push.run is None and time.monotonic() < until:
        time.sleep(_LOOK_S)
        push = house.ledger.pushes.get(push.id)
    return push


def standing(push: Push, master: str) -> str:
    """Say how a push stands that may have no run yet; ``master`` is the page of one that is up."""
    at = f"the master at {master}" if master else "a master that is not up any more"
    if push.run is not None:
        return f"is run {push.run}; {at} has begun it at {_clock(push.attempted)}"
    if push.attempted is not None and push.is_open:
        return f"was taken by {at} at {_clock(push.attempted)}"
    since = _clock(push.received)
    if master:
        return f"waits for a free place of {at} since {since}"
    return f"waits for a master since {since}, and none is up"


def _clock(when: float | None) -> str:
    return time.strftime("%H:%M:%S UTC", time.gmtime(when))
