# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test of a suite may ask for, and how what it found becomes the report.

``ostci test`` starts pytest with the file of parameters in the environment. A test that fails
speaks of the guest; Trouble is this machine's; any other exception is a bug of ours or of the
test's, and never counts as the guest's failure.
"""

import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import pytest

from pipeline.ports.log import ListSink
from pipeline.words.errors import Failed, Trouble
from pipeline.words.refs import Commit
from pipeline.words.suite import PARAMETERS
from pipeline.words.symptoms import Cause
from pipeline.words.verdict import BUG, TestResult, Verdict
from vmtests import failure
from vmtests.bench import Bench
from vmtests.bench import bench as the_bench
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine
from vmtests.several import Several

_LONGEST_LOG = 64 * 1024


_told = [""]
_LOGS = pytest.StashKey[ListSink]()
SECONDS = pytest.StashKey[float]()
"""What a test took that ran before its turn, in a machine of its own."""
SAID = pytest.StashKey[list[str]]()
"""What a program wrote that is the test."""
_MOST_SAID = 15


_BROKEN = (Cause.FAILED_UNIT, Cause.CORE_DUMP, Cause.OOM_KILL, Cause.OOPS)


def pytest_configure(config: pytest.Config) -> None:
    """See that there are parameters, and tell pytest the marks of suites."""
    if not os.environ.get(PARAMETERS):
        raise pytest.UsageError(f"{PARAMETERS} is not set: ostci test starts suites")
    config.addinivalue_line("markers", "cold: it wants a machine that was booted, not a fork")
    config.addinivalue_line("markers", "named: its result is named by its parameter alone")
    config.addinivalue_line(
        "markers", "expects(cause, …): what may go wrong in the guest meanwhile"
    )


def pytest_sessionfinish() -> None:
    """Leave nothing running, and the report written."""
    the_bench().end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Nest the log as the tests nest; keep each test's own lines."""
    bench = the_bench()
    sink = item.stash[_LOGS] = ListSink()
    found: object = None
    with bench.log.also(sink), suppress(_Red, _NoMachine), bench.log.step(name_of(item)) as step:
        found = yield
        step.seconds = item.stash.get(SECONDS, None)
        verdicts = {one.verdict for one in bench.results if one.name == name_of(item)}
        if Verdict.FAILED in verdicts:
            raise _Red
        if Verdict.TROUBLE in verdicts:
            raise _NoMachine("told above")
    return found


class _Red(Exception):
    """Ends the step of a test that failed, so that its last line says so."""


class _NoMachine(Trouble):
    """Ends the step of a test that we could not run, so that its last line says so."""


def _is_bad(result: TestResult) -> bool:
    return result.verdict in (Verdict.FAILED, Verdict.TROUBLE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each phase of each test; the first that is not well decides."""
    report = yield
    bench = the_bench()
    if call.when == "call" or not report.passed:
        result, lines = _judge(item, call, report)
        if bench.current is not None and result.verdict is Verdict.FAILED:
            bench.current.has_failed = True
        name = result.name
        if not any(one.name == name and one.verdict != Verdict.PASSED for one in bench.results):
            bench.results = [one for one in bench.results if one.name != name] + [result]
        _tell(bench, result, lines, is_alone=SECONDS in item.stash)
        # What others read, as JUnit's XML, says what the guest did, not how we found out.
        report.duration = result.seconds
        if result.verdict is Verdict.FAILED and item.get_closest_marker("named") is not None:
            report.longrepr = _Said(result)
    return report


class _Said(str):
    """A test's own log in the place of a traceback of ours; pytest asks for the attribute."""

    def __new__(cls, result: TestResult) -> "_Said":
        made = super().__new__(cls, result.log or result.message)
        made.reprcrash = SimpleNamespace(message=result.message, path="", lineno=0)
        return made

    reprcrash: SimpleNamespace


def _judge(
    item: pytest.Item, call: "pytest.CallInfo[None]", report: pytest.TestReport
) -> tuple[TestResult, list[str]]:
    """Make the result of a test, and tell what describes its failure."""
    verdict, cause, message = Verdict.PASSED, "", ""
    described: list[str] = []  # nothing of what only runs a test of somebody else
    if report.skipped:
        verdict = Verdict.SKIPPED
        message = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        message = message.removeprefix("Skipped: ")
    elif report.failed and call.excinfo is not None:
        verdict, cause, message = _of_error(call.excinfo.value)
        message = message or call.excinfo.exconly()
        if item.get_closest_marker("named") is None:
            described = failure.described(call.excinfo.value, item.path.parent)
            described = [line for line in described if line != message]
        if cause == BUG:
            described = report.longreprtext.splitlines()  # all of it
    seconds: float = item.stash.get(SECONDS, report.duration)
    lines = item.stash[_LOGS].texts() if _LOGS in item.stash else []
    log = "\n".join([*lines, *described])
    result = TestResult(
        name=name_of(item),
        verdict=verdict,
        seconds=round(seconds, 3),
        message=message,
        cause=cause,
        log=log[-_LONGEST_LOG:],
    )
    # What a program wrote is in the log already.
    return result, described or (item.stash.get(SAID, [])[-_MOST_SAID:] if _is_bad(result) else [])


def name_of(item: pytest.Item) -> str:
    """Name a result; one of many of the same function, that is marked so, by its parameter."""
    if item.get_closest_marker("named") is None:
        return item.name
    return item.name.partition("[")[2].removesuffix("]")


def _of_error(error: BaseException) -> tuple[Verdict, str, str]:
    """Say whose fault an exception is."""
    if isinstance(error, GuestFailed):
        return Verdict.FAILED, error.cause, error.what
    if isinstance(error, Failed | AssertionError | pytest.fail.Exception):
        text = next(iter(str(error).splitlines()), "")
        return Verdict.FAILED, Cause.TEST, text
    if isinstance(error, Trouble):
        return Verdict.TROUBLE, "trouble", str(error)
    return Verdict.TROUBLE, BUG, f"a bug in the test or the harness: {error!r}"


def _tell(bench: Bench, result: TestResult, described: list[str], *, is_alone: bool) -> None:
    """Say what failed, with what the guest said last and how to repeat it.

    One that was alone in its machine has told what that said in a log of its own.
    """
    if result.verdict is Verdict.SKIPPED:
        bench.log.fact(f"skipped: {result.message}")
    if not _is_bad(result):
        return
    bench.log.error(f"{result.name} {result.verdict} ({result.cause}): {result.message}")
    speaking = bench.several or bench.current or bench.machine
    words = speaking.last_words() if speaking is not None and not is_alone else ""
    # Of several tests that fail of one boot, the first shows what it said.
    failure.tell(described, words if words != _told[-1] else "", bench.log)
    _told.append(words)
    if bench.parameters.repeat:
        bench.log.fact(f"to repeat just this test: {bench.parameters.repeat}/{result.name}")


@pytest.fixture(scope="session")
def bench() -> Bench:
    """What this process has for its suite."""
    return the_bench()


@pytest.fixture
def machine(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A machine that runs the commit under test: a fork of its checkpoint, for this test alone.

    Tests that are marked ``cold`` share one that was booted for them. That one is there also when
    the boot has failed, and for all tests then: they say what of.
    """
    is_cold = request.node.get_closest_marker("cold") is not None
    if is_cold or not bench.can_fork():
        yield bench.booted()
        return
    with forked(bench, request.node.name) as found:
        yield found


@contextmanager
def forked(bench: Bench, test: str) -> Iterator[Machine]:
    """Have a fork for a test, where ``can_fork``: it is then the machine that is spoken of."""
    with bench.fork(test) as found:
        bench.current = found
        yield found
        bench.current = None


@pytest.fixture
def machines(bench: Bench, request: pytest.FixtureRequest) -> Iterator[Several]:
    """Several machines in a network of their own: ``server, client = machines("server", …)``."""
    with bench.machines(request.node.name) as found:
        yield found


@pytest.fixture
def watched(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """Fail the test if a unit fails, a program dumps core, or the kernel is unwell meanwhile.

    A test that has to break something says so: ``@pytest.mark.expects(Cause.CORE_DUMP)``.
    """
    mark = request.node.get_closest_marker("expects")
    with watching(machine, () if mark is None else mark.args):
        yield machine


@contextmanager
def watching(machine: Machine, expected: Sequence[Cause] = ()) -> Iterator[None]:
    """Raise GuestFailed if something breaks within the ``with`` that is not expected."""
    causes = [cause for cause in _BROKEN if cause not in expected]
    before = machine.symptoms(*causes)
    watch = machine.watch
    yield
    # After a reboot all that was seen is new.
    known = before if machine.watch is watch else ()
    found = [one for one in machine.symptoms(*causes) if one not in known]
    if found:
        raise GuestFailed(f"while it ran: {found[0].message}", cause=found[0].cause)


@pytest.fixture(scope="session")
def seed(bench: Bench) -> int:
    """What lots are drawn with: the same again when a test is reproduced."""
    return bench.parameters.seed


@pytest.fixture(scope="session")
def commit(bench: Bench) -> Commit:
    """The commit under test."""
    return bench.parameters.tree.commit


@pytest.fixture(scope="session")
def evidence(bench: Bench) -> Evidence:
    """The directory that keeps what a boot showed."""
    return bench.evidence
