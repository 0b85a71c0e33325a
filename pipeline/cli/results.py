# SPDX-License-Identifier: LGPL-2.1-or-later
"""What stages leave in a run's directory for those after them, where a stage's own result is not
all of it. Each class says the file's name."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.words.gate import GateResult
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import SuiteResult


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """``resolve.json``: what could not be pinned, and what was taken from elsewhere."""

    failures: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trees:
    """``trees.json``: what was composed."""

    trees: tuple[Tree, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Disks:
    """``disks.json``: a disk a tree, by its name."""

    disks: Mapping[str, Disk] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Tests:
    """``tests.json``: what every suite said of every tree."""

    __test__ = False
    suites: tuple[SuiteResult, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Judged:
    """``judge.json``: what the gate makes of each tree of a try."""

    trees: Mapping[str, GateResult] = field(default_factory=dict)
