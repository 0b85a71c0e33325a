# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the build stage is asked for and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pipeline.words.artifact import Artifact
from pipeline.words.errors import Ending, Failed, Trouble
from pipeline.words.refs import Commit, Key, Part
from pipeline.words.snapshot import Snapshot


class Outcome(StrEnum):
    """``blocked``: not begun, because of something that failed before it."""

    KEPT = "kept"
    BUILT = "built"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """``base`` is the variant to build in; ``into`` the run's directory for logs.

    ``noarch`` has the artifacts that a build for another architecture made of what is the same
    for all; None: they are made here. ``only`` are the components that are wanted, with what they
    need; None: all. ``earlier`` is what became of some in the same run, which is not done again
    where they were built or failed. ``sources`` are those that lie in the repository as commits;
    all others come from their mirrors. What is ``tried`` leaves nothing that other builds would
    use.
    """

    snapshot: Snapshot
    arch: str
    base: Commit
    run: str
    into: Path
    jobs: int
    force: frozenset[str] = frozenset()
    noarch: Mapping[str, Artifact] | None = None
    only: frozenset[str] | None = None
    earlier: "Mapping[str, BuiltComponent]" = field(default_factory=dict)
    sources: Mapping[str, Commit] = field(default_factory=dict)
    tried: bool = False


@dataclass(frozen=True, kw_only=True)
class BuiltComponent:
    """What became of one component.

    ``reasons`` tell why it was kept or built, ``message`` why it failed or was blocked.
    ``trouble``: our machine failed, not the component. ``new_commits`` are the git commits, newest
    first, since its last artifact.
    """

    component: str
    arch: str
    outcome: Outcome
    seconds: float = 0.0
    key: Key | None = None
    commits: Mapping[Part, Commit] = field(default_factory=dict)
    warnings: int = 0
    deprecations: int = 0
    reasons: tuple[str, ...] = ()
    message: str = ""
    trouble: bool = False
    new_commits: tuple[str, ...] = ()
    failed_ref: str = ""
    """Where the build tree of a failed one is kept."""
    worker: str = ""
    """Which worker with a home of its own built it, and keeps that tree; empty for none."""


@dataclass(frozen=True, kw_only=True)
class BuildResult:
    """All components of an architecture, in the manifest's order."""

    arch: str
    components: tuple[BuiltComponent, ...]
    built: tuple[str, ...]
    kept: tuple[str, ...]
    failed: tuple[str, ...]
    blocked: tuple[str, ...]

    def parts(self) -> dict[str, Mapping[Part, Commit]]:
        """Map each component that is there to the commits of its parts."""
        return {
            one.component: one.commits
            for one in self.components
            if one.outcome in (Outcome.KEPT, Outcome.BUILT)
        }

    def error(self) -> Ending | None:
        """Tell how the stage ended: None where everything is there; Trouble beats Failed."""
        wrong = [one for one in self.components if one.outcome is Outcome.FAILED]
        if not wrong and not self.blocked:
            return None
        kind: type[Ending] = Trouble if any(one.trouble for one in wrong) else Failed
        lines = [f"{one.component}: {one.message}" for one in wrong]
        if self.blocked:
            lines.append(f"not built because of that: {', '.join(self.blocked)}")
        return kind("; ".join(lines), where="build", hint=_hint(wrong))


def result_of(arch: str, components: tuple[BuiltComponent, ...]) -> BuildResult:
    """Sort components by what became of them."""

    def names(outcome: Outcome) -> tuple[str, ...]:
        return tuple(one.component for one in components if one.outcome is outcome)

    return BuildResult(
        arch=arch,
        components=components,
        built=names(Outcome.BUILT),
        kept=names(Outcome.KEPT),
        failed=names(Outcome.FAILED),
        blocked=names(Outcome.BLOCKED),
    )


def _hint(wrong: list[BuiltComponent]) -> str:
    entered = [one.component for one in wrong if one.failed_ref]
    return f"enter the build that failed: ostci shell {entered[0]}" if entered else ""
