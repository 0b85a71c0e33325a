# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a run is called where people see a list of them: its version, and what was pushed."""

from pipeline.words.push import Push

LONGEST = 100


def title_of(push: Push, *, run: str = "", subject: str = "") -> str:
    """Write it in a line: ``20261128.3 zlib: subject``; a push without a run goes by its number.

    ``subject`` is of the git commit that it moved to; where that is not known it is told itself.
    """
    what = f"try of {push.component}" if push.is_try else push.component
    why = subject or push.note or (push.after[:12] if push.branch else "")
    more = len(push.commits) - 1
    if why and more > 0:
        why += f" (and {more} before)"
    told = f"{run or f'push {push.id}'} {what}" + (f": {why}" if why else "")
    return in_a_line(told, LONGEST)


def in_a_line(text: str, longest: int) -> str:
    """Cut a text of strangers to one line of what can be printed."""
    told = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return told if len(told) <= longest else f"{told[: longest - 1]}…"
