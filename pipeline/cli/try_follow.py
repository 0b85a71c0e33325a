# SPDX-License-Identifier: LGPL-2.1-or-later
"""Going along with a try that a master does: how it goes, how it went; Ctrl-C cancels it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.cli.follow import Done, Followed
from pipeline.cli.holds import cancel
from pipeline.cli.house import House
from pipeline.cli.record import read_record
from pipeline.cli.terminal import TerminalSink
from pipeline.cli.try_told import tell
from pipeline.cli.try_waits import master_url, standing
from pipeline.ports.log import Level, Line, Log
from pipeline.words.errors import BadInput, Ending, Failed, Interrupted, Trouble
from pipeline.words.push import NewPush, Push, PushState
from pipeline.words.run import RunEnding

_LOOK_S = 0.3
_ASK_S = 3.0
"""How often it is looked whether a master is up."""
_LONGEST = 120


def follow(house: House, sink: TerminalSink, made: NewPush, *, by: str, as_json: bool) -> None:
    """Record a try, show how it goes until it has ended, and what became of it; raises as it ended.

    Whoever stops this cancels the try, whether it has begun or waits.
    """
    push: Push | None = None
    try:
        push = house.ledger.pushes.add(made)
        house.workdir.pushed.touch()
        push = _wait(house, sink, push.id)
    except (KeyboardInterrupt, Interrupted):
        if push is not None:
            _cancel(house, push.id, by)
        raise
    if push.run is None:
        raise_as(RunEnding.TROUBLE, push.message or f"push {push.id} is {push.state}")
        return
    run = house.workdir.run(push.run)
    tell(house, run, as_json=as_json)
    record = read_record(run)
    raise_as(record.ending, record.message, record.hint)


def _wait(house: House, sink: TerminalSink, id: int) -> Push:
    pushes = house.ledger.pushes
    while (push := pushes.get(id)).is_open and push.run is None:
        _wait_while_it_stands(house, sink, push)
    if push.run is None:
        return push
    house.log.fact(f"push {id} is run {push.run}")
    run = house.workdir.run(push.run)
    followed = Followed(run, sink.running)
    while (push := pushes.get(id)).is_open:
        tell_done(house.log, followed.look())
        wait_a_little(_LOOK_S)
    tell_done(house.log, [*followed.look(), *followed.look()])
    return push


def _wait_while_it_stands(house: House, sink: TerminalSink, push: Push) -> None:
    """Wait for its run, or until something else is to be said of what it waits for."""
    told = standing(push, master_url(house))
    with waiting(sink, f"push {push.id} {told}"):
        asked = time.monotonic()
        while push.is_open and push.run is None:
            wait_a_little(_LOOK_S)
            push = house.ledger.pushes.get(push.id)
            if time.monotonic() - asked >= _ASK_S:
                asked = time.monotonic()
                if standing(push, master_url(house)) != told:
                    return


def wait_a_little(seconds: float) -> None:
    """Wait before the next look at what others do."""
    threading.Event().wait(seconds)


def tell_done(log: Log, over: list[Done]) -> None:
    """Tell which stages are over and what they came to."""
    for one in over:
        words = f": {one.words[:_LONGEST]}" if one.words else ""
        log.fact(f"{one.name} {one.ending} {one.seconds:.1f} s{words}")


@contextmanager
def waiting(sink: TerminalSink, text: str) -> Iterator[None]:
    """Show what is waited for, and for how long."""
    began = time.monotonic()
    sink.running.note(Line(level=Level.FACT, text=text, began=True))
    try:
        yield
    finally:
        over = Line(level=Level.FACT, text=text, ended_s=time.monotonic() - began)
        sink.running.note(over)


def _cancel(house: House, id: int, by: str) -> None:
    push = house.ledger.pushes.get(id)
    if not push.is_open:
        return
    if push.run is not None:
        try:
            cancel(house, house.workdir.run(push.run), by=by)
        except BadInput as error:
            house.log.warning(str(error))  # it has come to its end meanwhile
    else:
        house.ledger.pushes.end(id, PushState.DONE, f"cancelled by {by}")
    house.log.fact(f"the try is cancelled: push {id}")


def raise_as(ending: RunEnding, message: str, hint: str = "") -> None:
    """Raise what a run ended with; nothing for one that passed."""
    if ending in (RunEnding.PASSED, RunEnding.UNCHANGED):
        return
    kinds: dict[RunEnding, type[Ending]] = {
        RunEnding.FAILED: Failed,
        RunEnding.BAD_INPUT: BadInput,
        RunEnding.INTERRUPTED: Interrupted,
    }
    raise kinds.get(ending, Trouble)(message or f"the try is {ending}", hint=hint)
