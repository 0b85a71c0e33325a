# SPDX-License-Identifier: LGPL-2.1-or-later
"""Machines that go on from a checkpoint of the boot, each on a layer of its own.

The first suite of a commit that wants one boots cold, leaves the checkpoint on the shelf, and goes
on from it as all later ones do. Where none can be made or none comes up, machines boot cold: that
takes longer and proves the same.
"""

import hashlib
import itertools
import os
import pickle
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.ports import domain_root
from pipeline.ports.checkpoint import (
    CHECKPOINT_VERSION,
    Checkpoint,
    Making,
    Shelf,
    available_memory,
)
from pipeline.ports.domain import Hypervisor
from pipeline.ports.files import write_text
from pipeline.ports.log import Log
from pipeline.ports.migration import Damaged
from pipeline.words.errors import Failed, Trouble
from pipeline.words.kept import KeptMachine
from pipeline.words.records import to_json
from pipeline.words.suite import SuiteParameters
from vmtests.evidence import Evidence
from vmtests.machine import Machine
from vmtests.origin import Origin, read_origin

MOST_FAILURES = 8
"""Kept machines in all; each takes as much room as its guest uses memory."""
MOST_KEPT = 3
"""Failures of one suite of which the machine is kept: the others mostly have the same cause."""


def key_of(parameters: SuiteParameters) -> str:
    """Name the checkpoint of a disk: by all that makes another machine, or another boot, of it."""
    disk = Path(parameters.disk.path)
    found = disk.stat()
    program = domain_root.emulator(parameters.tree.arch).stat()
    facts = [
        str(CHECKPOINT_VERSION),
        parameters.tree.commit,
        f"{disk.name} {found.st_ino} {found.st_size} {found.st_mtime_ns}",
        f"{parameters.target.memory} {parameters.target.processors} {parameters.tree.arch}",
        f"{parameters.target.smoke!r} {parameters.target.default_unit}",
        f"{parameters.accelerator} {program.st_size} {program.st_mtime_ns}",
        domain_root.cpu_facts(),
    ]
    digest = hashlib.sha256("\n".join(facts).encode()).hexdigest()
    return f"{parameters.tree.commit[:12]}-{digest[:16]}"


def can_fork(parameters: SuiteParameters) -> bool:
    """Tell whether machines here can go on from a checkpoint.

    What another user's libvirt runs cannot open our files by their paths.
    """
    is_ours = not parameters.machines.startswith("qemu:///system")
    return bool(parameters.checkpoints) and is_ours


def at_once(parameters: SuiteParameters) -> int:
    """Tell how many machines may run side by side: a processor each, and no more than fit in."""
    fitting = available_memory() * 3 // 4 // parameters.target.memory
    return max(1, min(len(os.sched_getaffinity(0)), fitting))


class Forks:
    """All machines of a process that go on from its checkpoint."""

    def __init__(self, parameters: SuiteParameters, virt: Hypervisor, *, log: Log) -> None:
        self._parameters = parameters
        self._virt = virt
        self._log = log
        self._shelf = Shelf(Path(parameters.checkpoints), log=log)
        self._key = key_of(parameters)
        self._stack = ExitStack()
        self._origin: Origin | None = None
        self._making: Making | None = None
        self._checked: Future[None] | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._kept = 0

    @property
    def is_ready(self) -> bool:
        """Tell whether there is a checkpoint to go on from."""
        return self._origin is not None

    @property
    def is_made(self) -> bool:
        """Tell whether there is one on the shelf, without a look into it."""
        return (self._shelf.directory / self._key / "record.json").is_file()

    def find(self) -> bool:
        """Take the checkpoint off the shelf; tells whether there is one."""
        if self._origin is None:
            stack = ExitStack()
            try:
                found = stack.enter_context(self._shelf.use(self._key))
                if found is not None:
                    self._origin = read_origin(found)
                    self._check(found)
                    self._stack.enter_context(stack.pop_all())
            except Damaged as error:
                self._give_up(error)
            finally:
                stack.close()
        return self.is_ready

    def _check(self, found: Checkpoint) -> None:
        """Read its memory while the first machine starts, which takes as long."""
        pool = ThreadPoolExecutor(max_workers=1)
        self._checked = pool.submit(found.check_memory)
        pool.shutdown(wait=False)

    def ram(self) -> Path | None:
        """Make the file for the memory of a machine of which there is to be a checkpoint."""
        if self._making is None:
            size, user = self._parameters.target.memory, domain_root.qemu_user()
            making = self._shelf.making_with(size, user=user)
            self._making = self._stack.enter_context(making)
        return self._making.ram

    def make(self, machine: Machine) -> bool:
        """Make the checkpoint of a machine that has booted, which ends it; tells whether.

        What goes wrong is told, and is nobody's failure.
        """
        making, self._making = self._making, None
        if making is None or not machine.can_be_saved or not machine.watch.is_complete:
            return False
        try:
            machine.write_seen(making.parts.seen)
            layer = machine.save(making.parts.state)
            shutil.move(layer, making.parts.disk)
            making.keep(self._key)
        except (Trouble, OSError) as error:
            self._log.warning(f"no checkpoint: {error}", about=machine.name)
            return False
        return True

    @contextmanager
    def machine(self, into: Path, *, log: Log, alias: str = "") -> Iterator[Machine]:
        """Have a machine for the length of the ``with``, its evidence in a directory of its own.

        Raises Damaged where the checkpoint turns out to be of no use; it is gone then.
        """
        origin = self._origin
        if origin is None:
            raise Damaged("there is no checkpoint")
        name = f"fork{next(self._numbers)}"
        evidence = Evidence(into, log=log)
        machine = Machine(self._parameters, self._virt, evidence, log=log, name=name, origin=origin)
        machine.alias = alias
        try:
            try:
                machine.start()
                if self._checked is not None:
                    self._checked.result()
            except Damaged as error:
                self._give_up(error)
                raise
            yield machine
        finally:
            evidence.final_screenshot(machine.domain)
            machine.close()
            evidence.close()
            machine.forget()

    def keep(self, machine: Machine, test: str, *, at_end: bool = False) -> None:
        """Keep a machine as it is, which ends it, for people to enter; tells where it cannot be."""
        parameters = self._parameters
        with self._lock:
            self._kept += 1
            if not parameters.failures_s or self._kept > MOST_KEPT:
                return
        shelf = Shelf(
            Path(parameters.failures),
            log=self._log,
            most=MOST_FAILURES,
            oldest_s=parameters.failures_s,
        )
        kept = KeptMachine(
            run=parameters.run,
            tree=parameters.tree.name,
            suite=parameters.suite,
            test=test,
            commit=parameters.tree.commit,
            since=time.time(),
            is_of_its_end=at_end,
            has_shell=machine.has_shell,
        )
        try:
            with shelf.making() as making:
                write_text(making.directory / "machine.json", to_json(kept), flush=False)
                (making.directory / "parameters").write_bytes(pickle.dumps(parameters))
                machine.write_seen(making.parts.seen, needs_shell=False)
                machine.keep(making.parts)
                making.keep(kept.key, anew=True)
        except (Trouble, Failed, OSError) as error:
            self._log.warning(f"{test} cannot be entered later: {error}", about=machine.name)

    def origin(self) -> Origin | None:
        """Tell what machines go on from, its memory read; None where there is nothing of use."""
        try:
            if self._checked is not None:
                self._checked.result()
        except Damaged as error:
            self._give_up(error)
        return self._origin

    def _give_up(self, error: Damaged) -> None:
        with self._lock:
            if self._origin is not None:
                self._log.warning(f"the checkpoint is not used: {error}")
            self._origin = None
        self._stack.close()
        self._shelf.remove(self._key)

    def close(self) -> None:
        """Let go of the checkpoint."""
        self._stack.close()
