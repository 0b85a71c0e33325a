# SPDX-License-Identifier: LGPL-2.1-or-later
"""Run a suite on a commit: pytest in a process of its own, and a verdict of what it says.

That process opens libvirt and boots the machine; this one opens nothing, gives it a directory
and a deadline, and reads its report. Without a report there is no verdict on the commit: then it
is a bug of ours, or this machine's trouble.
"""

import difflib
import os
import pickle
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from pipeline.ports import accelerator, process
from pipeline.ports.domain import confined
from pipeline.ports.files import remove_tree, shared_place, write_text
from pipeline.ports.log import Log
from pipeline.ports.ostree import Repo
from pipeline.stages.testing import desktop
from pipeline.stages.testing.needs import Beside, besides_s, needs_of, skip_of
from pipeline.stages.testing.pairs import run_pairs
from pipeline.words.boot import expected_of
from pipeline.words.console_lines import ConsoleLines
from pipeline.words.errors import BadInput, Trouble
from pipeline.words.external import SUITE as EXTERNALS
from pipeline.words.external import Externals, wanted
from pipeline.words.installed import (
    LARGEST,
    PLACE,
    SUITE,
    TIMEOUT_S,
    InstalledTest,
    parse_test,
)
from pipeline.words.manifest import Target
from pipeline.words.pairing import PAIRS
from pipeline.words.records import from_json, to_json
from pipeline.words.suite import (
    FROM_PROMOTED,
    LOG_MARK,
    MOST_PROCESSES,
    PARAMETERS,
    TOO_MANY,
    SuiteParameters,
    SuiteReport,
)
from pipeline.words.symptoms import Known
from pipeline.words.tree import Disk, Tree
from pipeline.words.verdict import Ran, SuiteResult, Verdict, suite_verdict

_BESIDES_S = 60.0
"""What tests may take on a host with KVM, besides the boot."""
_NOTHING_COLLECTED = 5
_SOCKETS = "ostci-suite-"
_ROOM = 64 * 1024**2
"""Bytes: more than all bytecode of a suite."""
_TESTS_DECIDED = (0, 1)
_KILLED_CHILD = 137
_KINDS = {SUITE: "installed", EXTERNALS: "external"}
_COLD = re.compile(r"^pytestmark\b.*\bcold\b", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class TestRequest:
    """A suite (``smoke``, or one test of it, ``smoke/test_no_unit_failed``) on a tree's disk.

    ``into`` is the directory of the evidence; ``repeat`` the command that repeats the suite, to
    which ``/TEST`` can be added. ``suites`` is a folder of suites instead of the installed ones.
    ``repo`` has the tree, of which the suite ``installed`` reads what tests there are;
    ``known_failing`` are those that the manifest says fail, as paths in the tree. ``only`` are
    those to be run, of all. ``forks`` lets tests go on from a checkpoint, where they do not ask for
    a boot of their own; ``leaves_checkpoint`` has this suite make one, for those that come after. A
    suite that does not end within ``deadline_s`` seconds is stopped; 0 is what its target, its
    tests and this host's speed give it. The machines of tests that fail are kept for
    ``failures_s``. ``beside`` is what some suites need besides.
    """

    run: str
    tree: Tree
    target: Target
    disk: Disk
    suite: str
    into: Path
    machines: str = "qemu:///embed"
    repeat: str = ""
    suites: Path | None = None
    repo: Path | None = None
    known_failing: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    externals: tuple[Externals, ...] = ()
    """What the components of the target bring, for the suite of that name."""
    seed: int | None = None
    """None draws one."""
    reproduce: str = ""
    """The command, but for suite and test, that repeats a test as it was."""
    forks: bool = True
    leaves_checkpoint: bool = False
    deadline_s: float = 0.0
    failures_s: float = 0.0
    beside: Beside = field(default_factory=Beside)

    __test__ = False


def suites_path() -> Path:
    """Find the folder of the suites, ``vmtests``, which is installed beside this package."""
    spec = find_spec("vmtests")
    if spec is None or spec.origin is None:
        raise Trouble("the suites (vmtests) are not installed", hint="make setup")
    return Path(spec.origin).parent


def suites(folder: Path | None = None) -> tuple[str, ...]:
    """List the suites that are there."""
    folder = folder or suites_path()
    return tuple(sorted({path.parent.name for path in folder.glob("*/test_*.py")}))


def checkpoints(cache: Path) -> Path:
    """Name the directory of checkpoints in a cache."""
    return cache.resolve() / "checkpoints"


def failures(cache: Path) -> Path:
    """Name the directory of machines that are kept because their tests failed."""
    return cache.resolve() / "failures"


def is_cold(folder: Path) -> bool:
    """Tell whether all of a suite wants machines that were booted: each of its files says so.

    It only decides what is started before pytest, which goes by the marks themselves.
    """
    files = [path.read_text(errors="replace") for path in folder.glob("test_*.py")]
    return all(_COLD.search(text) is not None for text in files)


def goes_on_from_checkpoints(request: TestRequest) -> bool:
    """Tell whether tests of a suite may have forks of a machine that has booted."""
    folder = (request.suites or suites_path()) / request.suite.partition("/")[0]
    return request.forks and not is_cold(folder)


def run_suite(request: TestRequest, *, cache: Path, tmp: Path, log: Log) -> SuiteResult:
    """Run a suite; raises BadInput for one that is not there and Trouble without a hypervisor.

    What the guest did is in the result, also when nothing could be decided. Raises ValueError for
    a disk of another commit: what is recorded for a commit was seen of that commit.
    """
    if request.disk.commit != request.tree.commit:
        told = f"{request.tree.name} is {request.tree.commit}, its disk of {request.disk.commit}"
        raise ValueError(told)
    suite, _, test = request.suite.partition("/")
    folder = request.suites or suites_path()
    there = (*suites(folder), PAIRS)
    if suite not in there:
        near = difflib.get_close_matches(suite, there, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(there)}"
        raise BadInput(f"there is no suite {suite}", hint=hint)
    smoke = request.target.smoke
    Known(smoke.known)  # what is wrong with them is told before a machine starts
    ConsoleLines(smoke.required_console, smoke.forbidden_console)
    started = time.monotonic()
    if suite == PAIRS:
        result = _pairs(request, test, partial(run_suite, cache=cache, tmp=tmp, log=log), log=log)
        return replace(result, seconds=round(time.monotonic() - started, 3))
    installed = _installed(request, test, log) if suite == SUITE else ()
    brought = _externals(request, test) if suite == EXTERNALS else ()
    _empty(request.into)
    if suite in (SUITE, EXTERNALS) and not installed and not brought:
        return replace(
            _nothing_yet(request),
            verdict=Verdict.SKIPPED,
            message=f"{request.tree.name} has no {_KINDS[suite]} tests",
        )
    seed = secrets.randbelow(2**31) if request.seed is None else request.seed
    found: desktop.Desktop | None = None
    if suite in desktop.SUITES:
        found, why = _desktop(request, suite, test, log)
        if why:
            return replace(_nothing_yet(request), verdict=Verdict.SKIPPED, message=why)
    skip = skip_of(suite, request.beside)
    if skip is not None:
        skipped = replace(_nothing_yet(request), verdict=Verdict.SKIPPED, message=skip.message)
        return replace(skipped, cause=skip.cause)
    chosen = accelerator.choose(log=log)
    expected = expected_of(request.target, chosen.speed)
    cache.mkdir(parents=True, exist_ok=True)
    log.detail(f"machines: {chosen.words}; deadlines are stretched by {chosen.speed:.1f}")
    with _directories(tmp) as (sockets, scratch):
        needs = needs_of(
            suite, request.tree, request.beside, repo=request.repo, into=scratch, log=log
        )
        parameters = SuiteParameters(
            suite=suite,
            tree=request.tree,
            target=request.target,
            disk=request.disk,
            machines=request.machines,
            accelerator=chosen.kind,
            speed=chosen.speed,
            sockets=str(sockets),
            scratch=str(scratch),
            evidence=str(request.into),
            repeat=_repeat(request, suite),
            installed=installed,
            externals=brought,
            seed=seed,
            checkpoints=str(checkpoints(cache)) if request.forks else "",
            is_cold=is_cold(folder / suite),
            leaves_checkpoint=request.leaves_checkpoint,
            apps=found.apps if found else (),
            compositor=found.compositor if found else None,
            run=request.run,
            failures=str(failures(cache)),
            failures_s=request.failures_s,
            baseline=request.beside.baseline if suite in FROM_PROMOTED else None,
            other=request.beside.other,
            own=needs.own,
            sizes=needs.sizes,
        )
        tests_s = _BESIDES_S + TIMEOUT_S * len(installed) + _longest(brought, request.target)
        if found is not None and request.target.session is not None:
            tests_s += found.seconds(request.target.session)
        boot_s = expected.deadline_s + expected.settle_s
        more_s = besides_s(suite, boot_s, chosen.speed)
        deadline_s = request.deadline_s or boot_s + tests_s * chosen.speed + more_s
        bytecode = cache.resolve() / "bytecode"
        only = "" if installed or brought or (found and found.apps) else test
        code = _run_pytest(parameters, folder, only, deadline_s, bytecode=bytecode, log=log)
    try:
        result = _result(request, code, deadline_s)
    except RuntimeError:
        remove_tree(bytecode)  # whatever it was, it must not be the same for ever
        raise
    ran = Ran(
        memory=request.target.memory,
        processors=request.target.processors,
        seed=seed,
        accelerator=chosen.kind,
        disk=request.disk.path,
    )
    return replace(result, seconds=round(time.monotonic() - started, 3), ran=ran)


def _pairs(
    request: TestRequest, test: str, run: Callable[[TestRequest], SuiteResult], *, log: Log
) -> SuiteResult:
    _empty(request.into)

    def one(suite: str, place: str, *, forks: bool, only: Sequence[str]) -> SuiteResult:
        into = request.into / place
        asked = replace(request, suite=suite, into=into, forks=forks, only=(*only,) or request.only)
        return run(replace(asked, leaves_checkpoint=False, failures_s=0.0))

    result = run_pairs(test, one, nothing=_nothing_yet(request), log=log)
    report = SuiteReport(tests=result.tests, cause=result.cause, message=result.message)
    write_text(request.into / "report.json", to_json(report))
    return result


def _repeat(request: TestRequest, suite: str) -> str:
    if request.reproduce:
        return f"{request.reproduce} {suite}"
    return request.repeat or f"ostci test {request.tree.name} --suite {suite}"


def _externals(request: TestRequest, only: str) -> tuple[Externals, ...]:
    """Choose the external tests for the target, of all or of what was named; raises BadInput."""
    found = wanted(request.externals, target=request.target.name, only=only)
    if only and not found:
        names = [test.name for one in request.externals for test in one.tests]
        near = difflib.get_close_matches(only, names, 1)
        hint = f"did you mean {EXTERNALS}/{near[0]}?" if near else f"there are {len(names)}"
        raise BadInput(f"{request.tree.name} has no external test {only}", hint=hint)
    if not request.only:
        return found
    some = (
        replace(one, tests=tuple(test for test in one.tests if test.name in request.only))
        for one in found
    )
    return tuple(one for one in some if one.tests)


def _longest(externals: Sequence[Externals], target: Target) -> float:
    """Tell how many seconds with KVM the tests of components may take, their reboots too."""
    boot_s = target.smoke.deadline_s + _BESIDES_S
    return sum(
        (test.timeout_s + _BESIDES_S) * (test.reboots + 1) + boot_s * test.reboots
        for one in externals
        for test in one.tests
    )


def _installed(request: TestRequest, only: str, log: Log) -> tuple[InstalledTest, ...]:
    """List the installed tests of a tree, or the one of that name or folder; raises BadInput."""
    if request.repo is None:
        raise ValueError("the suite of installed tests needs the repository that has the tree")
    repo = Repo(request.repo, log=log)
    known = {path.lstrip("/").removeprefix(f"{PLACE}/") for path in request.known_failing}
    found = {
        name: checksum
        for name, checksum in repo.below(request.tree.commit, PLACE)
        if name.endswith(".test")
    }
    chosen = sorted(name for name in found if not only or f"{name}/".startswith(f"{only}/"))
    chosen = [name for name in chosen if not request.only or name in request.only]
    if only and not chosen:
        near = difflib.get_close_matches(only, found, 1)
        hint = f"did you mean {SUITE}/{near[0]}?" if near else f"the tree has {len(found)}"
        raise BadInput(f"{request.tree.name} has no installed test {only}", hint=hint)
    return tuple(
        parse_test(
            name, repo.content(found[name], limit=LARGEST + 1), is_expected_to_fail=name in known
        )
        for name in chosen
    )


def _desktop(
    request: TestRequest, suite: str, only: str, log: Log
) -> tuple[desktop.Desktop | None, str]:
    """Look what the tree has for a session, or tell why there is nothing to test."""
    spec = request.target.session
    if spec is None:
        return None, f"{request.tree.name} has no graphical session"
    if request.repo is None:
        raise ValueError("the suites of a session need the repository that has the tree")
    repo = Repo(request.repo, log=log)
    found = desktop.desktop_of(repo, request.tree.commit, spec, suite=suite, only=only)
    if request.only:
        apps = tuple(app for app in found.apps if app.name in request.only)
        found = replace(found, apps=apps)
    if suite == desktop.APPS and not found.apps:
        return None, f"{request.tree.name} has no applications"
    if found.skip:
        return None, found.skip
    return found, ""


def _empty(directory: Path) -> None:
    """Throw away the evidence of an earlier attempt: none of it may pass for this one's."""
    remove_tree(directory)
    directory.mkdir(parents=True)


@contextmanager
def _directories(tmp: Path) -> Iterator[tuple[Path, Path]]:
    """Make a directory with a short path, for sockets, and one with room, for layers."""
    tmp.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="machine-", dir=tmp))
    try:
        with shared_place(Path("/tmp"), _SOCKETS) as sockets:
            yield sockets, scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _run_pytest(
    parameters: SuiteParameters,
    folder: Path,
    test: str,
    deadline_s: float,
    *,
    bytecode: Path,
    log: Log,
) -> int:
    """Run pytest to its end; tells its exit code, negative for a signal.

    All that it started is dead after it: machines too, for they are in its process namespace.
    """
    file = Path(parameters.scratch) / "parameters"
    # Not as JSON: what reads that, checked, takes longer to load than the machine to start.
    file.write_bytes(pickle.dumps(parameters))
    evidence = Path(parameters.evidence)
    argv: list[str | Path] = [sys.executable, "-m", "vmtests", "-s", "-q", "-c", "/dev/null"]
    argv += [f"--rootdir={folder}", "--import-mode=importlib", "-p", "no:cacheprovider"]
    argv += ["-p", "no:randomly", "-p", "no:xdist", f"--junitxml={evidence / 'junit.xml'}"]
    argv += ["-o", f"junit_suite_name={parameters.suite}", "-o", "junit_family=xunit2"]
    argv += [f"--confcutdir={folder}", *(["-k", test] if test else [])]
    if folder != suites_path():
        argv += ["-p", "vmtests.conftest"]  # which pytest finds beside the installed ones itself
    argv += [folder / parameters.suite]
    environment = {
        **os.environ,
        PARAMETERS: str(file),
        "PYTHONPATH": str(suites_path().parent),
        # Compiled once, whoever installed us, and not beside suites that may be somebody else's.
        # Python keeps what it could not write in full, and never comes over it.
        "PYTHONDONTWRITEBYTECODE": "1" if shutil.disk_usage(bytecode.parent).free < _ROOM else "",
        "PYTHONPYCACHEPREFIX": str(bytecode),
        # A caller's own options for pytest are not meant for this one.
        "PYTEST_ADDOPTS": "",
        "PYTHONHASHSEED": str(parameters.seed),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    with (evidence / "pytest.txt").open("w") as output:

        def on_line(line: str) -> None:
            if line.startswith(LOG_MARK):
                with suppress(ValueError):  # somebody else's, who only begins as we do
                    log.relay(line.removeprefix(LOG_MARK))
                    return
            output.write(line + "\n")

        try:
            done = process.run(
                confined(argv, serves=True),
                log=log,
                deadline_s=deadline_s,
                env=environment,
                cwd=evidence,
                ok=(),
                on_line=on_line,
            )
        except process.CommandError as error:
            return error.finished.code
    return done.code


def _result(request: TestRequest, code: int, deadline_s: float) -> SuiteResult:
    """Turn what the process left into a result; raises RuntimeError where that is our bug."""
    path = request.into / "report.json"
    blank = _nothing_yet(request)
    if code < 0 or _was_killed(request.into, code):
        why = f"the suite did not end within {deadline_s:.0f} s, or was killed"
        return replace(blank, cause="trouble", message=f"{why} ({process.describe_code(code)})")
    if code == TOO_MANY:
        message = f"the suite had more than {MOST_PROCESSES} processes and was stopped"
        return replace(blank, cause="trouble", message=message)
    suite, _, test = request.suite.partition("/")
    if code == _NOTHING_COLLECTED and test:
        raise BadInput(f"suite {suite} has no test {test}")
    if code not in _TESTS_DECIDED or not path.is_file():
        raise RuntimeError(_describe_bug(request, code))
    report = from_json(SuiteReport, path.read_bytes(), where=str(path))
    verdict = suite_verdict([one.verdict for one in report.tests])
    if (code == 0) != (verdict in (Verdict.PASSED, Verdict.SKIPPED)):
        raise RuntimeError(f"pytest ended with {code}, but its report says {verdict}: {path}")
    return replace(
        blank,
        verdict=verdict,
        tests=report.tests,
        cause=report.cause,
        message=report.message,
        numbers=report.numbers,
    )


def _nothing_yet(request: TestRequest) -> SuiteResult:
    return SuiteResult(
        # In full: one test of a suite must never pass for the suite at a gate.
        suite=request.suite,
        tree=request.tree.name,
        commit=request.tree.commit,
        verdict=Verdict.TROUBLE,
        evidence=_evidence(request.into),
    )


def _was_killed(into: Path, code: int) -> bool:
    """Tell whether pytest was killed.

    An unshare(1) that cannot die as its child did ends with 1, as a red suite would: util-linux
    2.38 says this then.
    """
    output = into / "pytest.txt"
    said = output.read_text(errors="replace") if output.is_file() else ""
    return code == _KILLED_CHILD or (code == 1 and "unshare: sigprocmask unblock failed" in said)


def _evidence(into: Path) -> str:
    """Name the evidence as it lies in a run's directory: ``test/TREE/SUITE``."""
    for parent in into.parents:
        if parent.name == "test":
            return str(into.relative_to(parent.parent))
    return str(into)


def _describe_bug(request: TestRequest, code: int) -> str:
    output = request.into / "pytest.txt"
    last = output.read_text(errors="replace").splitlines()[-12:] if output.is_file() else []
    what = "no test was collected" if code == _NOTHING_COLLECTED else f"pytest ended with {code}"
    return "\n".join([f"{what} in suite {request.suite}; see {output}", *last])
