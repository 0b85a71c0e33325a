# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where runs, their evidence and verdicts are to be seen: as ``ostci serve`` shows them.

The way back, from a run to its builds, is a file in the run's directory.
"""

from collections.abc import Sequence
from urllib.parse import quote

from pipeline.ports.master_settings import MasterSettings


def run_url(settings: MasterSettings, version: str, *below: str) -> str:
    """Name the address of a run, or of something in its directory; a directory ends with ``/``."""
    day, _, number = version.partition(".")
    parts = [day[:4], day[4:6], day[6:], number, *below]
    return f"{settings.served}runs/{'/'.join(quote(part, safe='') for part in parts)}"


def verdict_url(settings: MasterSettings, commit: str) -> str:
    """Name the address of the signed verdicts of a tree that was promoted."""
    return f"{settings.served}verdicts/{quote(commit, safe='')}.json"


def evidence_url(settings: MasterSettings, words: Sequence[object], run: str) -> tuple[str, str]:
    """Tell what a command of a run leaves for people, by name and address; empty for nothing."""
    given = [str(word) for word in words]
    if given[:1] == ["build"] and len(given) > 1 and not given[1].startswith("-"):
        return f"build of {given[1]}", run_url(settings, run, "build", given[1], "")
    if given[:1] == ["test"] and "--suite" in given:
        suite = given[given.index("--suite") + 1]
        return f"evidence of {suite}", run_url(settings, run, "test", given[1], suite, "")
    return "", ""
