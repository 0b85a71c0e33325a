# SPDX-License-Identifier: LGPL-2.1-or-later
"""``ostci worker``: be a worker of a master on another machine.

Before it takes work it tries itself (``ostci doctor``) and says to the master what it found. One
that is not fit connects all the same: its page tells why it gets nothing to do. It looks at itself
again and again, and connects anew when it has become fit.
"""

import argparse
import sys
import time
from pathlib import Path

from pipeline import __version__
from pipeline.cli.up import Kept, gently_stopped
from pipeline.ports.files import lock
from pipeline.ports.log import Log
from pipeline.ports.master_home import environment, twistd
from pipeline.ports.worker_home import (
    WorkerHome,
    capabilities,
    prepare_worker,
    why_mistrusted,
    worker_environment,
)
from pipeline.words.errors import EXIT_PASSED
from pipeline.words.fitness import GIB, Capabilities, in_words, why_aside

_LOOK_S = 1.0


def do_worker(options: argparse.Namespace) -> int:
    """Prepare the home, try this machine, and stay connected until somebody stops it."""
    from pipeline.cli.terminal import stdout_sink

    twistd("worker")
    log = Log(stdout_sink(verbose=options.verbose))
    root: Path = options.dir.resolve()
    ca = None if options.ca is None else options.ca.resolve()
    root.mkdir(parents=True, exist_ok=True)
    with lock(root / "worker.lock", what="ostci worker", wait_s=0), gently_stopped():
        home = prepare_worker(
            root,
            name=options.name,
            server=options.server,
            password_file=options.password_file.resolve(),
            ca=ca,
            slots=options.slots,
            room=_room(options),
        )
        _stay(home, options, log)
    return EXIT_PASSED


def _stay(home: WorkerHome, options: argparse.Namespace, log: Log) -> None:
    env = worker_environment(environment(), Path(sys.executable))
    child = Kept("worker", home, log, env=env)
    told = _examine(home, options, log)
    home.tell(told)
    why = why_aside(told, __version__)
    print(f"worker {options.name}: {in_words(told)}")
    print(f"not fit: {why}" if why else "fit", flush=True)
    _warn_of_master(home, options, log)
    due = time.monotonic() + options.again
    try:
        while True:
            child.look()
            child.start_when_due()
            child.wait(_LOOK_S)
            if time.monotonic() < due:
                continue
            due = time.monotonic() + options.again
            _warn_of_master(home, options, log)
            # What was found wrong is tried again; what was well costs only a look at the disk.
            now = _examine(home, options, log) if told.wrong else _look(home, options, told)
            home.tell(now)
            before, why = why_aside(told, __version__), why_aside(now, __version__)
            told = now
            if before and not why:
                log.fact("fit again: the master is told")
                child.stop()
                child = Kept("worker", home, log, env=env)
            elif why and not before:
                log.warning(f"not fit any more: {why}")
    finally:
        child.stop()


def _warn_of_master(home: WorkerHome, options: argparse.Namespace, log: Log) -> None:
    why = why_mistrusted(home, options.server)
    if why:
        log.warning(f"{why}; --ca names who has to have signed its certificate")


def _look(home: WorkerHome, options: argparse.Namespace, told: Capabilities) -> Capabilities:
    return capabilities(home.root, room=_room(options), kvm=told.kvm, wrong=told.wrong)


def _examine(home: WorkerHome, options: argparse.Namespace, log: Log) -> Capabilities:
    """Try every prerequisite; room on the disk is judged by what was asked for."""
    from pipeline.cli.doctor import examine
    from pipeline.ports.accelerator import Kind, choose

    with log.step("self-test"):
        found = examine(log, boot=not options.no_boot)
        wrong = tuple(
            f"{one.name}: {one.words}"
            for one in found
            if not one.ok and one.needed and one.name != "disk space"
        )
        kvm = not options.no_boot and choose(log=log).kind is Kind.KVM
    return capabilities(home.root, room=_room(options), kvm=kvm, wrong=wrong)


def _room(options: argparse.Namespace) -> int:
    return int(options.room * GIB)
