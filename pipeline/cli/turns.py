# SPDX-License-Identifier: LGPL-2.1-or-later
"""Whose turn it is to compose: the runs of a line in their order, whichever is ready first.

A run waits for those before it. Passed over is what nobody works on any more: a run that was
killed, or of which some stages were given by hand. The run of a push that has no ending yet is
waited for all the same: it is started again.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.record import mended, read_record
from pipeline.cli.repair import end_run
from pipeline.ports.files import Held, lock
from pipeline.words.errors import Interrupted, Trouble
from pipeline.words.refs import ref_part
from pipeline.words.run import RunEnding, ending_of, gives_up_its_place, place_of

_POLL_S = 0.2
_TURN_S = 24 * 3600.0


@contextmanager
def turn(passage: Passage, *, wait_s: float | None) -> Iterator[None]:
    """Be the one that composes, after every earlier run has composed or given up its place.

    Raises Interrupted where a later one has composed already: what was pushed is in its tree.
    Raises Trouble after ``wait_s`` seconds; None stands for a day.
    """
    house, version, line = passage.house, passage.run.version, passage.record.osname
    began = time.monotonic()
    until = began + (_TURN_S if wait_s is None else wait_s)
    with ExitStack() as stack:
        _renew(house, version, line)
        told = None
        while True:
            first = house.ledger.tickets.first_in_line(line)
            if first is None or place_of(version) <= place_of(first):
                place = house.workdir.lock(f"compose-{ref_part(line)}")
                left_s = max(0.0, until - time.monotonic())
                stack.enter_context(lock(place, what=f"run {version}", wait_s=left_s))
                break
            if _pass_over(house, first, line):
                continue
            if time.monotonic() >= until:
                raise Trouble(
                    f"run {version} has waited for {until - began:.0f} s to compose: "
                    f"run {first} is before it",
                    hint=f"{house.command('log', first)} tells how far it is; "
                    f"{house.command('cancel', first)} ends it",
                )
            if first != told:
                house.log.fact(f"waits for its turn to compose: run {first} is before it")
                told = first
            time.sleep(_POLL_S)
        _renew(house, version, line)
        passage.waited_s += time.monotonic() - began
        try:
            yield
        except BaseException as error:
            # One that is started again, as after the loss of its worker, stays before later ones.
            of_push = house.ledger.pushes.is_run_awaited(version)
            if gives_up_its_place(ending_of(error), of_push=of_push):
                house.ledger.tickets.give_up(version, line)
            raise
        house.ledger.tickets.give_up(version, line)


def _renew(house: House, version: str, line: str) -> None:
    newer = house.ledger.tickets.renew(version, line)
    if newer is not None:
        raise Interrupted(
            f"run {newer}, which is later, has composed already: composes keep the order of pushes",
            hint=f"begin a new run: {house.command('run')}",
        )


def _pass_over(house: House, version: str, line: str) -> bool:
    """Give up the place of a run that nobody works on; tells whether that was so."""
    if not house.workdir.is_run(version):
        house.ledger.tickets.give_up(version, line)
        return True
    run = house.workdir.run(version)
    try:
        with lock(run.lock, what="a look at whether it goes on"):
            record = read_record(run) if run.file("run").is_file() else None
            if house.ledger.pushes.is_run_awaited(version):
                return False
            if record is not None and record.ending is RunEnding.RUNNING:
                end_run(house, run, mended(record))
            house.ledger.tickets.give_up(version, line)
    except Held:
        return False
    ending = record.ending if record else "without a record"
    house.log.warning(f"run {version} ({ending}), which nobody works on, is passed over")
    return True
