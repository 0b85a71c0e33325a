# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one process has for its suite: a machine, the evidence, what its tests said.

Knows nothing of pytest, which is loaded while the guest boots.
"""

import functools
import gc
import os
import pickle
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from pipeline.ports.domain import hypervisor
from pipeline.ports.log import FileSink, Line, Log, plain_text
from pipeline.ports.loopback import raise_loopback
from pipeline.words.records import to_json
from pipeline.words.suite import LOG_MARK, PARAMETERS, SuiteParameters, SuiteReport
from pipeline.words.verdict import TestResult, Verdict
from vmtests.evidence import Evidence
from vmtests.machine import Machine

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
            # Each line of a text with its mark: what a guest said is no line of its own.
            for text in plain_text(line).split("\n"):
                stream.write(f"{LOG_MARK}{int(line.level)}{text}\n")
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
        self._wrong: Exception | None = None
        self._is_decided = False

    def start(self) -> None:
        """Start the machine; what goes wrong is told to the test that asks for it."""
        root = Path(self.parameters.sockets) / "v"
        uri = self.parameters.machines
        try:
            raise_loopback()
            virt = self.stack.enter_context(hypervisor(uri, root, log=self.log))
            machine = Machine(self._first(), virt, self.evidence, log=self.log)
            machine.start()
        except Exception as error:
            self._wrong = error
            return
        self.stack.callback(machine.close)
        self.machine = machine

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
        assert self.machine is not None, "the machine was not started"
        if not self._is_decided:
            self._is_decided = True
            self.prepare()
            self.machine.wait_for_boot()
        return self.machine

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
