# SPDX-License-Identifier: LGPL-2.1-or-later
"""Several that failed, told in a line: what failed alike is told once."""

from collections.abc import Iterable, Mapping


def told_once(reasons: Mapping[str, str]) -> str:
    """Write who failed and why: ``a, b: it does not boot; c: no space``."""
    names: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        names.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(who)}: {reason}" for reason, who in names.items())


def stages_told(messages: Iterable[tuple[str, str]]) -> str:
    """Write why stages of a run failed, by their keys; parts of one that failed alike once.

    The key ``test a smoke`` is of the part ``a smoke``; ``did not pass: a smoke: it does not boot``
    and the same of ``b smoke`` become ``did not pass: a smoke, b smoke: it does not boot``.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for key, message in messages:
        part = key.partition(" ")[2]
        before, found, after = message.partition(f"{part}: ") if part else (message, "", "")
        who = alike.setdefault((before, after) if found else (message or key, ""), [])
        if found:
            who.append(part)
    return "; ".join(
        f"{before}{', '.join(who)}: {after}" if who else before
        for (before, after), who in alike.items()
    )
