# SPDX-License-Identifier: LGPL-2.1-or-later
"""One ``ostci`` command as a step: its words, its log, and what its exit code means.

A step decides nothing that the command knows. Only how often to try again is decided here: trouble
of our machines (3), a command that was stopped because it said nothing or took too long, and a
worker that was lost, within the same bound.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from buildbot.process.buildstep import BuildStep, ShellMixin
from buildbot.process.logobserver import LogLineObserver
from buildbot.process.remotecommand import RemoteShellCommand
from buildbot.process.results import CANCELLED, EXCEPTION, RETRY, SUCCESS, statusToString
from twisted.internet import defer

from pipeline.master.commands import GRACE_S, environment, is_bug, is_trouble, ostci, result_of
from pipeline.master.links import evidence_url
from pipeline.ports.master_settings import MasterSettings

_SAID = "ostci: "


class _LastWords(LogLineObserver):
    """Keep the line in which ``ostci`` says how it ended."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def errLineReceived(self, line: str) -> None:  # noqa: N802
        """Take a line of standard error."""
        if line.startswith(_SAID):
            self.said = line.removeprefix(_SAID)


class Ostci(ShellMixin, BuildStep):
    """Give an ``ostci`` command on the worker.

    ``words`` may be renderables. ``again``: a build that had trouble is put back into the queue
    while attempts are left; a run does that by itself, through the ledger.
    """

    renderables: Sequence[str] = ("words",)

    def __init__(
        self,
        words: Sequence[object],
        *,
        settings: MasterSettings,
        again: bool = False,
        **kwargs: Any,
    ) -> None:
        self.words = list(words)
        self.settings = settings
        self.again = again
        self.said = _LastWords()
        self.stdout = ""
        self.code: int | None = None
        kwargs.setdefault("name", str(words[0]))
        kwargs.setdefault("haltOnFailure", True)
        super().__init__(**self.setupShellMixin(kwargs, prohibitArgs=["command", "env"]))

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Give the command and sort how it ended."""
        if self.again:
            attempt = yield self.attempt()
            if attempt > self.settings.attempts:
                self.said.said = f"given up: its worker was lost {attempt - 1} times"
                return EXCEPTION
        yield self.link_evidence()
        self.addLogObserver("stdio", self.said)
        command = yield self.makeRemoteShellCommand(
            command=self.command(),
            env=self.environment(),
            logEnviron=False,
            collectStdout=True,
            timeout=self.settings.silent,
            maxTime=self.settings.longest,
            sigtermTime=GRACE_S,
            usePTY=False,
        )
        yield self.runCommand(command)
        if self.stopped:
            return stopped_result(self)
        lost = self._lost(command)
        if lost:
            # Its code tells nothing: being asked to end, it ends as if somebody had cancelled it.
            self.said.said = lost
            return RETRY if self.again and attempt < self.settings.attempts else EXCEPTION
        self.stdout = command.stdout or ""
        self.code = command.rc
        result = yield self.sorted(command.rc)
        return result

    @defer.inlineCallbacks
    def link_evidence(self) -> Any:
        """Show where what the command leaves for people is to be seen."""
        name, url = evidence_url(self.settings, self.words, str(self.getProperty("run", "")))
        if url:
            yield self.addURL(name, url)

    def command(self) -> list[object]:
        """Write the command as the worker is given it."""
        return ostci(self.settings, *self.words)

    def environment(self) -> Mapping[str, str]:
        """Tell what the step sets of the command's environment."""
        return environment(self.settings)

    @defer.inlineCallbacks
    def sorted(self, code: int) -> Any:
        """Tell what the exit code of a command that ended by itself means here."""
        if is_bug(code):
            self.setProperty("bug", self.name, self.name)
        if self.again and is_trouble(code):
            attempt = yield self.attempt()
            if attempt < self.settings.attempts:
                return RETRY
        result = yield self.ended(result_of(code))
        return result

    def _lost(self, command: RemoteShellCommand) -> str:
        """Tell what came between a command and its own ending; nothing where it had one."""
        if command.remote_failure_reason == "timeout_without_output":
            return f"stopped: it said nothing for {self.settings.silent} s"
        if self.timed_out:
            return f"stopped: it took longer than {self.settings.longest} s"
        return "" if command.rc is not None else "its worker did not tell how it ended"

    def attempt(self) -> Any:
        """Count the builds that this request has had, with this one."""
        return attempt_of(self)

    def ended(self, result: int) -> Any:
        """Go on from what the command left, and tell the step's result; for derived steps."""
        return defer.succeed(result)

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802
        """Say in a line what the command said last."""
        if self.results == SUCCESS:
            return {"step": self.name}
        if self.said.said:
            return {"step": f"{self.name}: {self.said.said}"[:400]}
        if self.code is not None:
            return {"step": f"{self.name}: ended with {self.code}, see its log"}
        return {"step": f"{self.name}: {statusToString(self.results)}"}


@defer.inlineCallbacks
def attempt_of(step: BuildStep) -> Any:
    """Count the builds that the request of a step's build has had, with this one."""
    request = step.build.requests[0].id
    builds = yield step.master.data.get(("buildrequests", request, "builds"))
    return len(builds)


def stopped_result(step: BuildStep) -> int:
    """Tell how a step ends that was interrupted: with the master it is given again, else not."""
    return int(RETRY if step.master.botmaster.shuttingDown else CANCELLED)
