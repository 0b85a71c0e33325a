# SPDX-License-Identifier: LGPL-2.1-or-later
"""The builders: one a stage, whatever the manifest holds.

A builder and a worker do one build at a time, so the number of workers is what goes on at once.
Runs have workers of their own: they wait for others much, and must not keep these from working.
"""

from collections.abc import Collection, Sequence
from typing import Any

from buildbot.plugins import util, worker

from pipeline.master.asking import make_asking
from pipeline.master.away import SAMPLE, Compare, Job
from pipeline.master.book import Book
from pipeline.master.fair import RankedTriggerable
from pipeline.master.policies import (
    first_slot_for_oldest,
    last_slot_first,
    may_do,
    parent_alive,
    remote_first,
)
from pipeline.master.remote import RemoteSlot
from pipeline.master.run_steps import RUN, Begin
from pipeline.master.scheduler import PUSHES, PushScheduler
from pipeline.master.steps import Ostci
from pipeline.master.titled import Titled
from pipeline.ports.master_settings import MasterSettings

TRIGGERED = ("component", "disk", "suite", "promote")
HOST = "host"
"""The master's own worker: promotion and signing are commands of the master's user alone."""


def make_workers(book: Book, *, latent: Collection[str] = ()) -> list[Any]:
    """Make the slots, which one worker process holds, and the master's own."""
    settings = book.settings
    names = (*settings.run_slots, *settings.work_slots)
    slots = [worker.Worker(name, settings.worker_password, max_builds=1) for name in names]
    remote = [
        RemoteSlot(name, one.password, max_builds=1, of=one, book=book)
        for one in settings.remote.workers
        for name in one.slot_names
        if one.name not in latent
    ]
    return [*slots, *remote, worker.LocalWorker(HOST, max_builds=1)]


def make_schedulers(book: Book) -> list[Any]:
    """Make what starts runs, what people ask for, and what the steps of runs trigger."""
    names = (*TRIGGERED, *((SAMPLE,) if book.settings.remote.others else ()))
    triggered = [RankedTriggerable(name=name, builderNames=[name]) for name in names]
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
    # What a worker user is for is not done by the master's.
    own = () if settings.remote.local else settings.work_slots
    elsewhere = (*own, *settings.remote_slots)
    commands: Sequence[tuple[str, str, Sequence[str], Sequence[object]]] = (
        (
            "component",
            "one component in its sandbox",
            elsewhere,
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
            elsewhere,
            ("test", util.Property("tree"), "--suite", util.Property("suite"), "--run", RUN),
        ),
        ("promote", "the gate, and buildmaster", (HOST,), ("promote", "--end", "--run", RUN)),
    )
    children = [
        _builder(
            name,
            workers,
            [_step(settings, command, wait, workers)],
            words,
            canStartBuild=parent_alive if workers != elsewhere else may_do(settings.remote),
            nextWorker=remote_first(settings.remote),
        )
        for name, words, workers, command in commands
    ]
    if settings.remote.others:
        again = [Compare(settings=settings, wait=wait)]
        words = "what a remote worker built, built again here"
        children.append(_builder(SAMPLE, settings.work_slots, again, words))
    return [run, *children]


def _step(
    settings: MasterSettings,
    command: Sequence[object],
    wait: Sequence[object],
    workers: Sequence[str],
) -> Ostci:
    words = [*command, *wait, "--json"]
    if workers == settings.work_slots or HOST in workers:
        return Ostci(words, settings=settings, again=True)
    # What is rendered later compares as equal to anything.
    at = next(at for at, word in enumerate(command) if isinstance(word, str) and word == "--run")
    return Job(words, job=command[:at], wait=wait, settings=settings)


def _builder(
    name: str, workers: Sequence[str], steps: Sequence[Any], words: str, **given: Any
) -> Any:
    factory = util.BuildFactory(list(steps))
    factory.buildClass = Titled
    return util.BuilderConfig(
        name=name,
        workernames=list(workers),
        factory=factory,
        description=words,
        tags=[name],
        collapseRequests=False,
        **given,
    )
