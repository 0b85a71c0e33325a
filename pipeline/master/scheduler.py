# SPDX-License-Identifier: LGPL-2.1-or-later
"""Start the run of a push: a change that people see, and a request of its own for it."""

from typing import Any

from buildbot.data.resultspec import Filter
from buildbot.process.properties import Properties
from buildbot.schedulers.base import ReconfigurableBaseScheduler
from twisted.internet import defer

from pipeline.words.push import Push, Via
from pipeline.words.rank import priority_of_run

PUSHES = "pushes"
_PREFIX = "push-"


def mark_of(push: int) -> str:
    """Write what marks the requests of a push."""
    return f"{_PREFIX}{push}"


def push_of(mark: str | None) -> int | None:
    """Read the push from the mark of a request; None for a request of something else."""
    number = (mark or "").removeprefix(_PREFIX)
    return int(number) if mark != number and number.isdigit() else None


class PushScheduler(ReconfigurableBaseScheduler):
    """Starts what it is told to start; it listens to no changes itself."""

    @defer.inlineCallbacks
    def start(self, push: Push, *, cancelled: bool = False) -> Any:
        """Put a request for the run of this push into the queue, or for its end."""
        changeid = yield self.master.data.updates.addChange(
            author=push.wish.by or (push.via if push.via is Via.NIGHTLY else f"{push.via} push"),
            comments=_comments(push),
            revision=push.after,
            branch=push.branch,
            repository=push.url,
            project=push.component,
            category="try" if push.is_try else "push",
            files=[],
        )
        properties = Properties()
        properties.setProperty("push", push.id, "ledger")
        if cancelled:
            properties.setProperty("cancelled", True, "reconciler")
        yield self.addBuildsetForChanges(
            reason=f"push {push.id}",
            external_idstring=mark_of(push.id),
            changeids=[changeid],
            properties=properties,
            priority=priority_of_run(push),
        )


def _comments(push: Push) -> str:
    if push.via is Via.NIGHTLY:
        return f"push {push.id}: {push.note or push.after}, which the clock asks for"
    what = "rewritten" if push.rewritten else "moved"
    first = f"push {push.id}: {push.branch} of {push.component} {what} to {push.after[:12]}"
    lines = [first, *([push.note] if push.note else [])]
    return "\n".join([*lines, *(f"  {commit}" for commit in push.commits[-20:])])


@defer.inlineCallbacks
def stop_run_of(master: Any, push: int, reason: str) -> Any:
    """Stop the build of a push; tells whether there was one.

    What is still in the queue is left there: it finds out by itself that there is nothing to do,
    or that its run, which an earlier build has begun, is to be given its ending.
    """
    stopped = False
    going = Filter("complete", "eq", [False])
    marked = Filter("external_idstring", "eq", [mark_of(push)])
    for buildset in (yield master.data.get(("buildsets",), filters=[marked, going])):
        mine = Filter("buildsetid", "eq", [buildset["bsid"]])
        for request in (yield master.data.get(("buildrequests",), filters=[mine])):
            place = ("buildrequests", request["buildrequestid"], "builds")
            for build in (yield master.data.get(place, filters=[going])):
                where = ("builds", build["buildid"])
                yield master.data.control("stop", {"reason": reason}, where)
                stopped = True
    return stopped


@defer.inlineCallbacks
def requests_of(master: Any, push: int) -> Any:
    """Tell the newest buildset of a push and its requests by builder, as the page wants them."""
    marked = Filter("external_idstring", "eq", [mark_of(push)])
    found = yield master.data.get(("buildsets",), filters=[marked])
    if not found:
        return None, {}
    bsid = max(int(one["bsid"]) for one in found)
    requests = yield master.data.get(
        ("buildrequests",), filters=[Filter("buildsetid", "eq", [bsid])]
    )
    return bsid, {one["builderid"]: one["buildrequestid"] for one in requests}
