# SPDX-License-Identifier: LGPL-2.1-or-later
"""The services that tell others how things are, and change nothing themselves."""

from typing import Any

from pipeline.master.book import Book
from pipeline.master.metrics import NAME as METRICS
from pipeline.master.metrics import Metrics
from pipeline.master.reports import NAME as REPORTS
from pipeline.master.reports import Reports
from pipeline.ports.master_settings import MasterSettings


def told_services(settings: MasterSettings, osname: str) -> list[Any]:
    """Make them; each has a ledger of its own, which it closes when it stops."""
    return [
        Reports(name=REPORTS, book=Book(settings), osname=osname),
        Metrics(name=METRICS, book=Book(settings)),
    ]
