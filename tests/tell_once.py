# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tell one receiver of a push, as the master does; its settings are JSON on standard input."""

import json
import sys
from typing import Any

from twisted.internet import defer, reactor, task

from pipeline.master.receivers import Refused, make_receiver
from pipeline.ports.report_settings import check_report, read_receivers
from pipeline.words.push import Push, PushState, Via
from pipeline.words.report import Due, Report, Said

PUSH = Push(
    id=7,
    component="zlib",
    url="https://hub.example/own/zlib.git",
    branch="main",
    before="0" * 40,
    after="a" * 40,
    commits=(),
    rewritten=False,
    via=Via.POLL,
    note="",
    received=0.0,
    run="20261128.1",
    state=PushState.DONE,
    attempts=1,
    superseded_by=None,
    message="",
)
REPORT = Report(
    due=Due(push=PUSH, said=Said.FAILED, is_news=True),
    osname="tiny",
    page="http://ci/#/7",
    repeat="ostci run --push 7",
)


@defer.inlineCallbacks
def tell(_reactor: Any) -> Any:
    """Print how it went, in a line for each receiver."""
    table = json.load(sys.stdin)
    check_report(table, "stdin")
    found = read_receivers(table, secret=lambda _: "secret", optional=lambda _: "")
    for receiver in map(make_receiver, found):
        try:
            yield receiver.tell(REPORT)
        except Refused as error:
            said = f"refused: {error}"
        except Exception as error:
            said = f"again: {error}"
        else:
            said = "told"
        sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    task.react(tell, _reactor=reactor)
