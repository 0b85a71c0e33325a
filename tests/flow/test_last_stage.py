# SPDX-License-Identifier: LGPL-2.1-or-later
"""The last stage of a run may give it its ending: a command less for a master."""

import json
from pathlib import Path

from pipeline.cli.record import read_record
from pipeline.words.run import RunEnding
from pipeline.words.verdict import SuiteResult, Verdict
from tests.cheap import TREE, Cheap


def composed(work: Cheap) -> str:
    """Begin a run and go as far as its trees; tells which it is."""
    for stage in ("base", "resolve", "build", "compose"):
        given = [] if stage == "base" else ["--run", work.house().last_run().version]
        work.ostci(stage, *given)
    return work.house().last_run().version


def test_what_promotes_ends_the_run_where_it_is_told_to(tmp_path: Path) -> None:
    work = Cheap(tmp_path, one=0.0)
    version = composed(work)
    house = work.house()
    run = house.workdir.run(version)

    def ending() -> tuple[RunEnding, str]:
        (row,) = (one for one in house.ledger.runs() if one.version == version)
        return read_record(run).ending, str(row.ending)

    work.ostci("promote", "--end", "--run", version, code=1)
    assert ending() == (RunEnding.FAILED, "failed")  # no suite has passed
    work.ostci("resolve", "--run", version)
    (tree,) = json.loads(run.file("trees").read_text())["trees"]
    passed = SuiteResult(suite="smoke", tree=TREE, commit=tree["commit"], verdict=Verdict.PASSED)
    house.ledger.record_suite(version, passed)
    work.ostci("promote", "--run", version)
    assert ending() == (RunEnding.OPEN, "open")
    assert not (work.root / "last-passed").exists()
    work.ostci("promote", "--end", "--run", version)
    assert ending() == (RunEnding.PASSED, "passed")
    assert (work.root / "last-passed").resolve() == run.path.resolve()
    record = read_record(run)
    work.ostci("end", version)
    assert (read_record(run).ending, read_record(run).message) == (record.ending, record.message)
    house.ledger.close()
