# SPDX-License-Identifier: LGPL-2.1-or-later
"""What this house knows beside a suite's own result: history, what was promoted, known issues."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from pipeline.cli.passage import Passage
from pipeline.ports.known_issues import folders, read_known_issues
from pipeline.words.attempts import failing
from pipeline.words.history import repeats
from pipeline.words.known_issue import MOST_SEARCHED, KnownIssue
from pipeline.words.standing import Background, stand
from pipeline.words.targets import target_of
from pipeline.words.verdict import SuiteResult, Verdict


def known_issues(passage: Passage) -> tuple[KnownIssue, ...]:
    """Read the known issues; raises BadInput with all that is wrong with any."""
    settings = passage.house.settings
    return read_known_issues(folders(None if settings.server else settings.manifest))


def repeats_of(passage: Passage, result: SuiteResult) -> Mapping[str, int]:
    """Tell how often each failed test is repeated, by its history on the tree's line."""
    osname = passage.manifest.osname
    history = passage.house.ledger.tests.history(osname, result.tree, result.suite)
    return {name: repeats(history.get(name, ())) for name in failing(result)}


def judged(passage: Passage, result: SuiteResult, issues: tuple[KnownIssue, ...]) -> SuiteResult:
    """Say which failures of a suite count, and tell in the log why others do not."""
    house, osname = passage.house, passage.manifest.osname
    of = (osname, result.tree, result.suite)
    target = target_of(passage.manifest, result.tree.partition("-")[2])
    # One test that somebody wants to see says nothing of what is new in a suite.
    is_whole = "/" not in result.suite
    bad = any(one.verdict in (Verdict.FAILED, Verdict.FLAKY) for one in result.tests)
    background = Background(
        history=house.ledger.tests.history(*of) if is_whole else {},
        baseline=house.ledger.tests.baseline(*of, but=result.commit) if is_whole else {},
        passes=target.passes_to_count,
        issues=issues,
        today=datetime.now(UTC).date(),
        journal=_journal(passage.run.path / result.evidence) if bad and issues else "",
    )
    found = stand(result, background)
    for note in found.notes:
        house.log.warning(note, about=result.tree)
    return found


def _journal(evidence: Path) -> str:
    """Read the journals of all attempts, the ends of them."""
    texts = []
    for path in sorted([evidence / "journal.txt", *evidence.glob("attempt-*/journal.txt")]):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - MOST_SEARCHED))
            texts.append(file.read(MOST_SEARCHED).decode("utf-8", "backslashreplace"))
    return "\n".join(texts)
