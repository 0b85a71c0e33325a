# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may be in a work directory, and what every start puts right of what a killed one left.

Commands that change something are in it side by side; ``clean`` wants it for itself. What a killed
process left is mended while others go on: its runs are those whose lock nobody holds.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pipeline.cli.house import House
from pipeline.cli.record import MENDED, mended, note_ending, read_record, records, write_record
from pipeline.ports import presence
from pipeline.ports.files import Held, lock, remove_tree, write_text
from pipeline.ports.ledger_place import may_be_there
from pipeline.ports.ledger_rows import RunRow
from pipeline.ports.workdir import RunDir
from pipeline.words.run import RunEnding, RunRecord

_MENDING_S = 900.0
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def locked(house: House, what: str, *, wait_s: float, part: bool = False) -> Iterator[None]:
    """Be one of those that change a work directory; first mend what a killed one left.

    ``house.tmp`` is a directory of one's own meanwhile. ``part``: see ``repair``. Raises Held where
    somebody has the work directory for himself for longer than ``wait_s``.
    """
    house.workdir.make()
    with (
        lock(house.workdir.lock("work"), what=what, wait_s=wait_s, shared=True),
        presence.present(house.workdir.tmp, what) as house.tmp,
    ):
        repair(house, part=part)
        yield


@contextmanager
def alone(house: House, what: str, *, wait_s: float) -> Iterator[None]:
    """Be the only one in a work directory; raises Held that names who is in there."""
    house.workdir.make()
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(house.workdir.lock("work"), what=what, wait_s=wait_s))
        except Held as held:
            here = presence.look(house.workdir.tmp).here
            if not here:
                raise
            told = f"{house.workdir.root} is in use by {', '.join(here)}"
            raise Held(told, hint=f"wait for that: ostci {what} --wait SECONDS") from held
        house.workdir.empty_tmp()
        mend_all(house)
        yield


def repair(house: House, *, part: bool = False) -> None:
    """Mend what killed processes left.

    Whoever is alone looks at all of it, and at what people moved by hand. Who does just a ``part``
    of a run, which may have hundreds, looks where somebody was killed, or where nobody has looked
    since the machine came up: what it had written of those may be lost.
    """
    with lock(house.workdir.lock("repair"), what="putting things right", wait_s=_MENDING_S):
        found = presence.look(house.workdir.tmp, but=house.tmp)
        mark, now = house.workdir.mended, _BOOT.read_text()
        is_done = part and mark.is_file() and mark.read_text() == now
        if not found.killed and (found.here or is_done):
            return
        mend_all(house)
        for path in found.killed:
            remove_tree(path)  # last: while it is there, the next start looks, too
        write_text(mark, now)


def mend_all(house: House) -> None:
    """Give killed runs their ending, and finish or undo promotions."""
    for run, record in records(house.workdir):
        if record.ending is RunEnding.RUNNING:
            mend_run(house, run)
    if may_be_there(house.workdir, house.settings.ledger):
        mend_ledger(house)
        mend_promotions(house)


def mend_run(house: House, run: RunDir) -> bool:
    """Give a run that a killed process left running its ending; not one that somebody holds."""
    try:
        with lock(run.lock, what="a look at whether it was killed"):
            record = read_record(run)
            if record.ending is not RunEnding.RUNNING:
                return True
            end_run(house, run, mended(record))
    except Held:
        return False
    house.log.warning(f"run {run.version} was killed; it is recorded as interrupted")
    return True


def end_run(house: House, run: RunDir, record: RunRecord, *, gives_up: bool = False) -> None:
    """Write the ending of a run: in its record, in the ledger, and what that means for its turn.

    ``gives_up``: it is the next one's turn, whatever the ending.
    """
    write_record(run, record)
    note_ending(house.ledger, record, gives_up=gives_up)


def mend_ledger(house: House) -> None:
    """Give runs their ending in the ledger too: a kill may have come between the two."""
    for row in house.ledger.runs(unfinished=True):
        if not house.workdir.is_run(row.version):
            _forget(house, row)
            continue
        run = house.workdir.run(row.version)
        try:
            with lock(run.lock, what="a look at whether it was killed"):
                record = _record_or_none(run)
                if record is None:
                    _forget(house, row)
                else:
                    note_ending(house.ledger, record)
        except Held:
            continue  # it goes on


def _forget(house: House, row: RunRow) -> None:
    house.ledger.end_run(row.version, RunEnding.INTERRUPTED, MENDED)
    house.ledger.tickets.give_up(row.version, row.osname)


def _record_or_none(run: RunDir) -> RunRecord | None:
    return read_record(run) if run.file("run").is_file() else None


def mend_promotions(house: House) -> None:
    """Finish or undo what a killed promotion left; does nothing where none was ever made.

    Nor where somebody promotes at the moment: whoever does has mended first.
    """
    if not (house.workdir.archive / "config").is_file():
        return
    from pipeline.ports.gpg import Keyring
    from pipeline.stages.promote import mend

    # Not the house's keyring: that reads the manifest, which may be broken at the moment.
    keyring = Keyring(house.workdir.keys, log=house.log)
    try:
        mend(
            repo=house.repo,
            archive=house.archive,
            ledger=house.ledger,
            keyring=keyring,
            workdir=house.workdir,
            log=house.log,
            wait_s=0.0,
        )
    except Held as held:
        house.log.detail(f"promotions are not looked at: {held}")
