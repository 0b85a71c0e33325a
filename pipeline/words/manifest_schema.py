# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keys of a manifest: their types, and in a line what each is for.

Editors get these lines by ``ostci schema``. A key that is absent has the empty value here; which
keys belong together, and what names refer to, is settled in ``manifest_components`` and the
others that read these models.
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from pipeline.words.findings import Wrong
from pipeline.words.manifest_values import (
    Architecture,
    Checksum,
    DebianVersion,
    Duration,
    FilePath,
    InnerPath,
    Line,
    MessageId,
    Name,
    Package,
    Pattern,
    RevisionText,
    Size,
    Suite,
    Unit,
    UserName,
    Variable,
    Word,
    kind_of,
)

VERSION_KEY = "00ostbuild-manifest-version"
"""The original's: a manifest that has it is read as the original's were."""

System = Literal["guess", "autotools", "meson", "cmake", "make", "custom"]
Subtree = Literal["runtime", "devel", "doc", "debug", "tests"]
Needed = Literal["required", "advisory", "once-baseline", "nightly"]
Requests = Literal["off", "members", "all"]
Variant = Literal["minbase", "essential", "apt", "exact"]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_selection(value: Any) -> Any:
    if isinstance(value, str) and value != "all":
        raise Wrong(f"wants all or a list, this is {value!r}", f"write [{value}]")
    return _as_list(value)


def _as_build(value: Any) -> Any:
    return {"system": value} if isinstance(value, str) else value


def _as_gate(value: Any) -> Any:
    return {"need": value} if isinstance(value, str) else value


def _as_patches(value: Any) -> Any:
    """Take the original's resolved form too, ``{files, files_sha256sums}``."""
    if not isinstance(value, dict):
        return value
    if not set(value) <= {"files", "files_sha256sums"}:
        raise Wrong(f"wants a list of file names, this is {kind_of(value)}")
    return value.get("files", [])


Texts = Annotated[list[Line], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]
Selection = Annotated[
    list[Line],
    BeforeValidator(_as_selection, json_schema_input_type=Literal["all"] | list[str]),
]
Patches = Annotated[
    list[InnerPath], BeforeValidator(_as_patches, json_schema_input_type=list[InnerPath])
]


class Keys(BaseModel):
    """A mapping with known keys, and no others."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        alias_generator=lambda name: name.replace("_", "-"),
    )

    def has(self, *names: str) -> bool:
        """Tell whether the text has any of these keys (named as attributes)."""
        return any(name in self.model_fields_set for name in names)


class EpochKeys(Keys):
    """A number to raise."""

    version: int = Field(0, ge=0, description="raise it to force")


class BuildEpochKeys(EpochKeys):
    """Force components to be built anew, once for each version."""

    all: bool = Field(False, description="all components")
    component_names: list[Name] = Field([], description="these components")


class RequiresKeys(Keys):
    """What must be there before a component is built."""

    pkgconfig: list[Line] = Field([], description="as pkg-config --exists takes them")


class LimitsKeys(Keys):
    """What one build may take before it is stopped."""

    time: Duration = Field(3600, description="time, such as 1h30m")
    memory: Size = Field(8 * 1024**3, ge=16 * 1024**2, description="memory, such as 4G")
    processes: int = Field(1024, ge=4, le=1_000_000, description="processes and threads")
    output: Size = Field(4 * 1024**3, ge=1024**2, description="what all its files may hold")


class BuildKeys(Keys):
    """How to build; a system's name alone is enough."""

    system: System = Field("guess", description="guess looks at the files of the source")
    options: list[Line] = Field([], description="for configure, meson, cmake or make")
    commands: list[Line] = Field([], description="instead of a system's own, run by sh -e")
    environment: dict[Variable, Line] = Field({}, description="added to the fixed one")
    subdir: InnerPath = Field("", description="where in the source to build")
    ccache: bool = Field(False, description="use ccache")
    limits: LimitsKeys = Field(LimitsKeys(), description="what the build may take")


class PinKeys(Keys):
    """Which state of a source to take."""

    branch: Word = Field("", description="git: the branch to follow (master)")
    tag: Word = Field("", description="git: a tag, or any revision by name")
    revision: RevisionText = Field("", description="git: a commit id")


class ArchivePinKeys(PinKeys):
    """Which state of a source, git or not, to take."""

    checksum: Checksum = Field("", description="archives: their SHA-256")
    versions: list[DebianVersion] = Field([], description="debian: oldest first; else the newest")


class SourcesKeys(ArchivePinKeys):
    """A source, one of git, local, tarball, zipfile and debian, in place of ``src``."""

    git: Line = Field("", description="URL, or path that starts with / or ./")
    local: Line = Field("", description="path of a working copy")
    tarball: Line = Field("", description="URL or path of a tar archive")
    zipfile: Line = Field("", description="URL or path of a zip archive")
    debian: Line = Field("", description="name of a Debian source package, or NAME=VERSION")


class SourceKeys(ArchivePinKeys):
    """Where the files of a component, or of a source within one, come from."""

    src: Line = Field("", description="git:, local:, tarball:, zipfile:, debian: or a prefix:")
    sources: SourcesKeys = Field(SourcesKeys(), description="the same, written out")
    name: Name = Field("", description="the last part of src by default")
    patches: Patches = Field([], description="files of the patch source, in order")
    tag_reason: Line = Field("", description="why this tag")
    branch_reason: Line = Field("", description="why this branch")
    patches_reasons: Texts = Field([], description="why these patches")
    is_child: bool = Field(False, description="written by the original's resolve; not used")


class ComponentKeys(SourceKeys):
    """One component."""

    component: Name = Field("", description="a group: minimal, runtime, devel, testing, hwtest")
    groups: list[Name] = Field([], description="groups that it belongs to")
    config_opts: list[Line] = Field([], description="configure options, after the global ones")
    build: Annotated[
        BuildKeys, BeforeValidator(_as_build, json_schema_input_type=System | BuildKeys)
    ] = Field(BuildKeys(), description="how to build: a system, or options, commands, limits")
    depends: list[Name] = Field([], description="all that is listed before it by default")
    requires: RequiresKeys = Field(RequiresKeys(), description="checked before building")
    cflags: dict[Architecture, Line] = Field({}, description="replace CFLAGS and CXXFLAGS")
    setuid: list[FilePath] = Field([], description="files that get the setuid bit")
    architectures: list[Architecture] = Field([], description="only these")
    noarch: bool = Field(False, description="built once for all architectures")
    bootstrap: bool = Field(False, description="built for others, left out of all trees")
    rm_configure: bool = Field(False, description="delete a shipped configure first")
    initramfs_depends: bool = Field(False, description="is part of the initramfs")
    epoch: int = Field(0, ge=0, description="raise it to build again")
    merge_requests: Requests = Field("off", description="whose are tried; the manifest's first")
    irc_room: Line = Field("", alias="irc_room", description="channel that is told about it")
    child_components: list[SourceKeys] = Field([], description="sources within its own")


class PatchSourceKeys(PinKeys):
    """The repository or directory of patches."""

    src: Line = Field("", description="as a component's")
    subdir: InnerPath = Field("", description="where in it")


class DebianKeys(Keys):
    """A base made of Debian packages."""

    suite: Suite = Field("", description="such as bookworm")
    mirrors: list[Line] = Field([], description="URLs, or lines: deb URL SUITE COMPONENTS")
    packages: dict[Name, list[Package]] = Field({}, description="package lists by name")
    variant: dict[Name, Variant] = Field({}, description="list: how much comes with its packages")


class TarKeys(Keys):
    """An archive of a root file system."""

    file: Line = Field("", description="its path")
    checksum: Checksum = Field("", description="its SHA-256")


class OstreeKeys(Keys):
    """A base that is in another OSTree repository."""

    location: Line = Field("", description="URL or path of the repository")
    refs: dict[Name, Word] = Field({}, description="ref by package list")


class BaseKeys(PinKeys):
    """What components are layered on; one of debian, tar and ostree."""

    name: Name = Field("", description="its name in refs")
    debian: DebianKeys = Field(DebianKeys(), description="from packages")
    tar: dict[Name, TarKeys] = Field({}, description="from archives, by package list")
    ostree: OstreeKeys = Field(OstreeKeys(), description="from another repository")
    remove: list[FilePath] = Field([], description="paths to take out")
    initramfs: Literal["minimal", "dracut", "none"] = Field(
        "minimal", description="minimal is for virtual machines only"
    )
    src: Line = Field("", description="the original's: a bootstrap system's source")


class KnownKeys(Keys):
    """An error message of a clean boot."""

    pattern: Pattern = Field("", description="regular expression, found anywhere in it")
    reason: Line = Field("", description="why it is harmless")


class SmokeKeys(Keys):
    """What the smoke suite looks for."""

    unit: Unit = Field("", description="to be reached; else the target's default-target")
    required: dict[MessageId, Line] = Field({}, description="MESSAGE_ID: what it stands for")
    forbidden: dict[MessageId, Line] = Field({}, description="MESSAGE_ID: what it stands for")
    required_units: list[Unit] = Field([], description="to be started, besides what is reached")
    forbidden_units: list[Unit] = Field([], description="that may not start")
    required_console: dict[Pattern, Line] = Field({}, description="pattern: what it stands for")
    forbidden_console: dict[Pattern, Line] = Field({}, description="pattern: what it stands for")
    known: list[KnownKeys] = Field([], description="errors to be expected")
    deadline: Duration = Field(90, description="for a boot with KVM; stretched on slower hosts")
    settle: Duration = Field(0, description="to watch on when a boot is done; stretched, too")


class GateKeys(Keys):
    """What a gate asks of a suite; the word alone is enough."""

    need: Needed = Field("required", description="required, advisory, once-baseline or nightly")
    flaky: int = Field(0, ge=0, le=1000, description="flaky tests that it may have and pass")


Gate = dict[
    Name,
    Annotated[GateKeys, BeforeValidator(_as_gate, json_schema_input_type=Needed | GateKeys)],
]


class TestsKeys(Keys):
    """What suites look for."""

    __test__ = False
    smoke: SmokeKeys = Field(SmokeKeys(), description="the smoke suite")
    passes_to_count: int = Field(
        3, ge=0, le=100, description="a new test only warns until it has passed so often in a row"
    )


class SessionKeys(Keys):
    """The graphical session that suites log in to."""

    name: Name = Field("", description="a file of /usr/share/wayland-sessions, such as weston")
    type: Literal["wayland", "x11"] = Field(
        "wayland", description="x11: a file of /usr/share/xsessions, on an X server"
    )
    manager: Literal["greetd", "gdm"] = Field("greetd", description="the tree's login manager")
    login: Literal["automatic", "timed"] = Field("automatic", description="how one gets in")
    delay: Duration = Field(10, description="what the greeter of a timed login waits")
    user: UserName = Field("testuser", description="who is logged in; made where it is not there")
    deadline: Duration = Field(60, description="for the session to come up; stretched")


class TargetKeys(Keys):
    """A tree to compose."""

    extend: Name = Field("", description="start from this target")
    architectures: list[Architecture] = Field([], description="only these")
    packages: list[Line] = Field([], description="package lists of the base")
    components: Selection = Field([], description="all, names, @group, -name, -@group")
    subtrees: list[Subtree] = Field([], description="parts of components: runtime, devel, …")
    default_target: Unit = Field("", description="systemd unit to boot to")
    disk_size: Size = Field(4 * 1024**3, ge=64 * 1024**2, description="such as 4G")
    memory: Size = Field(1024**3, ge=64 * 1024**2, description="of the machine, such as 1G")
    processors: int = Field(2, ge=1, le=64, description="of the machine")
    kernel_options: list[Word] = Field([], description="added to the kernel's command line")
    boot_counting: int = Field(0, ge=0, le=99, description="tries that a new tree has to boot")
    gate: Gate = Field({}, description="suite: required, advisory, once-baseline or nightly")
    tests: TestsKeys = Field(TestsKeys(), description="what suites look for in this target")
    session: SessionKeys = Field(SessionKeys(), description="log in to it when it is tested")
    promotion_group: Name = Field("", description="targets that move together")


class TriggerKeys(Keys):
    """A script run over every composed tree."""

    name: Name = Field("", description="its name in logs, and its order")
    script: str = Field("", description="text of a shell script, run by sh -e")
    deletes: list[FilePath] = Field([], description="paths that it removes")


class RetentionKeys(Keys):
    """Which trees ``ostci clean`` keeps the files of, besides those that were promoted."""

    newest: int = Field(100, ge=1, description="so many of the newest")
    daily: int = Field(365, ge=0, description="then the last of each of so many days")


class ManifestKeys(Keys):
    """What an operating system is made of."""

    original_version: Literal[0] = Field(
        0, alias=VERSION_KEY, description="read as gnome-continuous did; unknown keys only warn"
    )
    osname: Name = Field("", description="first part of all refs; the stateroot's name")
    repo: Line = Field("", description="public URL of the repository, the clients' remote")
    architectures: list[Architecture] = Field(["x86_64"], description="what to build for")
    base: BaseKeys = Field(BaseKeys(), description="what components are layered on")
    config_opts: list[Line] = Field([], description="configure options of all components")
    vcsconfig: dict[Name, Line] = Field({}, description="prefix: what it stands for in src")
    patches: PatchSourceKeys = Field(PatchSourceKeys(), description="where patches are")
    components: list[ComponentKeys] = Field([], description="in build order")
    groups: dict[Name, list[Name]] = Field({}, description="named groups of components")
    targets: dict[Name, TargetKeys] = Field({}, description="trees to compose")
    tests: TestsKeys = Field(TestsKeys(), description="what suites look for in every target")
    gates: Gate = Field({}, description="suite: required, advisory, once-baseline or nightly")
    on_failed: Literal["stop", "last-good"] = Field("stop", description="a failed component")
    conflicts: Literal["warn", "fatal"] = Field("warn", description="a path of two components")
    triggers: list[TriggerKeys] = Field([], description="scripts run over every tree")
    unit: Literal["push", "commit"] = Field("push", description="what gets a run of its own")
    merge_requests: Requests = Field("off", description="of forges: whose are tried")
    queue_bound: int = Field(0, ge=0, description="of more pushes that wait, old ones give way")
    retention: RetentionKeys = Field(RetentionKeys(), description="which old trees are kept")
    build_epoch: BuildEpochKeys = Field(BuildEpochKeys(), description="force rebuilds")
    initramfs_build_epoch: EpochKeys = Field(EpochKeys(), description="force the initramfs")
    installed_tests_components: list[Name] = Field(
        [], description="their installed-tests/ is built against the finished tree"
    )
    installed_tests_xfail: list[InnerPath] = Field(
        [], description="installed tests that are known to fail"
    )


def manifest_json_schema() -> dict[str, Any]:
    """Describe manifests as a JSON Schema (draft 2020-12), for editors."""
    schema = _without_noise(ManifestKeys.model_json_schema(by_alias=True))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ostci manifest",
        **schema,
        "required": ["osname", "base", "components"],
    }


def _without_noise(schema: Any) -> Any:
    """Leave out titles, which repeat the keys, and defaults that only mean "absent"."""
    if isinstance(schema, list):
        return [_without_noise(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: _without_noise(one) for name, one in value.items()}
        if key in ("properties", "$defs")
        else _without_noise(value)
        for key, value in schema.items()
        if key != "title" and not (key == "default" and (not value or isinstance(value, dict)))
    }


def keys_at(path: tuple[str | int, ...]) -> type[Keys] | None:
    """Tell whose keys the mapping at a path has; None where its keys are free names."""
    kind: Any = ManifestKeys
    for step in path:
        if isinstance(kind, type) and issubclass(kind, Keys):
            kind = {known.alias: known.annotation for known in kind.model_fields.values()}.get(
                str(step)
            )
        else:
            kind = get_args(kind)[-1] if get_args(kind) else None
    return kind if isinstance(kind, type) and issubclass(kind, Keys) else None


def within(kind: type[Keys], word: str) -> str:
    """Name the key whose own keys have this one; empty where none has."""
    for name, known in kind.model_fields.items():
        inner = known.annotation
        if isinstance(inner, type) and issubclass(inner, Keys) and word in names_of(inner):
            return known.alias or name
    return ""


def names_of(kind: type[Keys]) -> list[str]:
    """List the keys as they are written."""
    return [known.alias or name for name, known in kind.model_fields.items()]
