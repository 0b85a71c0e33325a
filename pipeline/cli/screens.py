# SPDX-License-Identifier: LGPL-2.1-or-later
"""After a suite: its screens beside those of what was promoted last, as a page of its evidence.

What is found here is a warning in the log. It changes no verdict, whatever goes wrong.
"""

import os
import re
from pathlib import Path

from pipeline.cli.passage import Passage
from pipeline.ports.files import write_bytes, write_text
from pipeline.words.errors import BadInput
from pipeline.words.records import to_json
from pipeline.words.refs import Commit
from pipeline.words.screens import Screen, look_at, page
from pipeline.words.verdict import SuiteResult, Verdict

PAGE = "screens.html"
_NAMES = re.compile(r"screenshot-(?!\d+\.\d\.png)[A-Za-z0-9._-]{1,120}\.png")
"""Those that a suite takes of the same thing each time; the others are named by seconds."""
_MOST = 60
_LARGEST = 64 * 1024**2


def compare_screens(passage: Passage, result: SuiteResult, promoted: Commit | None) -> None:
    """Look at the screens of a suite; writes ``screens.json``, and a page of those that differ."""
    if result.verdict in (Verdict.TROUBLE, Verdict.SKIPPED):
        return
    into = passage.run.path / result.evidence
    names = sorted(path.name for path in into.glob("screenshot-*.png"))
    names = [name for name in names if _NAMES.fullmatch(name)][:_MOST]
    before = _before(passage, result, promoted)
    version, old = before if before else ("", None)
    has_session = _has_session(passage, result)
    screens = [_look(name, into, old, has_session=has_session) for name in names]
    if not screens:
        return
    write_text(into / "screens.json", to_json(screens))
    shown = [screen for screen in screens if screen.is_shown]
    if shown:
        title = f"{result.tree} {result.suite}, run {passage.run.version}"
        write_text(into / PAGE, page(title, version, shown))
    for screen in screens:
        if screen.notes:
            where = f"; side by side in {into / PAGE}" if screen.is_shown else ""
            told = f"{screen.name}: {'; '.join(screen.notes)}{where}"
            passage.house.log.warning(f"{result.suite}: {told}", about=result.tree)


def _has_session(passage: Passage, result: SuiteResult) -> bool:
    from pipeline.words.targets import target_of

    target = result.tree.partition("-")[2]
    try:
        return target_of(passage.manifest, target).session is not None
    except BadInput:
        return False


def _before(
    passage: Passage, result: SuiteResult, promoted: Commit | None
) -> tuple[str, Path] | None:
    """Find the evidence of the suite on what was promoted last: the run's version, and where."""
    if promoted is None or promoted == result.commit:
        return None
    suite = result.suite.partition("/")[0]
    for row in reversed(passage.house.ledger.attempts(promoted)):
        if row.suite == suite and row.verdict is Verdict.PASSED:
            try:
                place = passage.house.workdir.run(row.run).path / row.evidence
            except BadInput:
                continue  # it was taken away to make room
            if place.is_dir():
                return row.run, place
    return None


def _look(name: str, into: Path, before: Path | None, *, has_session: bool) -> Screen:
    after = _read(into / name)
    if after is None:
        return Screen(name=name)
    old = _read(before / name) if before is not None else None
    screen, drawn = look_at(name, after, old, has_session=has_session)
    if screen.is_shown and old is not None:
        # A copy: the run that it is of may be gone before this one.
        write_bytes(into / f"before-{name}", old)
    if drawn is not None:
        write_bytes(into / f"differs-{name}", drawn)
    return screen


def _read(path: Path) -> bytes | None:
    """Read a picture that may come from a worker elsewhere; None for none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(handle, "rb") as file:
        data = file.read(_LARGEST + 1)
    return data if len(data) <= _LARGEST else None
