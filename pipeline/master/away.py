# SPDX-License-Identifier: LGPL-2.1-or-later
"""A job of a worker with a home of its own: assign, perform it there, send, take.

On one of the master's user it is the command alone. Whose fault an ending is is decided by
``take``, on the master's host: what the worker's own command says is believed only as far as the
two agree.
"""

import json
import os
import random
import tempfile
from collections.abc import Sequence
from typing import Any

from buildbot.plugins import steps, util
from buildbot.process.buildstep import BuildStep
from buildbot.process.results import EXCEPTION, RETRY, SUCCESS
from buildbot.util import runprocess
from twisted.internet import defer, threads

from pipeline.master.children import LONGEST_NAME
from pipeline.master.commands import GRACE_S, environment, ostci, walled
from pipeline.master.remote import set_aside, slots_of
from pipeline.master.steps import Ostci, attempt_of, stopped_result
from pipeline.ports.master_home import QUARANTINE
from pipeline.ports.master_settings import MasterSettings
from pipeline.ports.remote_settings import RemoteWorker
from pipeline.ports.worker_book import WorkerBook
from pipeline.words.errors import Failed, Trouble
from pipeline.words.fitness import Pool

_MOST_ATTEMPTS = 2
"""What a remote worker did not bring to an end is given to another, once."""
_OFFER = "offer.tar"
_CODE = "away-code"
_SENT = "away-sent"
_HERE = 1024**3
SAMPLE = "sample"


class Job(Ostci):
    """A command of a run that a worker with a home of its own may do as well.

    ``job`` are the words that name it to ``assign`` and the others: the command without options.
    """

    renderables: Sequence[str] = ("words", "job")

    def __init__(
        self,
        words: Sequence[object],
        *,
        job: Sequence[object],
        wait: Sequence[object],
        **kwargs: Any,
    ) -> None:
        self.job = list(job)
        self.wait = list(wait)
        self.sent_to = ""
        super().__init__(words, again=True, **kwargs)

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Give the command here, or put the steps of a job elsewhere after this one."""
        remote = self.settings.remote.worker_of(str(self.getProperty("workername")))
        if remote is None:
            result = yield super().run()
            return result
        attempt = yield self.attempt()
        if attempt > _MOST_ATTEMPTS:
            self.said.said = f"given up: {attempt - 1} workers did not bring it to an end"
            return EXCEPTION
        self.sent_to = remote.name
        yield self.link_evidence()
        run = str(self.getProperty("run"))
        told: dict[str, Any] = {
            "settings": self.settings,
            "owner": remote,
            "job": [*self.job, "--run", run],
        }
        self.build.addStepsAfterCurrentStep(
            [Assign(**told), Work(wait=self.wait, **told), Take(**told)]
        )
        return SUCCESS

    def getResultSummary(self) -> dict[str, str]:  # noqa: N802
        """Say who does it."""
        if self.sent_to and self.results == SUCCESS:
            return {"step": f"on worker {self.sent_to}"}
        return dict(super().getResultSummary())


class _Part(Ostci):
    """One of these commands; ``job`` names what it is about."""

    def __init__(
        self,
        words: Sequence[object],
        *,
        settings: MasterSettings,
        owner: RemoteWorker,
        job: Sequence[object],
        **kwargs: Any,
    ) -> None:
        self.owner = owner
        self.job = list(job)
        super().__init__(words, settings=settings, again=True, **kwargs)

    @defer.inlineCallbacks
    def set_aside(self, why: str) -> Any:
        """Give the worker nothing more to do, and say why where its steps are seen."""
        set_aside(self.master, self.owner.name, why)
        yield self.addCompleteLog("set aside", f"worker {self.owner.name}: {why}\n")


class _OnWorker(_Part):
    """A command on a worker that has a home of its own: it finds all in its environment."""

    believed: tuple[int, ...] = (0,)

    def command(self) -> list[object]:
        """Write the command; the worker knows where its work directory is."""
        told = [slot.told for slot in slots_of(self.master, self.owner.name) if slot.told]
        as_root = bool(told) and told[0].as_root
        return walled(["ostci", *self.words], as_root=as_root)

    def environment(self) -> dict[str, str]:
        """Leave PATH to the worker."""
        return {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    def sorted(self, code: int) -> Any:
        """Believe no more than that it passed: nothing else that it says decides about a push.

        Whatever it is, another worker comes to it as well.
        """
        return super().sorted(code if code in self.believed else Trouble.exit_code)


class _OnMaster(_Part):
    """A command on the master's host, as a process of the master's user."""

    _process: Any = None

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Give the command and sort how it ended; nothing of it is alive when the master is not."""
        self.addLogObserver("stdio", self.said)
        log = yield self.addLog("stdio")
        argv = [str(word) for word in ostci(self.settings, *self.words)]
        log.addHeader(" ".join(argv) + "\n")
        out = bytearray()

        def keep(data: bytes) -> None:
            if len(out) < _HERE:
                out.extend(data)
            log.addStdout(data.decode("utf-8", "backslashreplace"))

        self._process = runprocess.create_process(
            self.master.reactor,
            argv,
            env=dict(environment(self.settings)),
            collect_stdout=keep,
            collect_stderr=lambda data: log.addStderr(data.decode("utf-8", "backslashreplace")),
            io_timeout=self.settings.silent,
            runtime_timeout=self.settings.longest,
            sigterm_timeout=GRACE_S,
        )
        self.code = yield self._process.start()
        if self.stopped:
            return stopped_result(self)
        self.stdout = out.decode("utf-8", "backslashreplace")
        result = yield self.sorted(self.code)
        return result

    def interrupt(self, reason: Any) -> Any:
        """End the process, too."""
        if self._process is not None and self._process.deferred is not None:
            self._process.kill("the step is stopped")
        return super().interrupt(reason)


class Assign(_OnMaster):
    """Write down what the worker needs; nothing is left to do where it is there already."""

    def __init__(self, *, job: Sequence[object], owner: RemoteWorker, **kwargs: Any) -> None:
        words = ["assign", *job, "--pool", str(owner.pool), "--json"]
        super().__init__(words, job=job, owner=owner, **kwargs)

    def ended(self, result: int) -> Any:
        """Note whether anything is left to do."""
        if result == SUCCESS:
            self.setProperty("away-done", bool(json.loads(self.stdout)["done"]), self.name)
        return defer.succeed(result)


class Work(_OnWorker):
    """Have the worker pull what it needs, do it and pack what it made.

    One that has no room is set aside. How the command ended is settled when its result is taken:
    only what passed or failed leaves anything to be taken.
    """

    believed = (0, Failed.exit_code)

    def __init__(
        self,
        *,
        settings: MasterSettings,
        owner: RemoteWorker,
        job: Sequence[object],
        wait: Sequence[object] = (),
        **kwargs: Any,
    ) -> None:
        words = ["perform", "--from", settings.remote.dock_of(owner), *job, *wait]
        words += ["--into", _OFFER, "--most", settings.remote.largest]
        if owner.is_local:
            words += ["--beside", str(settings.workdir.repo)]
        told: dict[str, Any] = {"settings": settings, "owner": owner, "job": job}
        super().__init__(
            words,
            name=f"{job[0]} away",
            haltOnFailure=False,
            flunkOnFailure=False,
            doStepIf=_is_left,
            **told,
            **kwargs,
        )

    @defer.inlineCallbacks
    def sorted(self, code: int) -> Any:
        """Keep the code; look whether it says that it cannot work at all."""
        if code in self.believed and not self._told("offered"):
            # What starts it may end with 1, too, and the file of an older job may lie there.
            self.code = code = Trouble.exit_code
        self.setProperty(_CODE, code, self.name)
        if code not in self.believed:
            self.flunkOnFailure = self.haltOnFailure = True
        if code == Trouble.exit_code and (why := self._told("aside")):
            yield self.set_aside(why)
        result = yield super().sorted(code)
        return result

    def _told(self, what: str) -> str:
        """Read what the command says last, in JSON."""
        try:
            return str(json.loads(self.stdout.strip().splitlines()[-1])[what])
        except (IndexError, KeyError, TypeError, ValueError):
            return ""

    def ended(self, result: int) -> Any:
        """Send what was packed."""
        if self.code in self.believed:
            folder = self.settings.home / QUARANTINE
            folder.mkdir(mode=0o700, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f"{self.owner.name}-", dir=folder)
            os.close(handle)
            self.setProperty(_SENT, name, self.name)
            upload = Send(
                name="send",
                workersrc=_OFFER,
                masterdest=name,
                maxsize=self.settings.remote.largest,
                mode=0o600,
                haltOnFailure=True,
            )
            self.build.addStepsAfterCurrentStep([upload])
        return defer.succeed(result)


class Send(steps.FileUpload):
    """Send what was packed; what does not arrive is no failure of what was built."""

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Have another worker do the job where it does not arrive."""
        result = yield super().run()
        if result == SUCCESS or self.stopped:
            return result
        return RETRY if (yield attempt_of(self)) < _MOST_ATTEMPTS else EXCEPTION


class Take(_OnMaster):
    """Take what was sent; a worker that lied is set aside, and another one does the job."""

    def __init__(self, *, job: Sequence[object], **kwargs: Any) -> None:
        super().__init__(["take"], job=job, doStepIf=_is_left, **kwargs)

    @defer.inlineCallbacks
    def run(self) -> Any:
        """Name the file, and how the worker's command ended."""
        self.words = [
            *("take", *self.job, "--file", str(self.getProperty(_SENT))),
            *("--worker", self.owner.name, "--pool", str(self.owner.pool)),
            *("--code", self.getProperty(_CODE), "--most", self.settings.remote.largest),
        ]
        result = yield super().run()
        return result

    @defer.inlineCallbacks
    def sorted(self, code: int) -> Any:
        """Set the worker aside where the command has."""
        if code == Trouble.exit_code:
            book = WorkerBook(self.settings.workdir)
            notes = yield threads.deferToThread(book.read, self.owner.name)
            if notes.aside:
                yield self.set_aside(notes.aside)
        result = yield super().sorted(code)
        return result

    def ended(self, result: int) -> Any:
        """Have a sample of what was built built again, beside the run."""
        component = str(self.job[1])
        if result == SUCCESS and self.job[0] == "build" and self._is_chosen():
            told: dict[str, Any] = {"component": component, "run": self.getProperty("run")}
            told |= {"made-by": self.owner.name, "reason": f"sample of {self.owner.name}"}
            told |= {"virtual_builder_name": f"sample/{component}"[:LONGEST_NAME]}
            sample = steps.Trigger(
                name="sample", schedulerNames=[SAMPLE], waitForFinish=False, set_properties=told
            )
            self.build.addStepsAfterCurrentStep([sample])
        return defer.succeed(result)

    def _is_chosen(self) -> bool:
        # A worker must not know beforehand what is looked at; chance here is nothing it sees.
        if self.owner.is_local or self.owner.pool is not Pool.PUSH:
            return False
        return random.random() < self.settings.remote.sample


class Compare(Ostci):
    """Build a component again on this machine; a worker that made another one is set aside."""

    def __init__(self, *, settings: MasterSettings, wait: Sequence[object]) -> None:
        words = ["compare", util.Property("component"), "--run", util.Property("run")]
        words += ["--worker", util.Property("made-by"), *wait]
        super().__init__(words, settings=settings)

    @defer.inlineCallbacks
    def sorted(self, code: int) -> Any:
        """Set the worker aside where the command has."""
        name = str(self.getProperty("made-by"))
        if code == Trouble.exit_code:
            notes = yield threads.deferToThread(WorkerBook(self.settings.workdir).read, name)
            if notes.aside:
                set_aside(self.master, name, notes.aside)
        result = yield super().sorted(code)
        return result


def _is_left(step: BuildStep) -> bool:
    return not step.getProperty("away-done", False)
