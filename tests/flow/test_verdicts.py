# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a house makes of a suite's result: history, known issues, tests that components bring."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.cli.background import known_issues, repeats_of
from pipeline.cli.externals import externals_file, externals_of, given_externals
from pipeline.cli.passage import Passage
from pipeline.cli.reproduce import _recorded
from pipeline.cli.results import Tests, Trees
from pipeline.cli.stage_verbs import _work
from pipeline.cli.testing import hear
from pipeline.ports.external_tests import find_externals
from pipeline.ports.ledger import PromotionState
from pipeline.ports.worker_home import IDENTITY
from pipeline.words.errors import EXIT_BUG, BadInput, Ending, Failed
from pipeline.words.external import LARGEST
from pipeline.words.manifest import Need, Source, SourceKind
from pipeline.words.refs import Commit
from pipeline.words.run import RunEnding
from pipeline.words.tree import Tree
from pipeline.words.verdict import BUG, SuiteResult, TestResult, Verdict, suite_verdict
from tests.cheap import NO_KERNEL, OSNAME, TREE, Cheap
from tests.repos import GitRepo
from tests.work import run_ostci

P, F = Verdict.PASSED, Verdict.FAILED
HEADER = "#!/bin/sh\n## ostci:\n##   tags: quick\n"


@pytest.fixture(scope="module")
def cheap(tmp_path_factory: pytest.TempPathFactory) -> Cheap:
    """A work directory of which a run has composed; its component has tests of its own."""
    root = tmp_path_factory.mktemp("verdicts")
    made = Cheap(root, one=0.0, two=0.0)
    repo = GitRepo(made.sources / "one")
    place = repo.path / "tests" / "vm"
    (place / "deeper").mkdir(parents=True)
    files = {"good": HEADER, "lib.sh": "x=1\n", "deeper/no": HEADER, "large": "#" * (LARGEST + 1)}
    for name, text in files.items():
        (place / name).write_text(text)
        (place / name).chmod(0o644 if name == "lib.sh" else 0o755)
    (place / "link").symlink_to("/etc/passwd")
    (place / "name with spaces").write_text(HEADER)
    (place / "name with spaces").chmod(0o755)
    repo.git("add", "--all")
    repo.git("commit", "--quiet", "--message=tests")
    made.ostci("run", code=NO_KERNEL)
    return made


@pytest.fixture
def passage(cheap: Cheap) -> Iterator[Passage]:
    """The run, opened."""
    house = cheap.house()
    found = Passage(house, house.last_run())
    yield found
    house.ledger.close()


def result(passage: Passage, number: int = 0, **verdicts: Verdict) -> SuiteResult:
    """Make a suite's result; of the run's own tree, or of another commit by its number."""
    (tree,) = passage.read("trees", Trees).trees
    tests = tuple(
        TestResult(name=name, verdict=one, message="it broke" if one is F else "")
        for name, one in verdicts.items()
    )
    return SuiteResult(
        suite="login",
        tree=TREE,
        commit=Commit(f"{number:064x}") if number else tree.commit,
        verdict=suite_verdict(list(verdicts.values())),
        tests=tests,
        message="it broke" if F in verdicts.values() else "",
        evidence=f"test/{TREE}/login",
    )


def test_new_tests_warn_known_issues_are_told_and_old_ones_count(
    cheap: Cheap, passage: Passage
) -> None:
    ledger = passage.house.ledger
    hear(passage, result(passage, 1, a=P, b=P))
    with ledger.deciding() as sitting:
        sitting.write(
            batch=1,
            run=passage.run.version,
            osname=OSNAME,
            tree=TREE,
            commit=Commit(f"{1:064x}"),
            previous=None,
            state=PromotionState.DONE,
            gate={"login": Need.REQUIRED},
        )
    hear(passage, result(passage, a=P, b=P, new=F))
    heard = passage.read("tests", Tests).suites[-1]
    assert (heard.verdict, heard.message) == (P, "new and not well: new")
    assert "it is new and only warns, after 0 passes in a row of 3: it broke" in heard.notes[0]
    assert ledger.verdicts(heard.commit)["login"] is P
    for number in (2, 3, 4):
        hear(passage, result(passage, number, a=P, b=P, new=P))
    told = hear(passage, result(passage, a=P, b=P, new=F))
    assert isinstance(told, Failed) and "login: it broke" in str(told)
    # Now it is known what it is.
    folder = cheap.root.parent / "known_issues"
    folder.mkdir()
    text = "link: https://bugs/1\nuntil: 2999-01-01\nsuites: login\nlog: it broke\n"
    (folder / "breaks.yaml").write_text(text)
    hear(passage, result(passage, a=P, b=P, new=F))
    heard = passage.read("tests", Tests).suites[-1]
    assert heard.notes == ("new failed: known issue breaks (https://bugs/1)",)
    (folder / "breaks.yaml").write_text(text.replace("2999", "1999"))
    assert isinstance(hear(passage, result(passage, a=P, b=P, new=F)), Failed)
    (folder / "worse.yaml").write_text("links: x\n")
    with pytest.raises(BadInput) as caught:
        known_issues(passage)
    assert f"{folder}/worse.yaml:1:1: unknown key 'links', did you mean 'link'?" in str(
        caught.value
    )
    said = run_ostci(None, "check", str(cheap.root.parent / "cheap.yaml"), code=2)
    assert f"{folder}/worse.yaml:1:1: unknown key 'links'" in said.out
    assert repeats_of(passage, result(passage, other=F)) == {"other": 1}
    shutil.rmtree(folder)


def test_a_run_stands_or_falls_with_what_its_gate_requires_and_with_nothing_else(
    passage: Passage,
) -> None:
    bad = replace(result(passage, a=F), suite="smoke")
    told = hear(passage, replace(bad, suite="smoke/a"))
    assert isinstance(told, Failed), "one test of it by itself decides nothing"
    assert passage.record.stages[f"test {TREE} smoke/a"].ending is RunEnding.PASSED
    with pytest.raises(Failed, match="smoke: it broke"):
        hear(passage, bad)
    assert passage.record.stages[f"test {TREE} smoke"].ending is RunEnding.FAILED
    trouble = replace(bad, suite="pairs", verdict=Verdict.TROUBLE, cause=BUG, message="twice")
    told = hear(passage, trouble)
    assert type(told) is Ending and told.exit_code == EXIT_BUG
    assert "a bug of ours: twice" in str(told)
    assert passage.record.stages[f"test {TREE} pairs"].ending is RunEnding.PASSED


def test_what_fails_on_commit_after_commit_is_not_repeated(passage: Passage) -> None:
    for number in (5, 6, 7):
        found = replace(result(passage, number, hopeless=F), suite="other")
        assert isinstance(hear(passage, found), Failed)
    assert repeats_of(passage, replace(result(passage, hopeless=F), suite="other")) == {
        "hopeless": 0
    }


def test_a_components_tests_are_read_from_its_mirror_and_nothing_else(passage: Passage) -> None:
    target = passage.manifest.target("runtime")
    assert externals_of(passage, target, "smoke", tree="t") == ()
    (found,) = externals_of(passage, target, "externals", tree="t")
    assert found.component == "one"
    assert found.revision == passage.snapshot.pins["one"].revision
    told = {one.name: one.problem for one in found.tests}
    assert told == {
        "one/good": "",
        "one/large": f"larger than {LARGEST} bytes",
        "one/name_with_spaces": "'name with spaces' is no name of a test: letters, digits, . _ + -",
    }
    assert {one.name: one.data for one in found.files} == {
        "good": HEADER.encode(),
        "lib.sh": b"x=1\n",
    }
    other = replace(target, components=("two",))
    assert externals_of(passage, other, "externals", tree="t") == ()


def test_a_worker_is_given_the_same_with_what_is_wrong_with_them(passage: Passage) -> None:
    target = passage.manifest.target("runtime")
    here = externals_of(passage, target, "externals", tree="t")
    tree = Tree(
        name="t",
        target="runtime",
        arch="x86_64",
        commit=Commit("0" * 64),
        content="",
        version="",
        snapshot="",
    )
    given = given_externals(passage, tree, "externals/one")
    assert given_externals(passage, tree, "smoke") is None
    path = passage.run.file(externals_file("t"))
    path.parent.mkdir(exist_ok=True)
    passage.write(externals_file("t"), given)
    identity = passage.house.workdir.root / IDENTITY
    identity.write_text("{}")
    try:
        # Sources are nowhere on a worker.
        nowhere = replace(target, components=())
        assert externals_of(passage, nowhere, "externals", tree="t") == here
    finally:
        identity.unlink()
        path.unlink()


def test_those_of_a_working_copy_are_read_where_they_lie(
    cheap: Cheap, passage: Passage, tmp_path: Path
) -> None:
    copy = tmp_path / "one"
    GitRepo(cheap.sources / "one").git("clone", "--quiet", ".", str(copy))
    extra = copy / "tests" / "vm" / "extra"
    extra.write_text(HEADER)
    extra.chmod(0o755)
    source = Source(kind=SourceKind.LOCAL, location=str(copy))
    component = replace(passage.manifest.component("one"), source=source)
    mirrors = passage.house.mirrors
    found = find_externals(mirrors, component, mirrors.pin(source))
    assert {"one/extra", "one/good"} <= {one.name for one in found.tests}
    assert not {"link", "no"} & {one.name for one in found.files}
    # A folder that is a link leads to anywhere.
    shutil.move(copy / "tests", copy / "elsewhere")
    (copy / "tests").symlink_to("elsewhere")
    assert find_externals(mirrors, component, mirrors.pin(source)).tests == ()


def test_what_cannot_be_reproduced_is_told_with_what_can(cheap: Cheap, passage: Passage) -> None:
    hear(passage, result(passage, a=P, b=P))
    version = passage.run.version
    for words, told in (
        (("99999999.0", "login/a"), "there is no run 99999999.0"),
        ((version, "logon/a"), "has no result of a suite 'logon'"),
        ((version, "login/aa"), "login on x86_64-runtime had no test 'aa'"),
        ((version, "x86_64-devel", "login/a"), "has tested no tree 'x86_64-devel'"),
        ((version, "x", "y", "z"), "not TREE SUITE/TEST"),
        ((version,), "not TREE SUITE/TEST: nothing"),
        ((f"{version}/login/aa",), "login on x86_64-runtime had no test 'aa'"),
        ((version, "login/a", "--times", "0"), "at least once"),
    ):
        said = cheap.ostci("reproduce", *words, code=2)
        assert told in said.err, words


def test_a_test_is_reproduced_by_the_newest_result_that_has_it(passage: Passage) -> None:
    for suite in ("installed", "installed/glib"):
        hear(passage, replace(result(passage, 0, **{"glib/a.test": P}), suite=suite))
    for given, of in (
        ("installed/glib/a.test", "installed/glib"),
        ("installed/glib", "installed/glib"),
        ("installed", "installed"),
    ):
        recorded, test = _recorded(passage, (TREE, given))
        assert (recorded.suite, test) == (of, given.partition("/")[2])
        assert _recorded(passage, (f"{TREE}/{given}",)) == (recorded, test)
    with pytest.raises(BadInput, match=r"had no test 'glib/b\.test'"):
        _recorded(passage, (TREE, "installed/glib/b.test"))


def test_who_stops_what_is_given_once_more_changes_nothing_about_how_the_run_ended(
    passage: Passage,
) -> None:
    before = passage.record

    def stopped(passage: Passage) -> None:
        with passage.stage("test", TREE, "login"):
            raise KeyboardInterrupt

    for ending, after in (
        (RunEnding.PASSED, RunEnding.PASSED),
        (RunEnding.FAILED, RunEnding.FAILED),
        (RunEnding.OPEN, RunEnding.INTERRUPTED),
    ):
        passage.update(lambda record, ending=ending: replace(record, ending=ending, message=""))  # type: ignore[misc]
        with pytest.raises(KeyboardInterrupt):
            _work(passage, stopped, reopen=False, ends=True)
        assert passage.record.ending is after
        stage = passage.record.stages[f"test {TREE} login"]
        assert (stage.ending, stage.message) == (RunEnding.INTERRUPTED, "stopped")
    passage.update(lambda _: before)
