# SPDX-License-Identifier: LGPL-2.1-or-later
"""Holding a run, alone or beside others that do other parts of it; and cancelling one.

Whoever cancels leaves a note in the run's directory, because a process in another process namespace
can be reached by no signal. Whoever holds the run looks for the note; what is cancelled stays so.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pipeline.cli.house import House
from pipeline.cli.passage import Passage
from pipeline.cli.record import CANCEL, Cancel, mended, read_cancel, read_record
from pipeline.cli.repair import end_run
from pipeline.ports import presence
from pipeline.ports.files import Held, lock, write_text
from pipeline.ports.workdir import RunDir
from pipeline.words.errors import BadInput, Interrupted, Trouble
from pipeline.words.push import Push, PushState
from pipeline.words.records import to_json
from pipeline.words.run import RunEnding, RunRecord
from pipeline.words.wish import Trial

_PATIENCE_S = 10.0
"""At least so long is waited for a run: others look at its lock to see whether it was killed."""
_LOOK_S = 0.2
_GENTLY_S = 1.2
"""What a process has to stop by itself before it is killed; all of it is to be over within 2 s."""
_KILLED_S = 30.0
_BEGIN_S = 120.0
_CANCEL_S = 60.0
"""More than another cancel of the same run takes."""
_GOES_ON = (RunEnding.RUNNING, RunEnding.OPEN)
_KEPT = (RunEnding.PASSED, RunEnding.UNCHANGED)
"""Nobody can cancel any more what has come to such an end."""


@contextmanager
def begun(
    house: House, what: str, *, for_push: int | None = None, trial: Trial | None = None
) -> Iterator[RunDir]:
    """Begin a run and hold it alone: its version, record and ticket come in one order for all.

    That ``for_push`` is the push's before anything else. It may have a manifest of its own, so
    that its record is yet to be written, and its ticket to be taken: their order is kept by the
    lock of the line, which whoever resolves a push has. What is ``trial`` is one from the start.
    """
    if for_push is None:
        _ = house.manifest  # a wrong one is told before there is a run
    with ExitStack() as stack:
        with lock(house.workdir.lock("begin"), what="beginning a run", wait_s=_BEGIN_S):
            run = house.workdir.new_run()
            stack.enter_context(held_run(house, run, what, wait_s=0.0))
            if trial is not None:
                write_text(run.file("try"), to_json(trial))
            if for_push is None:
                Passage(house, run)
            else:
                house.ledger.pushes.assign_run(for_push, run.version)
        yield run


@contextmanager
def held_run(
    house: House, run: RunDir, what: str, *, wait_s: float, shared: bool = False
) -> Iterator[None]:
    """Hold a run for the length of the ``with``, alone or sharing it with others.

    Raises Held that names who has it, and Interrupted where it was cancelled; a cancel meanwhile
    stops this process as SIGTERM does.
    """
    with ExitStack() as stack:
        patience_s = max(wait_s, _PATIENCE_S)
        try:
            stack.enter_context(lock(run.lock, what=what, wait_s=patience_s, shared=shared))
        except Held as held:
            raise _named(house, run, held) from held
        stack.enter_context(_named_as_holder(house, run))
        note = read_cancel(run)
        if note is not None:
            raise Interrupted(f"run {run.version} was cancelled by {note.by}")
        stack.enter_context(_heeding(run))
        yield


def _named(house: House, run: RunDir, held: Held) -> Held:
    """Say who holds a run; the lock itself does not know the names of those that share it."""
    names = presence.look(house.workdir.tmp, but=house.tmp, having=_mark(run)).here
    return (
        Held(f"run {run.version} is held by {', '.join(names)}", hint=held.hint) if names else held
    )


@contextmanager
def _named_as_holder(house: House, run: RunDir) -> Iterator[None]:
    mark = house.tmp / _mark(run)
    mark.touch()
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def _mark(run: RunDir) -> str:
    """Name the file by which the directory of a process says that it holds a run."""
    return f"holds-{run.version}"


@contextmanager
def _heeding(run: RunDir) -> Iterator[None]:
    over = threading.Event()
    thread = threading.Thread(target=_heed, args=(run.file(CANCEL), over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _heed(note: Path, over: threading.Event) -> None:
    while not over.wait(_LOOK_S):
        if note.exists():
            os.kill(os.getpid(), signal.SIGTERM)
            return


def cancel(house: House, run: RunDir, *, by: str) -> None:
    """End all processes of a run, and the run itself as interrupted; nothing of it goes on later.

    The pushes that it is the run of end with it. Raises BadInput for a run that has come to its
    end already, Trouble where a process of it cannot be ended.
    """
    what = f"cancelled by {by}"
    with lock(run.path / ".cancel.lock", what=what, wait_s=_CANCEL_S):
        record = read_record(run) if run.file("run").is_file() else None
        if record is not None and _is_over(house, run, record):
            raise _has_ended(record)
        note = read_cancel(run)
        if note is None:
            note = Cancel(by=by, when=time.time())
            write_text(run.file(CANCEL), to_json(note))
        with _taken_from_all(house, run, what):
            _end_as_cancelled(house, run, note)


def _is_over(house: House, run: RunDir, record: RunRecord) -> bool:
    """Tell whether nothing of a run can go on, whatever the ending that one part has given it."""
    if record.ending in _GOES_ON or _open_pushes(house, run):
        return False
    try:
        with lock(run.lock, what="a look at whether it goes on", wait_s=_LOOK_S):
            return True
    except Held:
        return False


def _has_ended(record: RunRecord) -> BadInput:
    promoted = ", and has promoted" if record.promoted else ""
    return BadInput(f"run {record.version} has ended: {record.ending}{promoted}")


def _open_pushes(house: House, run: RunDir) -> list[Push]:
    return [push for push in house.ledger.pushes.of_run(run.version) if push.is_open]


@contextmanager
def _taken_from_all(house: House, run: RunDir, what: str) -> Iterator[None]:
    """Hold a run after whoever held it has ended, by itself or by force."""
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(run.lock, what=what, wait_s=_GENTLY_S))
        except Held:
            _kill_holders(run.lock)
            try:
                stack.enter_context(lock(run.lock, what=what, wait_s=_KILLED_S))
            except Held as held:
                told = f"a process of run {run.version} does not end: {_named(house, run, held)}"
                raise Trouble(told, hint="end it where it runs") from held
        yield


def _end_as_cancelled(house: House, run: RunDir, note: Cancel) -> None:
    """End a run that is held and its pushes; raises BadInput where it has done all meanwhile."""
    message = f"cancelled by {note.by}"
    if run.file("run").is_file():
        record = read_record(run)
        if record.ending in _KEPT or record.promoted:
            if record.ending is RunEnding.RUNNING:
                record = mended(record)
                end_run(house, run, record)
            run.file(CANCEL).unlink()
            raise _has_ended(record)
        record = replace(record, ending=RunEnding.INTERRUPTED, message=message, hint="")
        end_run(house, run, replace(record, ended=time.time()), gives_up=True)
    for push in _open_pushes(house, run):
        house.ledger.pushes.end(push.id, PushState.DONE, message)


def _kill_holders(path: Path) -> None:
    """Kill whoever holds a lock, not who waits for it: with its parent dies all that it started."""
    wanted = path.stat()
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) != os.getpid() and _has_locked(process, wanted):
            with suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)


def _has_locked(process: Path, wanted: os.stat_result) -> bool:
    """Tell whether a process has a lock on a file: proc(5), ``lock:`` in fdinfo."""
    with suppress(OSError):  # it has ended, or is not ours
        for handle in (process / "fd").iterdir():
            with suppress(OSError):
                found = handle.stat()
                if (found.st_dev, found.st_ino) != (wanted.st_dev, wanted.st_ino):
                    continue
                if "FLOCK" in (process / "fdinfo" / handle.name).read_text():
                    return True
    return False
