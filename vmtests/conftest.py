# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a test of a suite may ask for, and how what it found becomes the report.

``ostci test`` starts pytest with the file of parameters in the environment. A test that fails
speaks of the guest; Trouble is this machine's; any other exception is a bug of ours or of the
test's, and never counts as the guest's failure.
"""

import os
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.ports.domain import hypervisor
from pipeline.ports.log import FileSink, Line, ListSink, Log, plain_text
from pipeline.words.errors import Failed, Trouble
from pipeline.words.records import from_json
from pipeline.words.refs import Commit
from pipeline.words.suite import LOG_MARK, PARAMETERS, SuiteParameters, SuiteReport
from pipeline.words.symptoms import Cause
from pipeline.words.verdict import TestResult, Verdict
from vmtests.evidence import Evidence
from vmtests.following import GuestFailed
from vmtests.machine import Machine

_LONGEST_LOG = 64 * 1024


class _Pipe:
    """Hand the log's lines to who started us, apart from what pytest says itself."""

    def write(self, line: Line) -> None:
        stream = sys.__stderr__
        if stream is not None:
            stream.write(f"{LOG_MARK}{int(line.level)}{plain_text(line)}\n")
            stream.flush()


class Bench:
    """All that one process has for its suite; the machine boots when a test first asks."""

    def __init__(self, parameters: SuiteParameters) -> None:
        self.parameters = parameters
        self.results: list[TestResult] = []
        self.stack = ExitStack()
        self.file = FileSink(Path(parameters.evidence) / "log.txt")
        self.log = Log(_Pipe(), self.file)
        self.evidence = Evidence(Path(parameters.evidence), log=self.log)
        self.machine: Machine | None = None
        self.began = time.monotonic()

    def boot(self) -> Machine:
        """Boot the machine and follow it until it is decided whether that went well."""
        root = Path(self.parameters.sockets) / "v"
        virt = self.stack.enter_context(hypervisor(self.parameters.machines, root, log=self.log))
        machine = Machine(self.parameters, virt, self.evidence, log=self.log)
        self.machine = machine
        self.stack.callback(machine.close)
        machine.start()
        machine.wait_for_boot()
        return machine

    def end(self) -> None:
        """End the machine and write down what was found."""
        if self.machine is not None:
            self.evidence.final_screenshot(self.machine.domain)
            self.machine.close()
        self.evidence.write("timings.json", self.numbers())
        self.evidence.write("report.json", self.report())
        self.stack.close()
        self.evidence.close()
        self.file.close()

    def numbers(self) -> dict[str, float]:
        """Tell the measurements: seconds since the guest's first instruction."""
        found = {"suite_s": time.monotonic() - self.began, "speed": self.parameters.speed}
        marks = self.machine.watch.marks if self.machine is not None else {}
        for name, seconds in marks.items():
            found["boot_s" if name == "reached" else f"{name}_s"] = seconds
        return {name: round(value, 3) for name, value in found.items()}

    def report(self) -> SuiteReport:
        """Sum up; a boot that failed is the cause of what its tests say."""
        cause, message = "", ""
        outcome = self.machine.watch.outcome if self.machine is not None else None
        bad = [one for one in self.results if one.verdict in (Verdict.FAILED, Verdict.TROUBLE)]
        trouble = next((one for one in bad if one.verdict is Verdict.TROUBLE), None)
        if trouble is not None:
            cause, message = trouble.cause, trouble.message
        elif outcome is not None and outcome.cause is not None:
            cause, message = outcome.cause, outcome.message
        elif bad:
            cause, message = bad[0].cause, f"{bad[0].name}: {bad[0].message}"
        return SuiteReport(
            tests=tuple(self.results), cause=cause, message=message, numbers=self.numbers()
        )


_BENCH = pytest.StashKey[Bench]()
_LOGS = pytest.StashKey[ListSink]()


def pytest_configure(config: pytest.Config) -> None:
    """Read the parameters."""
    path = os.environ.get(PARAMETERS)
    if not path:
        raise pytest.UsageError(f"{PARAMETERS} is not set: ostci test starts suites")
    # Short, for the sockets of whatever a library makes there.
    tempfile.tempdir = None
    parameters = from_json(SuiteParameters, Path(path).read_bytes(), where=path)
    config.stash[_BENCH] = Bench(parameters)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Leave nothing running, and the report written."""
    session.config.stash[_BENCH].end()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Nest the log as the tests nest; keep each test's own lines."""
    bench = item.config.stash[_BENCH]
    sink = item.stash[_LOGS] = ListSink()
    with bench.log.also(sink), bench.log.step(item.name):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge each phase of each test; the first that is not well decides."""
    report = yield
    bench = item.config.stash[_BENCH]
    if call.when == "call" or not report.passed:
        result = _judge(item, call, report)
        if not any(
            one.name == item.name and one.verdict != Verdict.PASSED for one in bench.results
        ):
            bench.results = [one for one in bench.results if one.name != item.name] + [result]
        _tell(bench, result)
    return report


def _judge(
    item: pytest.Item, call: "pytest.CallInfo[None]", report: pytest.TestReport
) -> TestResult:
    verdict, cause, message = Verdict.PASSED, "", ""
    if report.skipped:
        verdict = Verdict.SKIPPED
        message = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
        message = message.removeprefix("Skipped: ")
    elif report.failed and call.excinfo is not None:
        verdict, cause, message = _of_error(call.excinfo.value)
        message = message or call.excinfo.exconly()
    lines = item.stash[_LOGS].texts() if _LOGS in item.stash else []
    log = "\n".join(lines)
    if verdict in (Verdict.FAILED, Verdict.TROUBLE):
        log = f"{log}\n{report.longreprtext}"
    return TestResult(
        name=item.name,
        verdict=verdict,
        seconds=round(report.duration, 3),
        message=message,
        cause=cause,
        log=log[-_LONGEST_LOG:],
    )


def _of_error(error: BaseException) -> tuple[Verdict, str, str]:
    """Say whose fault an exception is."""
    if isinstance(error, GuestFailed):
        return Verdict.FAILED, error.cause, error.what
    if isinstance(error, Failed | AssertionError | pytest.fail.Exception):
        text = next(iter(str(error).splitlines()), "")
        return Verdict.FAILED, Cause.TEST, text
    if isinstance(error, Trouble):
        return Verdict.TROUBLE, "trouble", str(error)
    return Verdict.TROUBLE, "bug", f"a bug in the test or the harness: {error!r}"


def _tell(bench: Bench, result: TestResult) -> None:
    """Say what failed, with what the guest said last and how to repeat it."""
    if result.verdict is Verdict.SKIPPED:
        bench.log.fact(f"skipped: {result.message}")
    if result.verdict not in (Verdict.FAILED, Verdict.TROUBLE):
        return
    bench.log.error(f"{result.name} {result.verdict} ({result.cause}): {result.message}")
    if bench.machine is not None:
        for line in bench.machine.last_words().splitlines():
            bench.log.detail(line)
    if bench.parameters.repeat:
        bench.log.fact(f"to repeat just this test: {bench.parameters.repeat}/{result.name}")


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Bench:
    """What this process has for its suite."""
    return request.config.stash[_BENCH]


@pytest.fixture(scope="session")
def machine(bench: Bench) -> Machine:
    """The machine, booted from the commit under test; all tests of a session share it.

    It is there also when the boot has failed: the tests say what of.
    """
    return bench.machine or bench.boot()


@pytest.fixture(scope="session")
def commit(bench: Bench) -> Commit:
    """The commit under test."""
    return bench.parameters.tree.commit


@pytest.fixture(scope="session")
def evidence(bench: Bench) -> Evidence:
    """The directory that keeps what a boot showed."""
    return bench.evidence
