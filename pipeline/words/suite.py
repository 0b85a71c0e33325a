# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a suite's own process is told, and what it tells back, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.words.desktop_entry import App
from pipeline.words.external import Externals
from pipeline.words.installed import InstalledTest
from pipeline.words.manifest import Target
from pipeline.words.refs import Commit, RefName
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import TestResult

PARAMETERS = "OSTCI_SUITE"
"""The environment variable that names the file with the parameters, a pickle of ours."""
LOG_MARK = "\x1e"
"""What a line of the log begins with among a suite's output."""

MOST_PROCESSES = 400
"""How many a suite may have at a time, all below it together."""
TOO_MANY = 75
"""Its exit code when it had more, and stopped itself and all of them."""


FROM_PROMOTED = frozenset({"upgrade", "rollback"})
"""Suites whose machine starts as what was promoted last, and becomes the commit under test."""
SWITCH, MEMORY = "switch", "memory"
NO_BASELINE = "no-baseline"
"""The cause of a suite's being skipped because nothing else was ever promoted."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What was promoted before, and its disk."""

    tree: Tree
    disk: Disk


@dataclass(frozen=True, kw_only=True)
class OwnRepository:
    """A repository that only this suite's guest sees: paths, and what is in it.

    ``refs`` are tree → ref: for what was only tried another than ``buildmaster``. ``path`` has
    refs, signatures, summary and deltas, ``built_in`` most objects. ``key`` is the public key that
    all is signed with, ``stranger`` one that nothing is signed with. ``unbootable`` is a tree that
    cannot boot; the summary that names it is beside, as ``summary.unbootable``.
    """

    path: str
    built_in: str
    key: str
    stranger: str
    refs: Mapping[str, RefName]
    has_delta: bool = False
    unbootable: Commit | None = None


@dataclass(frozen=True, kw_only=True)
class SuiteParameters:
    """A suite on one commit: where its disk, its evidence and its private directories are.

    ``sockets`` is short and open to QEMU's user, ``scratch`` has room for layers of the disk.
    ``accelerator`` and ``speed`` are what this host runs machines with, and how much longer than
    with KVM they may take. ``repeat`` is the command that repeats the suite. ``installed`` are the
    tests that the suite of that name is to run, ``externals`` likewise, ``apps`` the applications;
    ``compositor`` is what the tree says of its session. ``baseline`` is what a machine of some
    suites starts as, ``other`` another target's tree that one may become, ``own`` where it finds
    them. ``sizes`` are bytes that the tree takes.

    ``checkpoints`` is the directory of those, empty where every machine is to boot. Of a suite that
    ``is_cold`` the machine starts before its tests are looked at; one that ``leaves_checkpoint``
    has one made of its machine at its end. The machines of tests that fail are kept in the
    directory ``failures`` for ``failures_s``, as those of ``run``; for no time, none is.
    """

    suite: str
    tree: Tree
    target: Target
    disk: Disk
    machines: str
    accelerator: str
    speed: float
    sockets: str
    scratch: str
    evidence: str
    repeat: str = ""
    installed: tuple[InstalledTest, ...] = ()
    externals: tuple[Externals, ...] = ()
    seed: int = 0
    """QEMU's, Python's and that of tests which draw lots."""
    checkpoints: str = ""
    is_cold: bool = False
    leaves_checkpoint: bool = False
    apps: tuple[App, ...] = ()
    compositor: App | None = None
    run: str = ""
    failures: str = ""
    failures_s: float = 0.0
    baseline: Baseline | None = None
    other: Tree | None = None
    own: OwnRepository | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """What the process leaves as ``report.json``; without it, it did not come to its end."""

    tests: tuple[TestResult, ...] = ()
    cause: str = ""
    message: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
