# SPDX-License-Identifier: LGPL-2.1-or-later
"""One passage of the pipeline: its stages, how it ended, and whose fault that was."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pipeline.words.alike import stages_told
from pipeline.words.errors import BadInput, Failed, Interrupted, Trouble

_VERSION = re.compile(r"(\d{8})\.(\d+)")
_A_DAY = 1_000_000
_LAST = ("promote", "judge")


class RunEnding(StrEnum):
    """``running`` is also what a killed run leaves behind, until the next start mends it.

    ``open`` is a run of which some stages were given by hand, and others may follow.
    """

    RUNNING = "running"
    OPEN = "open"
    PASSED = "passed"
    UNCHANGED = "unchanged"
    FAILED = "failed"
    BAD_INPUT = "bad-input"
    TROUBLE = "trouble"
    INTERRUPTED = "interrupted"
    BUG = "bug"


_WORST_FIRST = (
    RunEnding.BUG,
    RunEnding.INTERRUPTED,
    RunEnding.TROUBLE,
    RunEnding.BAD_INPUT,
    RunEnding.FAILED,
)


BUILDS = "builds"


@dataclass(frozen=True, kw_only=True)
class Builds:
    """``builds.json`` of a run: where a master's builds of it are to be seen, newest last."""

    urls: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """How one stage of a run went; ``summary`` in words, ``repeat`` a command to paste.

    ``message`` is why it did not pass.
    """

    ending: RunEnding
    seconds: float
    summary: str = ""
    message: str = ""
    repeat: str = ""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What ``run.json`` holds; times are in seconds since 1970 (UTC)."""

    version: str
    osname: str
    manifest: str
    started: float
    pid: int
    ended: float | None = None
    kind: str = ""
    """``try`` for one that nothing is promoted of."""
    ending: RunEnding = RunEnding.RUNNING
    message: str = ""
    hint: str = ""
    snapshot: str = ""
    stages: Mapping[str, StageRecord] = field(default_factory=dict)
    promoted: Mapping[str, str] = field(default_factory=dict)
    """Tree → commit that ``buildmaster`` was moved to."""


SETTLED = (RunEnding.PASSED, RunEnding.FAILED)
"""A run that ended so would end so again on the same snapshot."""


def ending_of(error: BaseException | None) -> RunEnding:
    """Sort what a run or stage raised."""
    if error is None:
        return RunEnding.PASSED
    if isinstance(error, KeyboardInterrupt | Interrupted):
        return RunEnding.INTERRUPTED
    for kind, ending in (
        (Failed, RunEnding.FAILED),
        (BadInput, RunEnding.BAD_INPUT),
        (Trouble, RunEnding.TROUBLE),
    ):
        if isinstance(error, kind):
            return ending
    return RunEnding.BUG


def message_of(error: BaseException | None) -> str:
    """Say in words what a run or stage raised; empty where it raised nothing."""
    if error is None:
        return ""
    if isinstance(error, KeyboardInterrupt):
        return "stopped"
    return str(error) or type(error).__name__


def gives_up_its_place(ending: RunEnding, *, of_push: bool) -> bool:
    """Tell whether a run that ended so lets the next one compose.

    What was no fault of the code is started again where it is of a push; it comes first then.
    """
    if ending in (RunEnding.RUNNING, RunEnding.OPEN):
        return False
    again = (RunEnding.TROUBLE, RunEnding.INTERRUPTED, RunEnding.BUG)
    return not (of_push and ending in again)


def ending_of_stages(stages: Mapping[str, StageRecord]) -> tuple[RunEnding, str]:
    """Tell how a run ended whose stages were given one by one, and why.

    It passed when all did and the last one was there; without that it was interrupted.
    """
    for ending in _WORST_FIRST:
        wrong = {name: one for name, one in stages.items() if one.ending is ending}
        if ending is RunEnding.FAILED and len(wrong) > 1:
            for last in _LAST:
                wrong.pop(last, None)  # it was held for what the others tell in more words
        if wrong:
            return ending, stages_told((name, one.message) for name, one in wrong.items())
    if any(last in stages for last in _LAST):
        return RunEnding.PASSED, ""
    return RunEnding.INTERRUPTED, f"it was ended after {', '.join(stages) or 'nothing'}"


def is_version(text: str) -> bool:
    """Tell whether a text has the form of a run's version."""
    return _VERSION.fullmatch(text) is not None


def place_of(version: str) -> int:
    """Tell a run's place in the order of runs from its version; raises BadInput for none."""
    match = _VERSION.fullmatch(version)
    if match is None or int(match[2]) >= _A_DAY:
        raise BadInput(f"not the version of a run: {version!r}", hint="ostci log lists them")
    return int(match[1]) * _A_DAY + int(match[2])
