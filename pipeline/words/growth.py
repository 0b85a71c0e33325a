# SPDX-License-Identifier: LGPL-2.1-or-later
"""What grew beyond a bound since the tree that was promoted last: a warning, never a failure.

Figures are those of the suite ``memory``. What is measured in seconds depends on the host and
what else it does, so that its bounds are wide, and it is compared by the speed of the host.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Told is what grew by more than ``ratio`` and by more than ``least``, in the figure's unit."""

    ratio: float
    least: float


BYTES = Bound(ratio=0.1, least=1024**2)
FILES = Bound(ratio=0.1, least=100)
BOOT = Bound(ratio=0.5, least=3.0)
UNIT = Bound(ratio=1.0, least=2.0)
_UNIT = re.compile(r"unit:[A-Za-z0-9:_.\\@-]{1,200}")
_MOST_UNITS = 20
"""Figures come from guests, and from workers elsewhere: they may name anything."""
SHOWN = ("boot_s", "memory_bytes", "tree_bytes", "initramfs_bytes", "files")
"""The figures that are shown of a tree, in order; those of units follow."""


def grown(now: Mapping[str, float], before: Mapping[str, float], *, since: str) -> tuple[str, ...]:
    """Say in words what grew; ``since`` is what the earlier tree is called."""
    pace = now.get("speed", 1.0) / before.get("speed", 1.0) if before.get("speed") else 1.0
    found = []
    for name in in_order(now):
        bound = _bound(name)
        if bound is None or name not in before:
            continue
        old = before[name] * (pace if bound in (BOOT, UNIT) else 1.0)
        if now[name] - old > max(bound.least, bound.ratio * old):
            told = f"from {figure(name, old)} to {figure(name, now[name])} {since}"
            found.append(f"{name} grew {told}")
    return tuple(found)


def in_order(numbers: Mapping[str, float]) -> tuple[str, ...]:
    """Name the figures of a tree that are there, as they are shown."""
    units = [name for name in numbers if _UNIT.fullmatch(name)]
    units.sort(key=lambda name: (-numbers[name], name))
    return (*(name for name in SHOWN if name in numbers), *units[:_MOST_UNITS])


def figure(name: str, value: float) -> str:
    """Write a value as that of a figure."""
    if name.endswith("_bytes"):
        return f"{value / 1024**2:.1f} MiB"
    return f"{value:.0f}" if name == "files" else f"{value:.1f} s"


def _bound(name: str) -> Bound | None:
    if name.endswith("_bytes"):
        return BYTES
    if _UNIT.fullmatch(name):
        return UNIT
    return {"files": FILES, "boot_s": BOOT}.get(name)
