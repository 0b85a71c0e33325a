# SPDX-License-Identifier: LGPL-2.1-or-later
"""Figures in the text format that Prometheus reads (exposition format 0.0.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]
Samples = Mapping[tuple[str, Labels], float]
"""What follows the name (``_sum`` and ``_count`` of a summary, else nothing) and labels → value."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """One metric with all its samples; ``kind`` is ``counter``, ``gauge`` or ``summary``."""

    name: str
    kind: str
    help: str
    samples: Samples = field(default_factory=dict)


def by(name: str, values: Mapping[str, float]) -> Samples:
    """Write samples with one label."""
    return {("", ((name, label),)): value for label, value in values.items()}


def one(value: float) -> Samples:
    """Write the only sample of a metric without labels."""
    return {("", ()): value}


def exposition(families: tuple[Family, ...]) -> str:
    """Write it all; a metric without samples is left out."""
    lines = []
    for family in families:
        if family.samples:
            lines.append(f"# HELP {family.name} {_escaped(family.help)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
        for (suffix, labels), value in family.samples.items():
            inside = ",".join(f'{name}="{_quoted(label)}"' for name, label in labels)
            where = f"{{{inside}}}" if inside else ""
            lines.append(f"{family.name}{suffix}{where} {float(value)!r}")
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
