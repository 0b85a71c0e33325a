# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a suite's own process is told, and what it tells back, as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.words.desktop_entry import App
from pipeline.words.external import Externals
from pipeline.words.installed import InstalledTest
from pipeline.words.manifest import Target
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import TestResult

PARAMETERS = "OSTCI_SUITE"
"""The environment variable that names the file with the parameters, a pickle of ours."""
LOG_MARK = "\x1e"
"""What a line of the log begins with among a suite's output; then a digit, the level."""

MOST_PROCESSES = 400
"""How many a suite may have at a time, all below it together."""
TOO_MANY = 75
"""Its exit code when it had more, and stopped itself and all of them."""


@dataclass(frozen=True, kw_only=True)
class SuiteParameters:
    """A suite on one commit: where its disk, its evidence and its private directories are.

    ``sockets`` is short and open to QEMU's user, ``scratch`` has room for layers of the disk.
    ``accelerator`` and ``speed`` are what this host runs machines with, and how much longer than
    with KVM they may take. ``repeat`` is the command that repeats the suite. ``installed`` are the
    tests that the suite of that name is to run, ``externals`` likewise, ``apps`` the applications;
    ``compositor`` is what the tree says of its session.

    ``checkpoints`` is the directory of those, empty where every machine is to boot. Of a suite that
    ``is_cold`` the machine starts before its tests are looked at; one that ``leaves_checkpoint``
    has one made of its machine at its end.
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


@dataclass(frozen=True, kw_only=True)
class SuiteReport:
    """What the process leaves as ``report.json``; without it, it did not come to its end."""

    tests: tuple[TestResult, ...] = ()
    cause: str = ""
    message: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)
