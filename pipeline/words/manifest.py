# SPDX-License-Identifier: LGPL-2.1-or-later
"""A manifest, understood: plain values with every default filled in.

How the text of a manifest becomes these values, and what is refused, is in ``manifest_text``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.refs import Part
from pipeline.words.session import SessionSpec

DEBIAN_SUITE = "bookworm"
"""Where Debian's source packages come from when the base is not of Debian."""


class SourceKind(StrEnum):
    """Where the files of a component come from; all but ``local`` are seen as git downstream."""

    GIT = "git"
    LOCAL = "local"
    TARBALL = "tarball"
    ZIPFILE = "zipfile"
    DEBIAN = "debian"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source: ``location`` is a URL, a path, or for Debian ``NAME``.

    At most one of ``branch``, ``tag`` and ``revision`` is set, and only for git.
    ``versions`` (Debian) are imported oldest first, one git commit each; empty takes the newest
    of the suite.
    """

    kind: SourceKind
    location: str
    branch: str = ""
    tag: str = ""
    revision: str = ""
    checksum: str = ""
    versions: tuple[str, ...] = ()


class BuildSystem(StrEnum):
    """How a component is compiled; ``guess`` looks at the files of the source."""

    GUESS = "guess"
    AUTOTOOLS = "autotools"
    MESON = "meson"
    CMAKE = "cmake"
    MAKE = "make"
    CUSTOM = "custom"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one build may take before it is stopped."""

    time_s: int = 3600
    memory: int = 8 * 1024**3
    processes: int = 1024
    output: int = 4 * 1024**3
    """Bytes that all files of a build may hold together."""


@dataclass(frozen=True, kw_only=True)
class BuildSpec:
    """How to build: a system with options, or commands of its own (run by ``sh -e``).

    Commands see ``$DESTDIR``, ``$PREFIX``, ``$JOBS`` and run in the source's directory.
    ``environment`` is added to the fixed one.
    """

    system: BuildSystem = BuildSystem.GUESS
    options: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    subdir: str = ""
    ccache: bool = False
    limits: Limits = Limits()


@dataclass(frozen=True, kw_only=True)
class Child:
    """A source that is checked out inside its parent's, under its own name."""

    name: str
    source: Source
    patches: tuple[str, ...] = ()


class MergeRequests(StrEnum):
    """Whose merge requests are tried: nobody's, those of who may write anyway, everybody's."""

    OFF = "off"
    MEMBERS = "members"
    ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Component:
    """One entry of the manifest's list, with defaults and prefixes resolved."""

    name: str
    source: Source
    build: BuildSpec = BuildSpec()
    depends: tuple[str, ...] | None = None
    """Names of components; ``None`` means all that the manifest lists before this one."""
    patches: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    config_opts: tuple[str, ...] = ()
    """Global options first, then the component's own."""
    cflags: Mapping[str, str] = field(default_factory=dict)
    """Architecture → flags that replace the default ones."""
    setuid: tuple[str, ...] = ()
    """Absolute paths that get the setuid bit when the artifact is committed."""
    requires_pkgconfig: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    """Empty means all of the manifest's."""
    groups: tuple[str, ...] = ()
    """Named groups this belongs to; the original's ``component:`` value is one of them."""
    noarch: bool = False
    bootstrap: bool = False
    rm_configure: bool = False
    initramfs_depends: bool = False
    installed_tests: bool = False
    epoch: int = 0
    merge_requests: MergeRequests = MergeRequests.OFF
    irc_room: str = ""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """The free texts ``tag-reason``, ``branch-reason``, ``patches-reasons``."""
    line: int = 0
    generated_from: str = ""
    """Set where the text has no such entry: the component whose installed tests these are."""


class BaseKind(StrEnum):
    """Where the tree comes from that components are layered on."""

    DEBIAN = "debian"
    OSTREE = "ostree"
    TAR = "tar"
    YOCTO = "yocto"
    """The original's: read and shown, but not importable here."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """The base and its package lists.

    Debian: ``suite``, ``mirrors`` and ``packages`` (list name → package names); a tree is made
    of one or more lists, and ``devel`` is what components are built in.
    Tar: ``files`` (list name → path of an archive) with ``checksums``.
    OSTree: ``location`` (URL or path of a repository) and ``refs`` (list name → ref).
    """

    name: str
    kind: BaseKind
    suite: str = ""
    mirrors: tuple[str, ...] = ()
    packages: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, str] = field(default_factory=dict)
    location: str = ""
    refs: Mapping[str, str] = field(default_factory=dict)
    source: Source | None = None
    remove: tuple[str, ...] = ()
    """Paths taken out of the imported base."""
    initramfs: str = "minimal"
    """``minimal`` (virtual machines only, small and fast), ``dracut`` or ``none``."""
    variants: Mapping[str, str] = field(default_factory=dict)
    """Debian, list name → how much comes with its packages: ``minbase`` (the default: installed,
    with all that they depend on and what Debian calls required), ``essential``, ``apt``, or
    ``exact``: unpacked only, without their dependencies and scripts. In ``exact``, entries may
    be shell patterns of names among what the others depend on. Of several lists the first in
    this order decides."""


@dataclass(frozen=True, kw_only=True)
class KnownMessage:
    """An error in the journal that a clean boot is known to show, and why it is harmless."""

    pattern: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class SmokeSpec:
    """What the smoke suite asks of a target's journal."""

    unit: str = ""
    """The systemd unit that must be reached; empty: the target's default unit."""
    required: Mapping[str, str] = field(default_factory=dict)
    """MESSAGE_ID → what it stands for; each must be seen."""
    forbidden: Mapping[str, str] = field(default_factory=dict)
    """MESSAGE_ID → what it stands for; none may be seen."""
    required_units: tuple[str, ...] = ()
    """Each must have started before the boot is done."""
    forbidden_units: tuple[str, ...] = ()
    """None may start."""
    required_console: Mapping[str, str] = field(default_factory=dict)
    """Pattern → what it stands for; each must be found in a line of the console."""
    forbidden_console: Mapping[str, str] = field(default_factory=dict)
    """Pattern → what it stands for; none may be found in a line of the console."""
    known: tuple[KnownMessage, ...] = ()
    deadline_s: int = 90
    """For a boot on a machine with KVM; stretched by the measured speed of the host."""
    settle_s: int = 0
    """How long a boot that is done is watched further, stretched as the deadline is."""


class Need(StrEnum):
    """What a gate asks of a suite."""

    REQUIRED = "required"
    ADVISORY = "advisory"
    ONCE_BASELINE = "once-baseline"
    """Required once the suite has passed on a promoted tree of the target, advisory before."""
    NIGHTLY = "nightly"
    """Run in the run of the night alone, which fails with it; it holds nothing back."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A named selection to compose, ``extend`` already followed."""

    name: str
    packages: tuple[str, ...] = ("runtime",)
    """Package lists of the base."""
    components: tuple[str, ...] = ()
    """Names, in manifest order; never bootstrap components."""
    subtrees: tuple[Part, ...] = (Part.RUNTIME,)
    default_unit: str = "multi-user.target"
    disk_size: int = 4 * 1024**3
    memory: int = 1024 * 1024**2
    processors: int = 2
    kernel_options: tuple[str, ...] = ()
    boot_tries: int = 0
    """How often a new tree may fail to boot before the earlier one is booted; 0: for ever."""
    gate: Mapping[str, Need] = field(default_factory=lambda: {"smoke": Need.REQUIRED})
    flaky: Mapping[str, int] = field(default_factory=dict)
    """Suite → how many flaky tests it may have and satisfy the gate; none by default."""
    passes_to_count: int = 3
    """How often in a row a new test has to pass until its failure counts; 0: it counts at once."""
    smoke: SmokeSpec = SmokeSpec()
    promotion_group: str = ""
    """Targets of one group move together; all of a manifest are one group by default."""
    architectures: tuple[str, ...] = ()
    session: SessionSpec | None = None
    """Who is logged in to what, where a tree has a graphical session that is tested."""


class OnFailed(StrEnum):
    """What a run does about a component that failed to build."""

    STOP = "stop"
    LAST_GOOD = "last-good"


class Conflicts(StrEnum):
    """What composing does about a path that two components install."""

    WARN = "warn"
    FATAL = "fatal"


@dataclass(frozen=True, kw_only=True)
class Retention:
    """Whose files stay of the trees on a ``compose`` line; see ``words/retention``."""

    newest: int
    daily: int


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """A script run over every composed tree, besides those the house brings.

    One that removes paths must declare them in ``deletes``.
    """

    name: str
    script: str
    deletes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What the OS is made of."""

    osname: str
    base: Base
    components: tuple[Component, ...]
    targets: tuple[Target, ...]
    architectures: tuple[str, ...] = ("x86_64",)
    repo: str = ""
    """Public URL of the repository, written as the clients' remote."""
    patches: Source | None = None
    patches_subdir: str = ""
    installed_tests_components: tuple[str, ...] = ()
    installed_tests_xfail: tuple[str, ...] = ()
    initramfs_epoch: int = 0
    epoch: int = 0
    epoch_all: bool = False
    epoch_components: tuple[str, ...] = ()
    on_failed: OnFailed = OnFailed.STOP
    conflicts: Conflicts = Conflicts.WARN
    triggers: tuple[Trigger, ...] = ()
    unit: str = "push"
    queue_bound: int = 0
    """How many pushes may wait before the oldest are superseded; 0: all that come."""
    retention: Retention | None = None
    """None: every tree stays."""
    original_version: int | None = None
    """The original's ``00ostbuild-manifest-version``; set when the manifest declares it."""

    def component(self, name: str) -> Component:
        """Find a component by name; raises KeyError."""
        for entry in self.components:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def target(self, name: str) -> Target:
        """Find a target by name; raises KeyError."""
        for entry in self.targets:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def trees(self) -> tuple[tuple[str, str, Target], ...]:
        """List ``(tree name, architecture, target)`` of all trees, ``<arch>-<target>`` each."""
        return tuple(
            (f"{arch}-{target.name}", arch, target)
            for arch in self.architectures
            for target in self.targets
            if not target.architectures or arch in target.architectures
        )
