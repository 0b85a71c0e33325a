# SPDX-License-Identifier: LGPL-2.1-or-later
"""A suite that a worker ran: that a failure was there before is taken of whom it can be true."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.baseline import find_baseline
from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.results import Tests, Trees
from pipeline.ports.dock import docking
from pipeline.ports.log import Log
from pipeline.ports.worker_book import WorkerBook
from pipeline.words.attempts import ELSEWHERE
from pipeline.words.records import from_json, to_json
from pipeline.words.refs import Commit, buildmaster_ref
from pipeline.words.verdict import SuiteResult, TestResult, Verdict
from tests.cheap import OSNAME, TREE, Cheap
from tests.remote import prepare_anvil
from tests.work import Said, run_ostci

pytestmark = pytest.mark.slow
FULL = pytest.mark.full
JOB = ("test", TREE, "--suite", "smoke")


class Heard:
    """A run whose tree a worker is to test, after another one of that name was promoted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.master = Cheap.composed(root, one=0.0)
        self.first = self.commit()
        repo = self.master.house().repo
        repo.set_refs({buildmaster_ref(OSNAME, TREE): self.first})
        self.master.change("one")
        self.master.ostci("run", code=1)
        self.version = self.master.house().last_run().version
        self.worker = prepare_anvil(root, "of anvil\n").workdir.root
        self.workdir = self.master.house().workdir

    url = ""

    def commit(self) -> Commit:
        """Tell the commit of the newest run's tree."""
        run = self.master.house().last_run()
        (tree,) = from_json(Trees, run.file("trees").read_bytes()).trees
        return tree.commit

    @contextmanager
    def assigned(self, pool: str) -> Iterator[None]:
        """Have the worker fetch the job, and reach the dock for the length of the ``with``."""
        self.master.ostci("assign", *JOB, "--run", self.version, "--pool", pool)
        passwords = {"anvil": "of anvil"}
        with docking(
            "127.0.0.1:0", self.workdir, passwords=passwords, certificate=None, log=Log()
        ) as self.url:
            run_ostci(self.worker, "fetch", "--from", self.url, *JOB, "--run", self.version)
            yield

    def take(self, result: SuiteResult, *, evidence: bool, code: int, told: int) -> Said:
        """Have the worker send a result, and the master take it."""
        run = House(self.worker, log=Log()).workdir.run(self.version)
        run.file("tests").write_text(to_json(Tests(suites=(result,))))
        place = run.test(TREE, "smoke") / "promoted"
        place.mkdir(parents=True, exist_ok=True)
        (place / "console.txt").unlink(missing_ok=True)
        if evidence:
            (place / "console.txt").write_text("as it was\n")
        file = str(self.root / "offer.tar")
        run_ostci(self.worker, "offer", *JOB, "--run", self.version, "--into", file)
        words = ("--file", file, "--worker", "anvil", "--pool", "push", "--code", str(told))
        return self.master.ostci("take", *JOB, "--run", self.version, *words, code=code)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    return Heard(tmp_path_factory.mktemp("heard"))


def result(heard: Heard, **given: Any) -> SuiteResult:
    bad = TestResult(name="boot", verdict=Verdict.FAILED, message="no", cause="unit")
    made = SuiteResult(
        suite="smoke",
        tree=TREE,
        commit=heard.commit(),
        verdict=Verdict.FAILED,
        tests=(bad,),
        message="fails on the one before as well",
        cause=ELSEWHERE,
    )
    return replace(made, **given)


def test_what_was_promoted_last_is_pulled_when_it_is_wanted(heard: Heard) -> None:
    with heard.assigned("push"):
        house = House(heard.worker, log=Log())
        passage = Passage(house, house.workdir.run(heard.version))
        (tree,) = passage.read("trees", Trees).trees
        assert not house.repo.has_commit(heard.first)
        found = find_baseline(passage, tree)
    assert found is not None and found.commit == heard.first
    assert house.repo.has_commit(heard.first) and found.version


def test_a_disk_that_cannot_be_made_there_is_trouble_of_that_machine(heard: Heard) -> None:
    with heard.assigned("push"):
        said = run_ostci(
            heard.worker,
            *("perform", "--from", heard.url, *JOB, "--run", heard.version),
            *("--into", str(heard.root / "never.tar")),
            code=3,
        )
    assert "no disk here of what there is one of" in said.err and "kernel" in said.err
    assert "offered" not in said.out and not (heard.root / "never.tar").exists()


def test_a_failure_that_was_there_before_is_taken_with_its_evidence(heard: Heard) -> None:
    with heard.assigned("push"):
        said = heard.take(result(heard), evidence=True, code=1, told=1)
    assert "as well" in said.err
    (row,) = heard.master.house().ledger.attempts(heard.commit())[-1:]
    assert (row.verdict, row.cause) == (Verdict.FAILED, ELSEWHERE)


@pytest.mark.parametrize(
    ("pool", "given", "evidence", "told", "words"),
    [
        ("try", {}, True, 1, "and was given none"),
        ("push", {}, False, 1, "has no evidence of that"),
        pytest.param("push", {"verdict": Verdict.FLAKY}, True, 1, "of what flaky", marks=FULL),
        pytest.param("push", {"tests": ()}, True, 1, "of what failed", marks=FULL),
    ],
)
def test_whoever_cannot_have_compared_is_set_aside(
    heard: Heard, pool: str, given: dict[str, Any], evidence: bool, told: int, words: str
) -> None:
    before = len(heard.master.house().ledger.attempts(heard.commit()))
    with heard.assigned(pool):
        said = heard.take(result(heard, **given), evidence=evidence, code=3, told=told)
    assert words in said.err
    book = WorkerBook(heard.workdir)
    assert words in book.read("anvil").aside
    book.take_back("anvil")
    assert len(heard.master.house().ledger.attempts(heard.commit())) == before
