# SPDX-License-Identifier: LGPL-2.1-or-later
"""What every start does first: put right what a killed process left half done."""

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.cli.house import House
from pipeline.cli.record import MENDED, mend_records, read_record
from pipeline.ports.files import lock
from pipeline.words.run import RunEnding


@contextmanager
def locked(house: House, what: str, *, wait_s: float) -> Iterator[None]:
    """Be the one that changes a work directory; mend first what a killed one left."""
    with lock(house.workdir.lock("work"), what=what, wait_s=wait_s):
        repair(house)
        yield


def repair(house: House) -> None:
    """Mend the work directory; only while its lock is held."""
    house.workdir.make()
    house.workdir.empty_tmp()
    for version in mend_records(house.workdir):
        house.ledger.end_run(version, RunEnding.INTERRUPTED, MENDED)
        house.log.warning(f"run {version} was killed; it is recorded as interrupted")
    if house.workdir.ledger.is_file():
        mend_ledger(house)
        mend_promotions(house)


def mend_ledger(house: House) -> None:
    """Give runs their ending in the ledger too: a kill may have come between the two."""
    for row in house.ledger.runs(unfinished=True):
        ending, message = RunEnding.INTERRUPTED, MENDED
        if (
            house.workdir.is_run(row.version)
            and house.workdir.run(row.version).file("run").is_file()
        ):
            record = read_record(house.workdir.run(row.version))
            ending, message = record.ending, record.message
        house.ledger.end_run(row.version, ending, message)


def mend_promotions(house: House) -> None:
    """Finish or undo what a killed promotion left; does nothing where none was ever made."""
    if not (house.workdir.archive / "config").is_file():
        return
    from pipeline.ports.gpg import Keyring
    from pipeline.stages.promote import mend

    # Not the house's keyring: that reads the manifest, which may be broken at the moment.
    keyring = Keyring(house.workdir.keys, log=house.log)
    mend(
        repo=house.repo,
        archive=house.archive,
        ledger=house.ledger,
        keyring=keyring,
        workdir=house.workdir,
        log=house.log,
    )
