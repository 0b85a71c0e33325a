# SPDX-License-Identifier: LGPL-2.1-or-later
"""The builders: one a stage, whatever the manifest holds.

A builder and a worker do one build at a time, so the number of workers is what goes on at once.
Runs have workers of their own: they wait for others much, and must not keep these from working.
"""

from collections.abc import Sequence
from typing import Any

from buildbot.plugins import util, worker

from pipeline.master.asking import make_asking
from pipeline.master.book import Book
from pipeline.master.fair import RankedTriggerable
from pipeline.master.policies import first_slot_for_oldest, last_slot_first, parent_alive
from pipeline.master.run_steps import RUN, Begin
from pipeline.master.scheduler import PUSHES, PushScheduler
from pipeline.master.steps import Ostci
from pipeline.ports.master_settings import MasterSettings

TRIGGERED = ("component", "disk", "suite", "promote")
HOST = "host"
"""The master's own worker: promotion and signing are commands of the master's user alone."""


def make_workers(settings: MasterSettings) -> list[Any]:
    """Make the slots, which one worker process holds, and the master's own."""
    names = (*settings.run_slots, *settings.work_slots)
    slots = [worker.Worker(name, settings.worker_password, max_builds=1) for name in names]
    return [*slots, worker.LocalWorker(HOST, max_builds=1)]


def make_schedulers(book: Book) -> list[Any]:
    """Make what starts runs, what people ask for, and what the steps of runs trigger."""
    triggered = [RankedTriggerable(name=name, builderNames=[name]) for name in TRIGGERED]
    return [PushScheduler(name=PUSHES, builderNames=["run"]), *make_asking(book), *triggered]


def make_builders(book: Book) -> list[Any]:
    """Make the builders."""
    settings = book.settings
    first = settings.run_slots[0]
    wait = ("--wait", str(settings.longest // 2))
    run = _builder(
        "run",
        settings.run_slots,
        [Begin(book=book)],
        "the whole way of one push",
        canStartBuild=first_slot_for_oldest(book, first),
        nextWorker=last_slot_first(first),
    )
    commands: Sequence[tuple[str, str, Sequence[str], Sequence[object]]] = (
        (
            "component",
            "one component in its sandbox",
            settings.work_slots,
            ("build", util.Property("component"), "--run", RUN),
        ),
        (
            "disk",
            "a bootable disk of one tree",
            settings.work_slots,
            ("disk", util.Property("tree"), "--run", RUN),
        ),
        (
            "suite",
            "one suite on one tree",
            settings.work_slots,
            ("test", util.Property("tree"), "--suite", util.Property("suite"), "--run", RUN),
        ),
        ("promote", "the gate, and buildmaster", (HOST,), ("promote", "--run", RUN)),
    )
    children = [
        _builder(
            name,
            workers,
            [Ostci([*command, *wait, "--json"], settings=settings, again=True)],
            words,
            canStartBuild=parent_alive,
        )
        for name, words, workers, command in commands
    ]
    return [run, *children]


def _builder(
    name: str, workers: Sequence[str], steps: Sequence[Any], words: str, **given: Any
) -> Any:
    return util.BuilderConfig(
        name=name,
        workernames=list(workers),
        factory=util.BuildFactory(list(steps)),
        description=words,
        tags=[name],
        collapseRequests=False,
        **given,
    )
