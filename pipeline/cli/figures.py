# SPDX-License-Identifier: LGPL-2.1-or-later
"""The figures of a tree, as the suite ``memory`` found them, and what grew since the last one."""

from collections.abc import Mapping

from pipeline.cli.house import House
from pipeline.cli.results import Tests
from pipeline.words.errors import Trouble
from pipeline.words.growth import grown
from pipeline.words.records import from_json
from pipeline.words.refs import Commit
from pipeline.words.suite import MEMORY
from pipeline.words.verdict import SuiteResult, Verdict


def figures_of(house: House, commit: Commit) -> Mapping[str, float]:
    """Tell the newest figures of a commit; none where it was not measured, or its run is gone."""
    rows = [row for row in house.ledger.attempts(commit) if row.suite == MEMORY]
    for row in reversed(rows):
        if row.verdict is not Verdict.PASSED or not house.workdir.is_run(row.run):
            continue
        path = house.workdir.run(row.run).file("tests")
        if not path.is_file():
            continue
        try:
            suites = from_json(Tests, path.read_bytes(), where=str(path)).suites
        except Trouble:
            continue  # of a version that wrote something else
        for one in suites:
            if one.suite == MEMORY and one.commit == commit and one.numbers:
                return one.numbers
    return {}


def tell_growth(house: House, osname: str, result: SuiteResult) -> None:
    """Warn of what grew since the tree that was promoted last, where both were measured."""
    if result.suite != MEMORY or result.verdict is not Verdict.PASSED:
        return
    for row in house.ledger.promoted():
        if (row.osname, row.tree) != (osname, result.tree) or row.commit == result.commit:
            continue
        before = figures_of(house, row.commit)
        for words in grown(result.numbers, before, since=f"since {row.run}"):
            house.log.warning(words, about=result.tree)
