# SPDX-License-Identifier: LGPL-2.1-or-later
"""Read what a guest says of itself in figures; a guest may write anything."""

import re

from vmtests.following import GuestFailed

_FIELD = re.compile(r"(\w+):\s+(\d{1,15}) kB")
_TIME = re.compile(r"(?:(\d{1,6})min\s+)?(\d{1,9}(?:\.\d+)?)(ms|s)\s+([A-Za-z0-9:_.\\@-]{1,200})")
_MOST = 10


def memory_in_use(meminfo: str) -> int:
    """Tell the bytes that cannot be given to programs, by ``/proc/meminfo``."""
    fields = {found[1]: int(found[2]) * 1024 for found in _FIELD.finditer(meminfo)}
    try:
        return fields["MemTotal"] - fields["MemAvailable"]
    except KeyError as error:
        raise GuestFailed(f"/proc/meminfo does not tell {error.args[0]}") from error


def slowest(blame: str) -> dict[str, float]:
    """Tell the seconds of the units that took longest, by ``systemd-analyze blame``."""
    found: dict[str, float] = {}
    for line in blame.splitlines():
        match = _TIME.fullmatch(line.strip())
        if match is not None and len(found) < _MOST:
            minutes, number, unit, name = match.groups()
            seconds = float(number) / (1000 if unit == "ms" else 1)
            found[name] = round(int(minutes or 0) * 60 + seconds, 3)
    return found
