# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services that keep house: reports, figures, tries from elsewhere, old logs, nights."""

from typing import Any

from pipeline.master.book import Book
from pipeline.master.metrics import NAME as METRICS
from pipeline.master.metrics import Metrics
from pipeline.master.nightly import NAME as NIGHTLY
from pipeline.master.nightly import Nightly
from pipeline.master.pruning import NAME as PRUNING
from pipeline.master.pruning import Pruning
from pipeline.master.reports import NAME as REPORTS
from pipeline.master.reports import Reports
from pipeline.master.tries import NAME as TRIES
from pipeline.master.tries import Tries
from pipeline.ports.master_settings import MasterSettings


def house_services(settings: MasterSettings, osname: str) -> list[Any]:
    """Make them; those that need a ledger have one of their own, and close it when they stop."""
    return [
        Reports(name=REPORTS, book=Book(settings), osname=osname),
        Metrics(name=METRICS, book=Book(settings)),
        Tries(name=TRIES, book=Book(settings)),
        Pruning(name=PRUNING, book=Book(settings)),
        Nightly(name=NIGHTLY, book=Book(settings)),
    ]
