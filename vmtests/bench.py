# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one process has for its suite: a machine, the evidence, what its tests said.

Knows nothing of pytest, which is loaded while the guest boots.
"""

import functools
import gc
import itertools
import os
import pickle
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.ports.domain import Hypervisor, hypervisor
from pipeline.ports.log import FileSink, Line, Log, written
from pipeline.ports.loopback import raise_loopback
from pipeline.ports.migration import Damaged
from pipeline.words.boot import State
from pipeline.words.kept import slug
from pipeline.words.records import to_json
from pipeline.words.suite import LOG_MARK, PARAMETERS, SuiteParameters, SuiteReport
from pipeline.words.verdict import TestResult, Verdict
from vmtests.evidence import Evidence
from vmtests.machine import Machine

if TYPE_CHECKING:
    from vmtests.forks import Forks
    from vmtests.several import Several

BEGAN = time.monotonic()


@functools.cache
def bench() -> "Bench":
    """Read the parameters that the environment names; there is one bench a process."""
    parameters = pickle.loads(Path(os.environ[PARAMETERS]).read_bytes())
    assert isinstance(parameters, SuiteParameters)
    return Bench(parameters)


class _Pipe:
    """Hand the log's lines to who started us, apart from what pytest says itself."""

    def write(self, line: Line) -> None:
        stream = sys.__stderr__
        if stream is not None:
            stream.write(f"{LOG_MARK}{written(line)}\n")
            stream.flush()


class Bench:
    """All that one process has for its suite; the machine boots when a test first asks."""

    def __init__(self, parameters: SuiteParameters) -> None:
        self.parameters = parameters
        self.results: list[TestResult] = []
        self.figures: dict[str, float] = {}
        """What tests have measured, beside the times of the boot."""
        self.stack = ExitStack()
        self.file = FileSink(Path(parameters.evidence) / "log.txt")
        self.log = Log(_Pipe(), self.file)
        self.evidence = Evidence(Path(parameters.evidence), log=self.log)
        self.machine: Machine | None = None
        """The machine that boots, once one was wanted."""
        self.current: Machine | None = None
        """The machine of the test that runs, where it is another one."""
        self.forks: Forks | None = None
        self._virt: Hypervisor | None = None
        self._numbers = itertools.count(1)
        self._has_tried = False
        self._booting = threading.RLock()
        self.several: Several | None = None
        self._wrong: Exception | None = None
        self._is_decided = False

    def start(self) -> None:
        """Start the machine; what goes wrong is told to the test that asks for it."""
        parameters = self.parameters
        root = Path(parameters.sockets) / "v"
        try:
            raise_loopback()
            virt = self.stack.enter_context(hypervisor(parameters.machines, root, log=self.log))
            self._virt = virt
            if parameters.is_cold and not parameters.leaves_checkpoint:
                self._start()
            elif parameters.is_cold or not self._finds_checkpoint():
                self._start(leaves=True)
        except Exception as error:
            self._wrong = error

    def _finds_checkpoint(self) -> bool:
        forks = self._forks_here()
        return forks is not None and forks.find()

    def _forks_here(self) -> "Forks | None":
        """Load what makes forks where there can be any: not before a boot that wants none."""
        from vmtests.forks import Forks, can_fork

        if self.forks is None and self._virt is not None and can_fork(self.parameters):
            self.forks = Forks(self.parameters, self._virt, log=self.log)
            self.stack.callback(self.forks.close)
        return self.forks

    def _start(self, *, leaves: bool = False) -> None:
        """Start the machine that boots; ``leaves``: so that a checkpoint can be made of it."""
        assert self._virt is not None
        forks = self._forks_here() if leaves else None
        ram = forks.ram() if forks is not None and not forks.is_made else None
        number = next(self._numbers)
        name = "machine" if number == 1 else f"machine{number}"
        machine = Machine(
            self._first(), self._virt, self.evidence, log=self.log, name=name, ram=ram
        )
        machine.start()
        self.stack.callback(machine.close)
        self.machine = machine
        self._is_decided = False

    def _first(self) -> SuiteParameters:
        """Tell what the machine starts as: the commit under test, or what was promoted before."""
        baseline = self.parameters.baseline
        if baseline is None:
            return self.parameters
        return replace(self.parameters, tree=baseline.tree, disk=baseline.disk)

    def prepare(self) -> None:
        """Do while the guest boots what the end of the suite would have to wait for else."""
        to_json(SuiteReport())
        # pytest collects garbage several times at its end; what is loaded by now is none.
        gc.freeze()

    def booted(self) -> Machine:
        """Follow the machine until it is decided whether its boot went well.

        Raises what went wrong when it was started.
        """
        if self._wrong is not None:
            raise self._wrong
        if self.machine is None or self.machine.is_spent:
            self._start()
        assert self.machine is not None
        if not self._is_decided:
            self._is_decided = True
            self.prepare()
            self.machine.wait_for_boot()
        return self.machine

    @contextmanager
    def machines(self, test: str) -> Iterator["Several"]:
        """Have more machines for one test; all of them are dead after it."""
        from vmtests.several import Several

        if self._wrong is not None:
            raise self._wrong
        origin = self.forks.origin() if self.can_fork() and self.forks is not None else None
        assert self._virt is not None, "the hypervisor was not opened"
        into = self.evidence_of(test)
        self.several = Several(self.parameters, self._virt, into, origin=origin, log=self.log)
        try:
            yield self.several
        finally:
            self.several.close()
            self.several = None

    def can_fork(self) -> bool:
        """Tell whether tests can have machines of their own, which go on from a checkpoint.

        The first time that there is none, the machine boots and becomes it.
        """
        if self._wrong is not None:
            raise self._wrong
        forks = self._forks_here()
        if forks is None:
            return False
        if not forks.is_ready and not self._has_tried and not forks.find():
            self._has_tried = True
            if self.machine is None or self.machine.is_spent:
                self._start(leaves=True)
            machine = self.booted()
            self.evidence.final_screenshot(machine.domain)
            return forks.make(machine) and forks.find()
        return forks.is_ready

    def evidence_of(self, test: str) -> Path:
        """Name the directory for the evidence of a test that has a machine of its own."""
        return self.evidence.directory / "tests" / slug(test)

    @contextmanager
    def fork(self, test: str, *, log: Log | None = None, alias: str = "") -> Iterator[Machine]:
        """Have a machine for a test for the length of the ``with``; one that boots where it must.

        ``can_fork`` has been asked before. One that ``has_failed`` its test is kept as it is then.
        """
        assert self.forks is not None
        into = self.evidence_of(test)
        with ExitStack() as stack:
            try:
                made = self.forks.machine(into, log=log or self.log, alias=alias)
                machine = stack.enter_context(made)
            except Damaged:
                machine = stack.enter_context(self._instead())
            yield machine
            if machine.has_failed and not machine.is_spent:
                self.forks.keep(machine, test)

    def another(self, name: str) -> Machine:
        """Make a machine that is to boot, beside all others; its caller starts and closes it."""
        assert self._virt is not None
        return Machine(self.parameters, self._virt, self.evidence, log=self.log, name=name)

    @contextmanager
    def _instead(self) -> Iterator[Machine]:
        """Have the machine that boots, alone, in the place of a fork."""
        with self._booting:
            machine = self.booted()
            if not machine.is_alive():
                machine.is_spent = True
                machine = self.booted()
            yield machine

    def end(self) -> None:
        """End the machine and write down what was found."""
        if self.machine is not None and not self.machine.is_spent:
            self.evidence.final_screenshot(self.machine.domain)
            is_well = self.machine.watch.outcome.state is State.PASSED
            if self.parameters.leaves_checkpoint and is_well and self.forks is not None:
                self.forks.make(self.machine)
            failed = next((one for one in self.results if one.verdict is Verdict.FAILED), None)
            forks = self._forks_here() if failed is not None and self.machine.is_there() else None
            if failed is not None and forks is not None:
                forks.keep(self.machine, failed.name, at_end=True)
            self.machine.close()
        self.evidence.write("timings.json", self.numbers())
        self.evidence.write("report.json", self.report())
        self.stack.close()
        self.evidence.close()
        self.file.close()

    def numbers(self) -> dict[str, float]:
        """Tell the measurements: seconds since the guest's first instruction."""
        found = {"suite_s": time.monotonic() - BEGAN, "speed": self.parameters.speed}
        found |= self.figures
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
